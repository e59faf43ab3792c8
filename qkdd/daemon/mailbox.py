"""Sorts what the peer says into one queue for each listener."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec
import trio

from qkdd.base.errors import PeerError

T = TypeVar("T", bound=msgspec.Struct)
M = TypeVar("M")

QUEUE_MESSAGES = 16
"""A block's clicks come as 60 messages of half a megabyte: what does not fit waits in the peer.
The two ends of a block talk in turns, and where they overlap (syndromes and verdicts) the answers
are a few bytes each: neither can fill the other's queue while its own is full."""


def all_waiting(channel: trio.MemoryReceiveChannel[M]) -> list[M]:
    """Take what a channel holds at this moment."""
    messages: list[M] = []
    while True:
        try:
            messages.append(channel.receive_nowait())
        except trio.WouldBlock:
            return messages


class Mailbox:
    """The messages of a few types, in order; ``Sorter`` fills it, one task empties it."""

    def __init__(self, *types: type[msgspec.Struct]) -> None:
        self.types = types
        self._send, self._receive = trio.open_memory_channel[msgspec.Struct](QUEUE_MESSAGES)

    async def put(self, message: msgspec.Struct) -> None:
        """Put it in, at once if there is room: what came in one batch is then taken in one turn."""
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            await self._send.send(message)

    def waiting(self) -> list[msgspec.Struct]:
        """Take all that has come."""
        return all_waiting(self._receive)

    async def any(self) -> msgspec.Struct:
        """Wait for the next message, whatever it is."""
        return await self._receive.receive()

    async def get(self, *expected: type[T]) -> T:
        """Wait for the next message, which must be of an ``expected`` type.

        Raises
        ------
        PeerError
            If it is not.
        """
        message = await self.any()
        if isinstance(message, expected):
            return message
        names = " or ".join(kind.__name__ for kind in expected)
        raise PeerError(f"peer sent {type(message).__name__} where {names} was due")


class Hearer(Protocol):
    """Takes messages of its types, as a :class:`Mailbox` does."""

    @property
    def types(self) -> tuple[type[msgspec.Struct], ...]: ...

    async def put(self, message: msgspec.Struct) -> None: ...


class Sorter:
    """Knows which mailbox takes which type."""

    def __init__(self, mailboxes: Iterable[Hearer]) -> None:
        self._by_type = {kind: mailbox for mailbox in mailboxes for kind in mailbox.types}

    async def put(self, message: msgspec.Struct) -> None:
        mailbox = self._by_type.get(type(message))
        if mailbox is None:
            raise PeerError(f"peer sent {type(message).__name__}, which nobody here awaits")
        await mailbox.put(message)
