"""What ``qkdd trunk`` makes of what it sees: states, rates, misses, the verdict of a run."""

import msgspec
import pytest
import trio
import trio.testing

from qkdd.cli.trunk.application import Tally
from qkdd.cli.trunk.chaos import Outage, recover
from qkdd.cli.trunk.screen import screen
from qkdd.cli.trunk.summary import Summary, summarise
from qkdd.cli.trunk.watch import Watch
from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.daemon.snapshot import BlockFacts, RelaySnapshot
from qkdd.daemon.status import LinkStatus
from qkdd.network.laid_out import lay_out
from tests.cli.test_demo import a_block
from tests.network.networks import CHAIN, network_of

NODES = ("a", "b", "c", "d")


def blank(kind: type[msgspec.Struct], **known: object) -> dict[str, object]:
    fields = msgspec.structs.fields(kind)
    return {field.name: None for field in fields if field.required} | known


class Trunk:
    """Four relays in a line as ``Watch`` sees them; a lane along all, another in the middle."""

    def __init__(self) -> None:
        self.watch = Watch(lay_out(network_of(CHAIN)))
        self.states = dict.fromkeys(self.watch.links, "light")
        self.blocks: dict[str, BlockFacts] = {}
        self.newest: int | None = None
        self.account = {"distilled": 5, "pre_shared": 3, "authentication": 2, "stock": 6}

    def look(self, now_s: float, *nodes: str) -> None:
        """Let these relays answer, and the others not."""
        for node in NODES:
            self.watch.relay(node, self._snapshot(node) if node in nodes else None, now_s)
        self.watch.news()

    def _snapshot(self, node: str) -> RelaySnapshot:
        links = []
        for link in self.watch.network.links_of(node):
            status = LinkStatus(name=link.name, peer="x", role="receiver", state="down")
            status.enter(self.states[link.name])
            if link.name in self.blocks:
                status.distilled(self.blocks[link.name], 0.0)
            links.append(
                status.snapshot(
                    0.0, account=self.account, auth_left_bits=0, promised_bits_per_s=256.0
                )
            )
        lanes = tuple(
            LaneSnapshot(
                **blank(
                    LaneSnapshot,
                    id=name,
                    state="up",
                    n_ready=self.newest,
                    newest_ready=self.newest,
                    n_came=self.newest or 0,
                    n_void=0,
                )
            )
            for name in self.watch.lanes
        )
        known = blank(RelaySnapshot, node=node, links=tuple(links), lanes=lanes)
        return RelaySnapshot(**known)


def test_a_link_is_as_far_as_the_end_that_is_behind() -> None:
    trunk = Trunk()
    trunk.look(1.0, *NODES)
    assert trunk.watch.n_lit == 3
    trunk.states["middle"] = "searching"
    trunk.look(2.0, *NODES)
    assert (trunk.watch.links["middle"].state, trunk.watch.n_lit) == ("searching", 2)
    trunk.look(3.0, "a", "b", "d")
    assert (trunk.watch.links["middle"].state, trunk.watch.links["c--d"].state) == ("down", "down")
    assert trunk.watch.links["c--d"].first_light_s == 1.0


def test_a_rate_by_the_wall_clock_counts_all_key_between_two_full_blocks() -> None:
    trunk = Trunk()
    middle = trunk.watch.links["middle"]
    for number, (seen_s, seconds, bits) in enumerate(
        [(10.0, 2.0, 500), (30.0, 16.0, 1600), (33.0, 2.0, 400), (50.0, 16.0, 1600)]
    ):
        trunk.blocks["middle"] = a_block(number, seconds, bits)
        assert middle.secret_bits_per_s is None
        trunk.look(seen_s, *NODES)
    assert middle.secret_bits_per_s == (400 + 1600) / 20.0
    assert middle.block_bits_per_s == 100.0
    trunk.look(60.0, *NODES)
    assert len(middle.blocks) == 4


def test_a_block_that_only_one_end_has_is_none() -> None:
    trunk = Trunk()
    trunk.blocks["middle"] = a_block(0, 2.0, 100)
    trunk.look(1.0, "b")
    assert not trunk.watch.links["middle"].blocks
    trunk.look(2.0, *NODES)
    assert trunk.watch.n_with_key == 1


