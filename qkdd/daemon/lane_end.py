"""A lane that ends at this relay: its machine and its store, above the sessions of its link.

    closed --its end-to-end key lies in the store--> open --one bad tag too many--> stopped
    closed --there is none--> unkeyed
    open --the store fails--> closed, and the session begins afresh
    closed --the store does not open it--> closed: its units burn, what is said of it is not heard

Every step waits for its turn in one task, and what it keeps is on disk before its next action is
carried out: reserve, sync, then send.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import trio

from qkdd.base.entropy import Entropy
from qkdd.base.errors import LinkLost, PeerError, SecurityAlarm, StoreError
from qkdd.daemon.beat import beat_after
from qkdd.daemon.lane_desk import LaneView
from qkdd.daemon.lane_keeper import LaneKeeper
from qkdd.daemon.lane_machine import EndAction, EndMachine, new_incarnation, open_end
from qkdd.daemon.lane_passing import check_direction
from qkdd.daemon.lane_post import LanePost
from qkdd.daemon.lane_status import LaneSnapshot, LaneStatus, Side
from qkdd.daemon.mailbox import all_waiting
from qkdd.daemon.store_service import StoreService
from qkdd.relay.account import LaneAccount
from qkdd.relay.actions import Hold, Ready, SendDown, SendUp
from qkdd.relay.messages import LaneMessage
from qkdd.relay.settings import LaneTimes
from qkdd.relay.units import UnitBlock

log = structlog.get_logger(__name__)

WAITING_STEPS = 256
"""Messages, while the store syncs; a neighbour that says more meanwhile waits with its session.
Births and connections do not wait: there are few, and they must not get lost."""
REOPEN_S = 1.0
TICK_S = 1.0
"""Nothing waits for this but what waits for seconds: ages, retries, new numbers."""


@dataclass(frozen=True, slots=True)
class _Step:
    act: Callable[[EndMachine], Sequence[EndAction]]
    post: LanePost | None = None
    """Whose neighbour is at fault for a PeerError."""
    lost: Callable[[], None] = lambda: None
    """What is done instead while there is no machine."""


class EndLane:
    """One lane at one of its ends, for the life of the process."""

    def __init__(
        self,
        status: LaneStatus,
        times: LaneTimes,
        view: LaneView,
        store: StoreService,
        *,
        entropy: Entropy,
    ) -> None:
        self.status = status
        self.side: Side = "down" if status.place.is_first else "up"
        self.account = LaneAccount()
        self.accounts: dict[Side, LaneAccount] = {self.side: self.account}
        self._times = times
        self._view = view
        self._keeper = LaneKeeper(status, view, store)
        self._entropy = entropy
        self._machine: EndMachine | None = None
        self._post: LanePost | None = None
        self._unheard: LanePost | None = None
        """Whose neighbour has said something while there was no machine to hear it."""
        self._steps, self._todo = trio.open_memory_channel[_Step](float("inf"))
        self._room = trio.Semaphore(WAITING_STEPS)

    # --- what happens, each in its turn ---

    def attach(self, _side: Side, post: LanePost) -> None:
        """A session is open: say first what the neighbour may not know."""
        self.status.connected[self.side] = True

        def connect(machine: EndMachine) -> Sequence[EndAction]:
            self._post = post
            return machine.connected()

        def keep() -> None:
            self._post = post

        self._steps.send_nowait(_Step(connect, lost=keep))

    def detach(self, _side: Side, _post: LanePost) -> None:
        """The session is over: what is still said to its post is lost with it."""
        self.status.connected[self.side] = False

    async def receive(self, side: Side, message: LaneMessage, post: LanePost) -> None:
        check_direction(side, message)
        await self._room.acquire()
        self._steps.send_nowait(_Step(lambda machine: machine.receive(message), post))

    def born(self, _side: Side, block: UnitBlock) -> None:
        """Take the link's new units over."""
        self.status.born_s[self.side] = trio.current_time()
        self._steps.send_nowait(
            _Step(lambda machine: machine.born(block), lost=lambda: self._burn(block))
        )

    # --- the task ---

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                await self._open_at_last()
                try:
                    await self._serve()
                except StoreError as error:
                    self._begin_afresh(error)
        finally:
            self._close()
            for step in all_waiting(self._todo):
                step.lost()

    async def _open_at_last(self) -> None:
        while True:
            try:
                await self._open()
            except StoreError as error:
                self._begin_afresh(error)
                await self._stay_closed()
            else:
                return

    async def _stay_closed(self) -> None:
        """Let nobody wait for a lane that does not open: not the link's session, nor its units."""
        with trio.move_on_after(REOPEN_S):
            while True:
                step = await self._todo.receive()
                self._unheard = step.post or self._unheard
                await self._take(step)

    async def _open(self) -> None:
        memory = await self._keeper.recall()
        if memory is None:
            self.status.stand(
                "unkeyed", "no end-to-end key is installed: qkdd psk install --lane, at both ends"
            )
            return
        try:
            self._machine = open_end(
                self.status.place,
                self._times,
                memory,
                self.account,
                newest_epoch=self._keeper.newest_epoch,
                incarnation=new_incarnation(self._entropy),
            )
        except SecurityAlarm as alarm:
            self._stop(alarm)
            return
        self.status.reason = None
        await self._count(self._machine)
        if self._post is not None and self._post is self._unheard:
            self._post.fail(LinkLost(f"lane {self.status.place.lane.id} begins afresh: it is open"))
            self._post = None
        elif self._post is not None:
            await self._step(_Step(lambda machine: machine.connected()))

    async def _serve(self) -> None:
        """Take what happens in turn, and look at the time every TICK_S."""
        tick_s = trio.current_time()
        while True:
            with trio.move_on_at(tick_s) as waiting:
                step = await self._todo.receive()
            if waiting.cancelled_caught:
                tick_s = beat_after(trio.current_time(), TICK_S)
                await self._step(_Step(lambda machine: machine.tick()))
                await self._keeper.pass_time()
            else:
                await self._take(step)

    async def _take(self, step: _Step) -> None:
        try:
            await self._step(step)
        finally:
            if step.post is not None:
                self._room.release()

    async def _step(self, step: _Step) -> None:
        machine = self._machine
        if machine is None:
            step.lost()
            return
        if step.post is not None and step.post.failed:
            return  # said to a machine that is gone, or behind what nobody may say
        try:
            actions = step.act(machine)
        except PeerError as error:
            if step.post is None:
                raise
            step.post.fail(error)
            return
        except SecurityAlarm as alarm:
            await self._count(machine)
            self._stop(alarm)
            return
        try:
            await self._count(machine)
            for action in actions:
                await self._carry_out(action)
        finally:
            _wipe(actions)

    async def _count(self, machine: EndMachine) -> None:
        self.status.n_mismatches = machine.association.budget.n_bad_tags
        await self._keeper.tried(self.status.n_mismatches)
        self.status.n_pads = machine.association.n_pairs

    async def _carry_out(self, action: EndAction) -> None:
        if not isinstance(action, SendDown | SendUp):
            await self._keeper.keep(action)
        elif self._post is not None:
            self._post.say(action.message)

    # --- ends ---

    def _stop(self, alarm: SecurityAlarm) -> None:
        """The lane stands until an operator has looked; the relay and its other lanes go on."""
        log.error("lane stopped", lane=self.status.place.lane.id, reason=str(alarm))
        self.status.stand("stopped", str(alarm))
        self._close()

    def _begin_afresh(self, error: StoreError) -> None:
        """What the machine knows and what is on disk may differ now: go on with the disk's, as
        after a restart, in a new session."""
        if self.status.reason != str(error):  # it is tried again every REOPEN_S
            log.warning("lane begins afresh", lane=self.status.place.lane.id, reason=str(error))
        self.status.reason = str(error)
        if self._post is not None and self._machine is not None:
            self._post.fail(LinkLost(f"lane {self.status.place.lane.id} begins afresh: {error}"))
            self._post = None
        self._close()

    def _close(self) -> None:
        if self._machine is not None:
            self._machine.wipe()
            self._machine = None

    def _burn(self, block: UnitBlock) -> None:
        """There is no machine to take these units."""
        self.account.born(block.n_units)
        for _ in range(block.n_units):
            self.account.settle(relayed=False)
        block.wipe()

    def snapshot(self) -> LaneSnapshot:
        epochs = self._view.epochs
        self.status.n_missed = self._keeper.misses.n_missed
        return self.status.snapshot(
            trio.current_time(),
            self.accounts,
            n_ready=epochs.n_ahead(time.time()),
            newest_ready=epochs.horizon,
        )


def _wipe(actions: Sequence[EndAction]) -> None:
    """Wipe the secrets of actions, carried out or not."""
    for action in actions:
        if isinstance(action, Hold | Ready):
            action.keys.wipe()
        if isinstance(action, Ready) and action.renewal is not None:
            action.renewal.wipe()
