"""What the relays and applications of a network show while it runs. Times: seconds since start."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import trio

from qkdd.cli.trunk.application import Tally
from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot, RelaySnapshot
from qkdd.network.laid_out import LaidLane, LaidLink, LaidOut


@dataclass(slots=True)
class WatchedLink:
    """One link, seen at both ends."""

    link: LaidLink
    ends: list[LinkSnapshot | None] = field(default_factory=lambda: [None, None])
    """The transmitter's, the receiver's; None while a relay does not answer."""
    blocks: dict[int, BlockFacts] = field(default_factory=dict)
    """Committed at both ends, by number."""
    seen_s: dict[int, float] = field(default_factory=dict)
    first_light_s: float | None = None

    @property
    def full_s(self) -> float:
        """Seconds of pulses of the longest block."""
        plan = self.link.plan
        return plan.ramp_frames[-1] * plan.frame_pulses / plan.pulse_rate_hz

    def see(self, number: int, end: LinkSnapshot | None, now_s: float) -> None:
        self.ends[number] = end
        lasts = [one.last_block if one is not None else None for one in self.ends]
        if lasts[0] and lasts[1] and lasts[0].block_no == lasts[1].block_no not in self.blocks:
            self.blocks[lasts[0].block_no] = lasts[0]
            self.seen_s[lasts[0].block_no] = now_s
        if self.first_light_s is None and self.state == "light":
            self.first_light_s = now_s

    @property
    def state(self) -> str:
        """The state of the end that is behind."""
        order = ("down", "session", "dark", "searching", "light")
        states = [one.state if one is not None else "down" for one in self.ends]
        return min(states, key=lambda state: order.index(state) if state in order else 0)

    @property
    def reason(self) -> str | None:
        return next((one.reason for one in self.ends if one is not None and one.reason), None)

    @property
    def secret_bits_per_s(self) -> float | None:
        """Key by the clock on the wall, from one full-size block's commit to the last one's.

        None with fewer than two full-size blocks.
        """
        full = [n for n, block in self.blocks.items() if block.pulse_seconds >= self.full_s]
        if len(full) < 2:
            return None
        seconds = self.seen_s[full[-1]] - self.seen_s[full[0]]
        later = [b for n, b in self.blocks.items() if full[0] < n <= full[-1]]
        return sum(block.n_secret_bits for block in later) / seconds

    @property
    def block_bits_per_s(self) -> float | None:
        """Key of the last full-size block over its own seconds of light."""
        full = [b for b in self.blocks.values() if b.pulse_seconds >= self.full_s]
        return full[-1].n_secret_bits / full[-1].pulse_seconds if full else None


@dataclass(slots=True)
class WatchedLane:
    """One lane, seen at its two ends and at its applications."""

    lane: LaidLane
    tally: Tally
    ends: list[LaneSnapshot | None] = field(default_factory=lambda: [None, None])
    """The first node's, the last node's; None while a relay does not answer."""
    missed_at_dead_relay: int = 0
    """Refreshes missed while the relay of one of the applications was killed."""
    first_ready_s: float | None = None
    """When both ends first had READY keys."""
    first_key_s: float | None = None
    """When both applications had the first key."""

    @property
    def n_ready(self) -> int | None:
        """READY keys of epochs to come: what both ends have."""
        counts = [end.n_ready for end in self.ends if end is not None and end.n_ready is not None]
        return min(counts) if len(counts) == len(self.ends) else None

    @property
    def newest_ready(self) -> int | None:
        """The last number that both ends have READY."""
        last = [end.newest_ready if end is not None else None for end in self.ends]
        return min(last[0], last[1]) if last[0] is not None and last[1] is not None else None

    @property
    def missed(self) -> int:
        """Refreshes missed although both applications' relays lived."""
        return self.tally.missed - self.missed_at_dead_relay

    @property
    def n_came(self) -> int:
        """Keys that became READY at the last end."""
        return self.ends[1].n_came if self.ends[1] is not None else 0

    @property
    def n_void(self) -> int | None:
        return self.ends[0].n_void if self.ends[0] is not None else None

    @property
    def state(self) -> str:
        states = [end.state if end is not None else "down" for end in self.ends]
        return next((state for state in states if state != "up"), "up")

    def see(self, number: int, end: LaneSnapshot | None, now_s: float) -> None:
        self.ends[number] = end
        if self.first_ready_s is None and self.n_ready:
            self.first_ready_s = now_s


class Watch:
    """Everything seen so far."""

    def __init__(self, network: LaidOut) -> None:
        self.network = network
        self.links = {link.name: WatchedLink(link) for link in network.links}
        self.lanes = {
            lane.lane.id: WatchedLane(lane, Tally(lane=lane.lane.id)) for lane in network.lanes
        }
        self.relays_started_s: dict[str, float] = {}
        self._news = trio.Event()
        self.dead: set[str] = set()
        """Relays that were killed on purpose and are not back yet."""

    def news(self) -> None:
        """Wake whoever waits for something to have changed."""
        self._news.set()
        self._news = trio.Event()

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until ``fact`` is true of what is seen."""
        while not fact():
            await self._news.wait()

    def relay(self, node: str, snapshot: RelaySnapshot | None, now_s: float) -> None:
        """Note what a relay says, or that it says nothing."""
        told = {link.name: link for link in snapshot.links} if snapshot else {}
        for link in self.network.links_of(node):
            number = 0 if node == link.sender else 1
            self.links[link.name].see(number, told.get(link.name), now_s)
        told_lanes = {lane.id: lane for lane in snapshot.lanes} if snapshot else {}
        for name, lane in self.lanes.items():
            route = lane.lane.lane.route
            if node in (route[0], route[-1]):
                lane.see(int(node == route[-1]), told_lanes.get(name), now_s)

    def told(self, tallies: Iterable[Tally], now_s: float) -> None:
        """Take what the applications tell; latencies come once each."""
        for tally in tallies:
            lane = self.lanes[tally.lane]
            tally.latencies_s = lane.tally.latencies_s + tally.latencies_s
            route = lane.lane.lane.route
            if self.dead & {route[0], route[-1]}:
                lane.missed_at_dead_relay += tally.missed - lane.tally.missed
            lane.tally = tally
            if tally.first_key_s is not None and lane.first_key_s is None:
                lane.first_key_s = now_s

    @property
    def n_missed(self) -> int:
        return sum(lane.missed for lane in self.lanes.values())

    @property
    def n_lit(self) -> int:
        return sum(link.state == "light" for link in self.links.values())

    @property
    def n_with_key(self) -> int:
        return sum(
            any(block.n_secret_bits for block in link.blocks.values())
            for link in self.links.values()
        )