def test_misses_at_a_killed_relay_are_its_own() -> None:
    watch = Trunk().watch
    watch.told([Tally(lane="there", delivered=1, missed=1, first_key_s=1.0)], 1.0)
    watch.dead.add("d")
    watch.told([Tally(lane="there", delivered=1, missed=4), Tally(lane="back", missed=2)], 2.0)
    watch.dead.clear()
    watch.told([Tally(lane="there", delivered=1, missed=5)], 3.0)
    there = watch.lanes["there"]
    assert (there.tally.missed, there.missed_at_dead_relay, there.missed) == (5, 3, 2)
    assert watch.lanes["back"].missed == 2
    assert watch.n_missed == 4


def a_run(**changes: object) -> Summary:
    """A run in which all went well, but for ``changes`` of the tally of lane ``there``."""
    trunk = Trunk()
    for number, name in enumerate(trunk.watch.links):
        trunk.blocks[name] = a_block(number, 16.0, 1600)
    trunk.look(1.0, *NODES)
    for lane in trunk.watch.lanes:
        more = changes if lane == "there" else {}
        tally = {"lane": lane, "first_key_s": 1.0, "delivered": 3, "latencies_s": [0.1, 0.3, 0.2]}
        trunk.watch.told([Tally(**(tally | more))], 2.0)
    return summarise(trunk.watch, {}, end_s=9.0, reason=None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"unequal": 1}, "lane there: 1 keys differ between its ends"),
        ({"twice": 2}, "lane there: 2 keys were delivered twice"),
        ({"missed": 1, "last_miss": "503"}, "lane there: 1 refreshes missed, the last: 503"),
        ({"first_key_s": None, "delivered": 0}, "lane there: no key in this time"),
    ],
)
def test_a_run_is_good_only_if_nothing_went_wrong(changes, reason: str | None) -> None:
    summary = a_run(**changes)
    assert summary.ok is (reason is None)
    assert (summary.reason or "").startswith(reason or "")
    assert summary.lanes[0].latency_median_s == 0.2
    assert summary.lanes[0].latency_max_s == 0.3


def test_a_link_without_key_fails_the_run() -> None:
    trunk = Trunk()
    trunk.look(1.0, *NODES)
    for lane in trunk.watch.lanes:
        trunk.watch.told([Tally(lane=lane, first_key_s=1.0, delivered=1)], 2.0)
    summary = summarise(trunk.watch, {}, end_s=9.0, reason=None)
    assert summary.reason == "link a--b: no key: no block in this time"


def test_an_account_that_does_not_balance_fails_the_run() -> None:
    trunk = Trunk()
    trunk.account["stock"] = 7
    trunk.look(1.0, *NODES)
    for lane in trunk.watch.lanes:
        trunk.watch.told([Tally(lane=lane, first_key_s=1.0, delivered=1)], 2.0)
    summary = summarise(trunk.watch, {}, end_s=9.0, reason=None)
    assert "a--b: the account of an end does not balance" in (summary.reason or "")


@pytest.mark.parametrize("columns", [80, 200])
def test_the_screen_shows_every_link_and_lane_before_and_after_they_are_there(columns) -> None:
    from rich.console import Console

    trunk = Trunk()
    for _ in range(2):
        console = Console(width=columns, file=None, record=True, quiet=False)
        with console.capture() as captured:
            console.print(screen(trunk.watch, {}, 3.0, columns))
        for name in (*trunk.watch.links, *trunk.watch.lanes):
            assert name in captured.get()
        trunk.blocks["middle"], trunk.newest = a_block(0, 2.0, 100), 7
        trunk.look(1.0, *NODES)


async def test_recovery_is_counted_from_the_light_and_waits_for_every_link_and_lane() -> None:
    trunk = Trunk()
    trunk.newest = 10
    trunk.look(0.0, *NODES)
    trunk.states["middle"] = "dark"
    trunk.look(1.0, *NODES)
    outage = Outage(kind="link", target="middle", began_s=0.0, seconds=60.0)
    done = trio.Event()

    async def watch_it() -> None:
        links, lanes = [trunk.watch.links["middle"]], list(trunk.watch.lanes.values())
        await recover(outage, links, lanes, trunk.watch)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_it)
        for change in (
            lambda: trunk.states.update(middle="light"),
            lambda: trunk.blocks.update(middle=a_block(0, 2.0, 100)),
            lambda: setattr(trunk, "newest", 11),
        ):
            await trio.testing.wait_all_tasks_blocked()
            assert not done.is_set()
            change()
            trunk.look(2.0, *NODES)
        await trio.testing.wait_all_tasks_blocked()
        assert done.is_set()
    assert None not in (outage.lit_after_s, outage.block_after_light_s, outage.grown_after_light_s)
    assert outage.lowest_ready == 10
