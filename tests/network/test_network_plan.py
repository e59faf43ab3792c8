"""Plans: rates against published ones and the forward model, shortfalls by name, stock, cost."""

import itertools

import msgspec
import pytest

from qkdd.network.expect import HonestLink
from qkdd.network.laid_out import lay_out
from qkdd.network.plan import Plan, plan_network
from qkdd.network.read import load
from tests.network.networks import CHAIN, CONFIGS, network_of


def planned(text: str) -> Plan:
    return plan_network(lay_out(network_of(text)))


def test_the_trunk_holds_its_goal_on_every_link() -> None:
    plan = plan_network(lay_out(load(CONFIGS / "trunk31.toml")))
    assert plan.ok, plan.missing
    assert min(link.secret_bits_per_s for link in plan.links) > 102_000
    assert all(lane.admitted for lane in plan.lanes)
    assert plan_network(lay_out(load(CONFIGS / "ring6.toml"))).ok


@pytest.mark.parametrize(
    ("name", "pulse_rate_mhz", "clicks_per_s"), [("s01", 50.0, 246_016), ("s02", 100.0, 303_228)]
)
def test_clicks_are_those_of_an_independent_computation(
    name: str, pulse_rate_mhz: float, clicks_per_s: float
) -> None:
    """Of the same design at these clocks, by a forward model of other hands."""
    network = load(CONFIGS / "trunk31.toml")
    links = tuple(
        msgspec.structs.replace(link, pulse_rate_mhz=pulse_rate_mhz)
        for link in network.links
        if link.name == name
    )
    laid = lay_out(msgspec.structs.replace(network, links=links, lanes=(), routes=()))
    (link,) = plan_network(laid).links
    assert link.clicks_per_s == pytest.approx(clicks_per_s, rel=0.01)


def test_links_whose_blocks_are_staggered_end_them_at_different_times() -> None:
    laid = lay_out(load(CONFIGS / "trunk31.toml"))
    ramps_s = [
        [n * link.plan.frame_pulses / link.plan.pulse_rate_hz for n in link.plan.ramp_frames]
        for link in laid.links
    ]
    ramps_s = [ramp_s for ramp_s in ramps_s if ramp_s[-1] == 32.0]
    assert len(ramps_s) > 20
    assert all(ramp_s[:2] == [4.0, 8.0] for ramp_s in ramps_s)
    thirds_s = sorted(ramp_s[2] for ramp_s in ramps_s)
    assert (thirds_s[0], thirds_s[-1]) == (16.0, pytest.approx(32.0, abs=0.8))
    gaps_s = [late_s - early_s for early_s, late_s in itertools.pairwise(thirds_s)]
    assert max(gaps_s) <= 3 * 16.0 / len(ramps_s)  # evenly: none is much wider than the mean


def test_a_link_below_its_goal_is_named_with_what_it_lacks() -> None:
    plan = planned(CHAIN.replace("loss_db = 7.5", "loss_db = 22.0"))
    assert not plan.ok
    (middle,) = (link for link in plan.links if link.name == "middle")
    assert middle.secret_bits_per_s < 100_000
    lacks = 100_000 - middle.secret_bits_per_s
    assert any("link middle makes" in m and f"{lacks:.0f} short" in m for m in plan.missing)


def test_a_lane_that_a_link_cannot_carry_is_refused_by_link_and_shortfall() -> None:
    plan = planned(CHAIN.replace("km = 20.0", "km = 20.0\ncapacity_bits_per_s = 2800.0"))
    assert [lane.admitted for lane in plan.lanes] == [True, False]
    # A lane takes 307.2 and 57.6 for its tags; 2800 - 1360 - 512 for tags - 256 promised is 672.
    assert plan.missing == ("lane back refused: middle is 57.6 bit/s short",)
    assert plan.links[1].spare_bits_per_s == pytest.approx(672 - 364.8)


def test_stock_for_an_outage_takes_the_surplus_to_grow() -> None:
    goals = "[goals]\noutages_s = [60.0]\n"
    lanes = planned(CHAIN + "keys_per_1000_s = 1500\n" + goals).lanes
    assert [(o.keys, o.ready_after_s) for o in lanes[1].outages] == [(60, pytest.approx(120))]
    plan = planned(CHAIN + "keys_per_1000_s = 1000\n" + goals)
    assert plan.lanes[1].outages[0].ready_after_s is None
    assert any("lane back has no surplus" in line for line in plan.missing)
    starved = planned(CHAIN + "keys_per_1000_s = 900\n" + goals)
    assert any("0.1 fewer than its epochs take" in line for line in starved.missing)


def test_a_node_that_no_link_reaches_is_named() -> None:
    lonely = CHAIN.replace('nodes = ["a", "b", "c", "d"]\n[[links]]',
                           'nodes = ["a", "b", "c", "d", "e"]\n[[links]]')  # fmt: skip
    assert "node e has no way to a" in planned(lonely).missing


def test_more_loss_never_makes_more_key_or_more_clicks() -> None:
    links = [HonestLink(loss_db=loss) for loss in range(5, 40)]
    proof = lay_out(network_of(CHAIN)).links[0].light.proof
    rates = [link.length_of(1_600_000_000, proof).bits for link in links]
    assert rates == sorted(rates, reverse=True)
    assert [link.clicks_hz for link in links] == sorted((x.clicks_hz for x in links), reverse=True)


def test_a_plan_survives_its_own_json() -> None:
    plan = planned(CHAIN)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
