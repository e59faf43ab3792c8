"""Plans: rates against published ones and the forward model, shortfalls by name, stock, cost."""

import msgspec
import pytest

from qkdd.network.expect import HonestLink
from qkdd.network.laid_out import lay_out
from qkdd.network.plan import Plan, plan_network
from qkdd.network.read import load
from tests.network.networks import CHAIN, CONFIGS, network_of


def planned(text: str) -> Plan:
    return plan_network(lay_out(network_of(text)))


def test_the_trunk_holds_its_goal_on_every_link_in_8_million_clicks() -> None:
    """An independent computation of the same design has 8,251,266 clicks a second in all; four
    links have 4 to 6 % more pulses here, since they would just miss the goal."""
    plan = plan_network(lay_out(load(CONFIGS / "trunk31.toml")))
    assert plan.ok, plan.missing
    assert plan.clicks_per_s == pytest.approx(8_251_266, rel=0.01)
    assert min(link.secret_bits_per_s for link in plan.links) > 102_000
    assert all(lane.admitted for lane in plan.lanes)
    assert plan_network(lay_out(load(CONFIGS / "ring6.toml"))).ok


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
    lanes = planned(CHAIN + "rate_mhz = 1500\n" + goals).lanes
    assert [(o.keys, o.ready_after_s) for o in lanes[1].outages] == [(60, pytest.approx(120))]
    plan = planned(CHAIN + "rate_mhz = 1000\n" + goals)
    assert plan.lanes[1].outages[0].ready_after_s is None
    assert any("lane back has no surplus" in line for line in plan.missing)
    starved = planned(CHAIN + "rate_mhz = 900\n" + goals)
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
