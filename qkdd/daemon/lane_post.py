"""What the lanes say and hear over one session with a neighbour."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec
import trio

from qkdd.base.errors import LinkLost, PeerError, QkdError
from qkdd.base.ids import LinkId
from qkdd.daemon.key_desk import Say
from qkdd.daemon.mailbox import all_waiting
from qkdd.relay.messages import (
    LaneAnnounce,
    LaneBind,
    LaneConfirm,
    LaneMessage,
    LaneOpen,
    LaneVerdict,
    LaneVoid,
    LaneWave,
)

LANE_MESSAGES = (
    LaneOpen,
    LaneAnnounce,
    LaneBind,
    LaneWave,
    LaneVoid,
    LaneConfirm,
    LaneVerdict,
)
MAX_EARLY = 4_096
"""The neighbour's stores may have agreed a moment before ours: what it then says of all its lanes
waits here."""
MAX_UNSAID = 65_536
"""Messages that wait for a neighbour: a few for each open number of some lanes, and far more than
one that listens ever leaves to wait."""

Hear: TypeAlias = Callable[[LaneMessage], Awaitable[None]]


class LanePost:
    """One session's lanes: shut --open()--> open --the session is over--> over.

    Saying never waits, so that a lane between two neighbours cannot be held up by either: two
    relays that waited for each other to listen would stand for ever. A neighbour for which more
    than ``MAX_UNSAID`` messages wait loses the session.
    """

    types = LANE_MESSAGES

    def __init__(self, link: LinkId, send: Say) -> None:
        self.link = link
        self.over = False
        self._send = send
        self._say, self._said = trio.open_memory_channel[msgspec.Struct](float("inf"))
        self._early: list[LaneMessage] = []
        self._hear: Hear | None = None
        self._failed = trio.Event()
        self._error: QkdError | None = None

    async def put(self, message: msgspec.Struct) -> None:
        """Take what the neighbour said."""
        assert isinstance(message, LaneMessage)
        if self._hear is not None:
            await self._hear(message)
        elif len(self._early) < MAX_EARLY:
            self._early.append(message)
        else:
            raise PeerError(f"more than {MAX_EARLY} messages of lanes before the stores agreed")

    async def open(self, hear: Hear) -> None:
        """From now on ``hear`` is told, in order, what the neighbour says."""
        while self._early:
            await hear(self._early.pop(0))
        self._hear = hear

    def say(self, message: LaneMessage) -> None:
        """Queue a message; what is queued together leaves under one tag."""
        if self.over or self.failed:
            return
        if self._said.statistics().current_buffer_used < MAX_UNSAID:
            self._say.send_nowait(message)
        else:
            self.fail(LinkLost(f"{self.link} takes too slowly what its lanes say"))

    @property
    def failed(self) -> bool:
        return self._error is not None

    def fail(self, error: QkdError) -> None:
        """End the session: this error is the neighbour's, or a lane must begin it afresh."""
        if self._error is None:
            self._error = error
        self._failed.set()

    async def run(self) -> None:
        """Say what is queued until cancelled, or until a lane fails the session."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak)
                await self._failed.wait()
                assert self._error is not None
                raise self._error
        finally:
            self.over = True

    async def _speak(self) -> None:
        async for message in self._said:
            await self._send(message, *all_waiting(self._said))
