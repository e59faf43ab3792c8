"""Notices that the neighbour says nothing although a word of it is due, and says so.

A process that hangs has a kernel that answers, so that keepalive sees nothing (decision 0004), and
a heartbeat of ours would cost authentication key. What the two ends say of the light anyway is
enough: whoever awaits a word of it names it here (decision 0049). To name is not to drop: that
takes as long as for a block of which nothing is heard.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import trio

from qkdd.base.errors import LinkLost
from qkdd.daemon.beat import BEAT_S, next_beat
from qkdd.daemon.block_mail import SILENCE_S
from qkdd.daemon.status import LinkStatus

log = structlog.get_logger(__name__)

SILENT_S = 8.0
"""With a beat of a second more, and a second until an encoder without its host is dark: told within
ten. The light is reported once a second, and darkening and failing instruments take 7 s at most
before the transmitter says what it has. A loaded host that is late is late by a second or two."""
AWAY_S = 1.0
"""A beat that comes so late means that our own host was away: then nobody else is blamed."""


@dataclass(frozen=True, slots=True)
class Due:
    """A word that is due: since when, how long it may take, and when the neighbour is given up."""

    since_s: float
    limit_s: float
    give_up_s: float


class Silence:
    """What is due of the neighbour of one session, and when it was last heard at all."""

    def __init__(self, status: LinkStatus) -> None:
        self._status = status
        self._heard_s = trio.current_time()
        self._due: dict[str, Due] = {}
        self._changed = trio.Event()

    def heard(self) -> None:
        """The neighbour has said something, whatever it was."""
        self._heard_s = trio.current_time()
        if self._clear():
            log.info("the neighbour speaks again", link=self._status.name, peer=self._status.peer)

    def heard_since(self, time_s: float) -> bool:
        return self._heard_s > time_s

    def expect(self, what: str, limit_s: float = SILENT_S, *, patient: bool = False) -> None:
        """From now on, if not before, a word is due every ``limit_s``, until it is settled.

        ``patient``: the session goes on however long it takes, for the neighbour may have a reason.
        """
        give_up_s = math.inf if patient else max(SILENCE_S, 2.0 * limit_s)
        self._due.setdefault(what, Due(trio.current_time(), limit_s, give_up_s))
        self._changed.set()

    def settle(self, what: str) -> None:
        """That word has come, or is not due any more."""
        self._due.pop(what, None)
        self._clear()

    async def run(self) -> None:
        """Look once a second while something is due, until cancelled.

        Raises
        ------
        LinkLost
            If a neighbour who cannot have a reason has said nothing for a minute.
        """
        try:
            while True:
                if not self._due:
                    self._changed = trio.Event()
                    await self._changed.wait()
                before_s = trio.current_time()
                await next_beat()
                if trio.current_time() - before_s > BEAT_S + AWAY_S:
                    self._heard_s = trio.current_time()
                self._look()
                self._give_up()
        finally:
            self._status.silence = None

    def _quiet_s(self, due: Due) -> float:
        return trio.current_time() - max(due.since_s, self._heard_s)

    def _late(self) -> list[str]:
        return [
            f"{what} is due for over {due.limit_s:g} s"
            for what, due in self._due.items()
            if self._quiet_s(due) > due.limit_s
        ]

    def _give_up(self) -> None:
        for what, due in self._due.items():
            if self._quiet_s(due) > due.give_up_s:
                raise LinkLost(
                    f"the peer has said nothing for {due.give_up_s:g} s, and {what} is due"
                )

    def _look(self) -> None:
        late = self._late()
        if not late or self._status.silence is not None:
            return
        self._status.silence = f"{self._status.peer} says nothing: {late[0]}"
        log.warning(
            "the neighbour says nothing",
            link=self._status.name,
            peer=self._status.peer,
            reason=late[0],
            state=self._status.state,
        )

    def _clear(self) -> bool:
        """Take back what was said, if nothing is late any more; return whether it was."""
        if self._status.silence is None or self._late():
            return False
        self._status.silence = None
        return True


@contextmanager
def within(limit_s: float, what: str) -> Iterator[None]:
    """Have the block end in time.

    Raises
    ------
    LinkLost
        If it does not: ``what`` was not there in time.
    """
    with trio.move_on_after(limit_s) as scope:
        yield
    if scope.cancelled_caught:
        raise LinkLost(f"no {what} within {limit_s:g} s: the neighbour hangs, or is very slow")
