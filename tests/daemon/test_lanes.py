"""Lanes in the daemon, over real stores: born, READY, restarted, broken and whole again."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import trio

from qkdd.base.errors import StoreError
from qkdd.daemon.lane_end import WAITING_STEPS
from qkdd.daemon.lane_passing import PassingLane
from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.keys.lane_book import LaneMemory
from qkdd.keys.store import KeyStore
from qkdd.relay.actions import RelayAction, SendDown
from qkdd.relay.messages import LaneOpen, LaneVoid, LaneWave
from qkdd.relay.settings import UNIT_BITS, Lane, LaneTimes
from tests.daemon.lane_network import Network, link_between, network

ROUTE = ("a", "b", "c", "d")
LANE = Lane(id="far", route=ROUTE, keys_per_1000_s=2_000)
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
                snapshots = [under_way(net, name, lane) for name in (upper, lower)]
                if accounts[0] == accounts[1] and not any(snapshots):
                    break
                await trio.sleep(0.05)
        assert accounts[0] == accounts[1], f"{upper}-{lower}: {accounts}"
        assert accounts[0].distilled > 0


def snapshot_of(net: Network, name: str, lane: Lane) -> LaneSnapshot:
    (found,) = [one for one in net.nodes[name].lanes.snapshot() if one.id == lane.id]
    return found


def under_way(net: Network, name: str, lane: Lane) -> int:
    return sum(one.under_way for one in snapshot_of(net, name, lane).lane_account)


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


async def test_a_new_route_makes_new_keys_and_those_of_the_old_one_are_void(
    tmp_path: Path,
) -> None:
    side = Lane(id="side", route=("b", "d"), keys_per_1000_s=1)
    shorter = msgspec.structs.replace(LANE, generation=1, route=("a", "b", "d"))
    async with network(tmp_path, LANE, side, times=TIMES) as net:
        await net.light_all(ROUTE)
        old = await ready(net, LANE, 3)
        await net.restart("a", [shorter])
        await net.restart("b", [shorter, side])
        await net.restart("d", [shorter, side])
        await net.connect_all(shorter.route)
        assert await ready(net, shorter, 0) == {}
        await net.light_all(shorter.route)
        new = await ready(net, shorter, 3)
        assert not set(old.values()) & set(new.values())
        with pytest.raises(StoreError, match="raise it, numbers must not be used again"):
            await net.nodes["a"].service.do(lambda store: store.lane_memory("far", 0))


async def test_a_lane_without_end_to_end_key_says_so_and_burns_its_units(tmp_path: Path) -> None:
    other = Lane(id="other", route=ROUTE, keys_per_1000_s=1_000)
    async with network(tmp_path, LANE, other, times=TIMES, unkeyed=("other",)) as net:
        await net.light_all(ROUTE)
        await ready(net, LANE, 3)
        await accounts_agree(net, other)
        for name in ("a", "d"):
            lane = snapshot_of(net, name, other)
            assert lane.state == "unkeyed"
            assert lane.reason is not None
            assert "qkdd psk install --lane" in lane.reason
            assert [one.burned for one in lane.lane_account] == [2 * UNIT_BITS]
        assert snapshot_of(net, "a", LANE).state == "up"


async def test_a_lane_that_somebody_changes_on_its_way_stops_alone(tmp_path: Path) -> None:
    """The relay in the middle turns a bit of what it passes on."""
    other = Lane(id="other", route=ROUTE, keys_per_1000_s=2_000)
    async with network(tmp_path, LANE, other, times=TIMES) as net:
        middle = net.nodes["b"].lanes._lanes["far"]
        assert isinstance(middle, PassingLane)
        honest = middle._carry_out

        def turn_bits(actions: Sequence[RelayAction]) -> None:
            honest([spoilt(action) for action in actions])

        middle._carry_out = turn_bits
        for index in range(12):
            await net.light_all(ROUTE, index)
            if snapshot_of(net, "a", LANE).state == "stopped":
                break
            await trio.sleep(0.3)
        stopped = snapshot_of(net, "a", LANE)
        assert stopped.state == "stopped"
        assert stopped.n_mismatches == 3
        assert await net.nodes["a"].keys("far") == await net.nodes["d"].keys("far") == {}
        before = await ready(net, other, 3)
        await net.light_all(ROUTE, 12)
        await ready(net, other, len(before) + 3)
        await net.restart("a")
        with trio.fail_after(5):
            while snapshot_of(net, "a", LANE).state != "stopped":
                await trio.lowlevel.checkpoint()


def spoilt(action: RelayAction) -> RelayAction:
    if not isinstance(action.message, LaneWave):
        return action
    ciphers = bytearray(action.message.ciphers)
    ciphers[0] ^= 1
    return SendDown(msgspec.structs.replace(action.message, ciphers=bytes(ciphers)))


async def test_a_store_that_fails_costs_the_session_and_the_lane_goes_on(tmp_path: Path) -> None:
    async with network(tmp_path, LANE, times=TIMES) as net:
        await net.light_all(ROUTE)
        before = await ready(net, LANE, 3)
        node = net.nodes["a"]
        session = net.sessions[link_between("a", "b")]
        keep = node.store.ready_lane

        def full(*_: object) -> None:
            node.store.ready_lane = keep
            raise StoreError("database or disk is full")

        node.store.ready_lane = full
        await net.light_all(ROUTE, 1)
        await session.over.wait()
        assert "begins afresh: database or disk is full" in str(session.errors)
        await net.connect_all(ROUTE)
        await net.light_all(ROUTE, 2)
        await net.light_all(ROUTE, 3)
        after = await ready(net, LANE, len(before) + 3)
        assert before.items() <= after.items()


async def test_a_lane_that_its_store_does_not_open_holds_up_neither_its_link_nor_its_units(
    tmp_path: Path,
) -> None:
    other = Lane(id="other", route=ROUTE, keys_per_1000_s=2_000)
    void = LaneVoid(lane="other", generation=0, first=1, count=1)
    async with network(tmp_path, LANE, other, times=TIMES) as net:
        node = net.nodes["d"]

        def later(store: KeyStore) -> None:
            store._db.run("UPDATE lanes SET generation = 9 WHERE lane = 'other'")

        await node.service.do(later)
        await net.restart("d")
        await net.connect_all(ROUTE)
        session = net.sessions[link_between("c", "d")]
        for _ in range(2 * WAITING_STEPS):
            session.ends[0].post.say(void)
        await net.light_all(ROUTE)
        await ready(net, LANE, 3)
        await accounts_agree(net, other)
        assert not session.over.is_set()
        reason = snapshot_of(net, "d", other).reason
        assert reason is not None
        assert "this store has seen 9" in reason


async def test_a_lane_whose_store_opens_late_hears_what_it_has_missed(tmp_path: Path) -> None:
    async with network(tmp_path, LANE, times=TIMES) as net:
        node = net.nodes["d"]
        recall = KeyStore.lane_memory
        closed = True

        def memory(store: KeyStore, lane: str, generation: int) -> LaneMemory | None:
            if closed and store is node.store:
                raise StoreError("database or disk is full")
            return recall(store, lane, generation)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(KeyStore, "lane_memory", memory)
            await net.restart("d")
            await net.connect_all(ROUTE)
            session = net.sessions[link_between("c", "d")]
            await net.light_all(ROUTE)
            await trio.sleep(0.5)
            assert not session.over.is_set()
            closed = False
            with trio.fail_after(5):
                await session.over.wait()
        assert "begins afresh" in str(session.errors)
        await net.connect_all(ROUTE)
        await net.light_all(ROUTE, 1)
        await ready(net, LANE, 3)
        await accounts_agree(net, LANE)


async def test_a_neighbour_that_breaks_the_rules_of_a_lane_loses_its_session(
    tmp_path: Path,
) -> None:
    async with network(tmp_path, LANE, times=TIMES) as net:
        wrong = [
            (
                ("a", "b"),
                1,
                LaneWave(lane="far", generation=0, first=1, count=1, ciphers=bytes(32)),
            ),
            (
                ("b", "c"),
                0,
                LaneOpen(lane="far", generation=0, incarnation=1, next_number=0, runs=((9, 1),)),
            ),
            (("c", "d"), 0, LaneVoid(lane="else", generation=0, first=1, count=1)),
        ]
        said = []
        for pair, from_end, message in wrong:
            session = net.sessions[link_between(*pair)]
            session.ends[from_end].post.say(message)
            await session.over.wait()
            said.append(str(session.errors))
        assert "LaneWave from the side of the last end" in said[0]
        assert "number 9 is open at the peer, whose next is 0" in said[1]
        assert "lane else, which does not cross this link" in said[2]
        await net.connect_all(ROUTE)
        await net.light_all(ROUTE)
        await ready(net, LANE, 3)
