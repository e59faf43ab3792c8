"""Going over to new settings without a restart: once both ends have them, at a block's end.

A reload offers what the link would go over to. Each end says it to the other as an ``Agreed``: the
first one opens a session, later ones are offers. When both offers are the same, the transmitter
ends its light with the block that is under way, waits for that block's key, and ends the session;
the next one begins with the new settings at both ends. Until then, and for as long as the offers
differ, the old ones are in force.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import structlog
import trio

from qkdd.base.agreement import Agreed
from qkdd.base.light import LightPlan
from qkdd.config import Link
from qkdd.daemon.distil import DistilSettings
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.status import LinkStatus

BLOCK_END_S = 5.0
"""After the last pulse of a block the encoder's next answer ends the light; more is trouble."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one end of a link holds to, and what of it both ends must say alike."""

    config: Link
    settings: DistilSettings
    ours: Agreed


class Turnover:
    """KEEPING --offer--> OFFERED --the peer offers the same--> ``over`` is set --take--> KEEPING.

    An end that was away when the other went over finds out when the next session opens: see
    :meth:`is_behind`.
    """

    def __init__(self, now: Terms) -> None:
        self._now = now
        self._next: Terms | None = None
        self._theirs: Agreed | None = None
        self._offered = trio.Event()
        self.over = trio.Event()
        """Both ends would go over to the same: the session ends with the block under way."""

    def offer(self, terms: Terms) -> bool:
        """Take what a reload has read; return whether the link will go over to it.

        What the peer need not know of (the attenuator's setting) needs no agreement. An offer of
        the settings in force takes the last offer back.
        """
        if self.over.is_set():
            return True  # too late to take anything back; the next reload has its turn
        self._next = terms if terms.config != self._now.config else None
        self._offered.set()
        self._offered = trio.Event()
        self._judge()
        return self._next is not None

    def begin_session(self) -> None:
        """Forget what the peer said in the last one."""
        self._theirs = None

    def is_behind(self, theirs: Agreed) -> bool:
        """Whether the peer has gone over to what we offer; then so do we."""
        if self._next is None or theirs == self._now.ours or theirs != self._next.ours:
            return False
        self.over.set()
        return True

    def take(self) -> Terms | None:
        """Return what to go over to, between two sessions, if both ends are to."""
        if not self.over.is_set() or self._next is None:
            return None
        self._now, self._next, self._theirs = self._next, None, None
        self.over = trio.Event()
        return self._now

    async def tell(self, send: Callable[[msgspec.Struct], Awaitable[None]]) -> None:
        """Say what we offer, whenever that changes, for as long as the session lasts."""
        told = self._now.ours
        while True:
            offered = self._offered
            ours = self._next.ours if self._next is not None else self._now.ours
            if ours != told:
                told = ours
                await send(ours)
            else:
                await offered.wait()

    async def hear(self, offers: Mailbox) -> None:
        """Hear what the peer offers."""
        while True:
            self._theirs = await offers.get(Agreed)
            log.info("the neighbour has other settings ready", the_same=self._agree())
            self._judge()

    def _agree(self) -> bool:
        return self._next is not None and self._theirs == self._next.ours

    def _judge(self) -> None:
        if self._next is None:
            return
        if self._agree() or self._next.ours == self._now.ours:
            self.over.set()


async def light_until(
    over: trio.Event, status: LinkStatus, plan: LightPlan, service: Callable[[], Awaitable[None]]
) -> None:
    """Run Alice's light until the link goes over to new settings.

    Light that is locked ends by itself with its block; what is dark or searching ends at once.
    """
    longest_s = max(plan.ramp_frames) * plan.frame_pulses / plan.pulse_rate_hz
    async with trio.open_nursery() as nursery:

        async def light() -> None:
            await service()
            nursery.cancel_scope.cancel()

        nursery.start_soon(light)
        await over.wait()
        if status.state == "light":
            log.info("going over to new settings at the end of the block")
            await trio.sleep(longest_s + BLOCK_END_S)
        nursery.cancel_scope.cancel()
