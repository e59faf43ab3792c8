"""All lanes of a relay: which link carries which, births, sessions, time, and their accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio

from qkdd.base.entropy import Entropy
from qkdd.base.errors import PeerError, StoreError
from qkdd.base.ids import LinkId
from qkdd.daemon.beat import next_beat
from qkdd.daemon.lane_desk import LaneDesk
from qkdd.daemon.lane_end import TICK_S, EndLane
from qkdd.daemon.lane_machine import new_incarnation
from qkdd.daemon.lane_passing import PassingLane
from qkdd.daemon.lane_post import LanePost
from qkdd.daemon.lane_status import LaneSnapshot, LaneStatus, Side
from qkdd.daemon.store_service import StoreService
from qkdd.keys.store import KeyStore
from qkdd.relay.messages import LaneMessage
from qkdd.relay.place import Place
from qkdd.relay.settings import Lane, LaneTimes
from qkdd.relay.units import UnitBlock

log = structlog.get_logger(__name__)

LAST_WORD_S = 5.0


@dataclass(slots=True)
class _Carried:
    """The lanes of one link, and how much of their account the store was told."""

    sides: dict[str, Side] = field(default_factory=dict)
    relayed: int = 0
    burned: int = 0


def _tell(link: LinkId, relayed_bits: int, burned_bits: int, store: KeyStore) -> None:
    store.settle_lane_bits(link, relayed_bits, burned_bits)


class Lanes:
    """Runs every lane above the sessions, which attach and detach."""

    def __init__(
        self,
        places: Sequence[Place],
        links: Mapping[str, LinkId],
        times: LaneTimes,
        store: StoreService,
        desk: LaneDesk,
        *,
        entropy: Entropy,
    ) -> None:
        """``links``: the link to each neighbour."""
        self._store = store
        self._lanes: dict[str, PassingLane | EndLane] = {}
        self._carried = {link: _Carried() for link in links.values()}
        for place in places:
            lane = place.lane.id
            sides: dict[Side, LinkId] = {}
            if place.up_peer is not None:
                sides["up"] = links[place.up_peer]
            if place.down_peer is not None:
                sides["down"] = links[place.down_peer]
            for side, link in sides.items():
                self._carried[link].sides[lane] = side
            now_s = trio.current_time()
            status = LaneStatus(place, sides, dict.fromkeys(sides, now_s))
            view = desk.view(lane)
            self._lanes[lane] = (
                PassingLane(status, times, incarnation=new_incarnation(entropy))
                if view is None
                else EndLane(status, times, view, store, entropy=entropy)
            )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then wipe every unit, and tell the store what became of them."""
        try:
            async with trio.open_nursery() as nursery:
                for lane in self._lanes.values():
                    if isinstance(lane, EndLane):
                        nursery.start_soon(lane.run)
                task_status.started()
                while True:
                    await next_beat(TICK_S)
                    self._tick()
                    await self._settle()
        finally:
            for lane in self._lanes.values():
                if isinstance(lane, PassingLane):
                    lane.wipe()
            with trio.move_on_after(LAST_WORD_S, shield=True):
                await self._settle()

    def _tick(self) -> None:
        for lane in self._lanes.values():
            if isinstance(lane, PassingLane):
                lane.tick()

    async def _settle(self) -> None:
        """Tell the store of every link what its lanes have relayed and burned since the last time.

        A store that is in trouble is told the next time: the counts are sums.
        """
        for link, carried in self._carried.items():
            accounts = [self._lanes[lane].accounts[side] for lane, side in carried.sides.items()]
            relayed = sum(account.relayed for account in accounts) - carried.relayed
            burned = sum(account.burned for account in accounts) - carried.burned
            if not relayed and not burned:
                continue
            try:
                await self._store.do(partial(_tell, link, relayed, burned))
            except StoreError as error:
                log.warning("accounts of lanes wait", link=link, reason=str(error))
            else:
                carried.relayed += relayed
                carried.burned += burned

    # --- for the sessions ---

    async def attach(self, link: LinkId, post: LanePost) -> None:
        """A session of ``link`` has agreed: every lane says first what it has open."""
        for lane, side in self._carried[link].sides.items():
            self._lanes[lane].attach(side, post)

        async def hear(message: LaneMessage) -> None:
            await self._receive(link, message, post)

        await post.open(hear)

    def detach(self, link: LinkId, post: LanePost) -> None:
        post.over = True
        for lane, side in self._carried[link].sides.items():
            self._lanes[lane].detach(side, post)

    async def _receive(self, link: LinkId, message: LaneMessage, post: LanePost) -> None:
        side = self._carried[link].sides.get(message.lane)
        if side is None:
            raise PeerError(f"peer speaks of lane {message.lane}, which does not cross this link")
        await self._lanes[message.lane].receive(side, message, post)

    def born(self, link: LinkId, units: Mapping[str, UnitBlock]) -> None:
        """Give each lane its units of a block that is live at both ends of ``link``."""
        for lane, block in units.items():
            self._lanes[lane].born(self._carried[link].sides[lane], block)

    def short(self, missing: Mapping[str, int]) -> None:
        """Note units that a lane was due from a block and that were not there."""
        for lane, n_units in missing.items():
            if lane in self._lanes:
                self._lanes[lane].status.n_short_units += n_units

    def on(self, link: LinkId) -> list[Lane]:
        """The lanes that cross ``link``."""
        return [self._lanes[lane].status.place.lane for lane in self._carried[link].sides]

    def snapshot(self) -> tuple[LaneSnapshot, ...]:
        return tuple(lane.snapshot() for lane in self._lanes.values())
