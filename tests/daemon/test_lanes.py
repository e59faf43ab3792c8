"""Lanes in the daemon, over real stores: born, READY, restarted, broken and whole again."""

from itertools import pairwise
from pathlib import Path

import pytest
import trio

from qkdd.keys.store import KeyStore
from qkdd.relay.settings import UNIT_BITS, Lane, LaneTimes
from tests.daemon.lane_network import Network, link_between, network

ROUTE = ("a", "b", "c", "d")
LANE = Lane(id="far", route=ROUTE, rate_mhz=2_000)
TIMES = LaneTimes(
    hold_s=3.0,
    batch_units=3,
    batch_age_s=2.0,
    retry_s=0.5,
    confirm_timeout_s=6.0,
    renew_below_pairs=64,
    trust_unsynchronised_clock=True,
)


async def ready(net: Network, lane: Lane, n_keys: int, within_s: float = 10.0) -> dict[int, bytes]:
    """Wait until both ends have so many READY keys, and these are equal; return them."""
    first, last = net.nodes[lane.route[0]], net.nodes[lane.route[-1]]
    keys: list[dict[int, bytes]] = []
    with trio.move_on_after(within_s):
        while True:
            keys = [await first.keys(lane.id), await last.keys(lane.id)]
            if keys[0] == keys[1] and len(keys[0]) >= n_keys:
                return keys[0]
            await trio.sleep(0.02)
    raise AssertionError(f"{[sorted(one) for one in keys]}, {n_keys} wanted")


async def accounts_agree(net: Network, lane: Lane, *route: str, within_s: float = 30.0) -> None:
    """Wait until both ends of every link have the same account, with nothing under way."""
    accounts = []
    for upper, lower in pairwise(route or lane.route):
        with trio.move_on_after(within_s):
            while True:
                accounts = list(await net.accounts(upper, lower))
                snapshots = [lanes_of(net, name, lane) for name in (upper, lower)]
                if accounts[0] == accounts[1] and not any(snapshots):
                    break
                await trio.sleep(0.05)
        assert accounts[0] == accounts[1], f"{upper}-{lower}: {accounts}"
        assert accounts[0].distilled > 0


def lanes_of(net: Network, name: str, lane: Lane) -> int:
    """Bits under way at a node."""
    (found,) = [one for one in net.nodes[name].lanes.snapshot() if one.id == lane.id]
    return sum(one.under_way for one in found.lane_account)


async def test_a_block_on_every_link_gives_equal_keys_at_both_ends(tmp_path: Path) -> None:
    async with network(tmp_path, LANE, times=TIMES) as net:
        await net.light_all(ROUTE)
        keys = await ready(net, LANE, 3)
        assert len(set(keys.values())) == len(keys)
        await accounts_agree(net, LANE)


async def test_the_store_of_a_relay_between_has_nothing_of_the_lane_but_counts(
    tmp_path: Path,
) -> None:
    tables = ("lanes", "lane_keys", "lane_recipients")

    def rows(store: KeyStore) -> list[int]:
        return [len(store._db.all(f"SELECT * FROM {table}")) for table in tables]

    async with network(tmp_path, LANE, times=TIMES) as net:
        await net.light_all(ROUTE)
        keys = await ready(net, LANE, 3)
        found = {name: await net.nodes[name].service.do(rows) for name in ROUTE}
        assert found["b"] == found["c"] == [0, 0, 0]
        assert all(found[name][0] == 1 and found[name][1] > 1 for name in ("a", "d"))
        relayed = 0
        with trio.fail_after(10):  # the store is told once a second
            while relayed < UNIT_BITS * len(keys):
                await trio.sleep(0.05)
                here, there = await net.accounts("b", "c")
                relayed = min(here.relayed, there.relayed)


@pytest.mark.parametrize("name", ROUTE)
async def test_a_restart_costs_what_was_in_flight_and_nothing_is_ready_twice(
    tmp_path: Path, name: str
) -> None:
    async with network(tmp_path, LANE, times=TIMES) as net:
        await net.light_all(ROUTE)
        before = await ready(net, LANE, 3)
        assert await net.light("a", "b", 1)
        assert await net.light("c", "d", 1)
        await net.restart(name)
        await net.connect_all(ROUTE)
        await net.light_all(ROUTE, 2)
        await net.light_all(ROUTE, 3)
        after = await ready(net, LANE, len(before) + 3)
        assert before.items() <= after.items()
        assert len(set(after.values())) == len(after)
        await accounts_agree(net, LANE)


async def test_a_link_that_was_cut_goes_on_with_the_same_units(tmp_path: Path) -> None:
    async with network(tmp_path, LANE, times=TIMES) as net:
        await net.sessions[link_between("b", "c")].cut()
        assert await net.light("a", "b")
        assert await net.light("c", "d")
        await net.connect_all(ROUTE)
        assert await net.light("b", "c")
        await ready(net, LANE, 3)
        await accounts_agree(net, LANE)


async def test_units_whose_partner_never_comes_are_burned_at_both_ends_of_their_link(
    tmp_path: Path,
) -> None:
    async with network(tmp_path, LANE, times=TIMES) as net:
        assert await net.light("b", "c")
        await accounts_agree(net, LANE, "b", "c")
        for name in ("b", "c"):
            (lane,) = net.nodes[name].lanes.snapshot()
            (on_link,) = [one for one in lane.lane_account if one.link == "b-c"]
            assert on_link.burned == on_link.cut == 4 * UNIT_BITS
