"""The one seam to hardware: bytes out, bytes in, and the framing of text on top of it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from drivers.errors import BadReply, NoReply
from drivers.exchange_lock import ExchangeLock


class Transport(Protocol):
    """A byte stream to one instrument; one task sends and one task receives at a time.

    Nothing here knows a timeout: the caller brings a cancel scope. A cancelled ``receive_some``
    has lost no byte; a cancelled ``send`` may have sent a part.
    """

    async def send(self, data: bytes) -> None:
        """Send all of ``data``; NoReply when the far end is gone."""

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to ``max_bytes`` bytes as soon as there are any; NoReply at the end."""
        ...

    def receive_waiting(self, max_bytes: int) -> bytes:
        """Return up to ``max_bytes`` bytes that have arrived, without waiting; NoReply at the end.

        Empty if there are none, or if this way cannot tell.
        """
        ...

    @property
    def room_bytes(self) -> int:
        """How much may lie here unread before the far end is held up; 0 if that is not known."""
        ...

    async def aclose(self) -> None:
        """Let go of the instrument; never raises InstrumentError."""


class Reader:
    """Bytes of a transport, taken in pieces that mean something."""

    def __init__(self, transport: Transport, *, name: str) -> None:
        self._transport = transport
        self._name = name
        self._buffer = bytearray()

    async def peek(self, n_bytes: int) -> bytes:
        """Return the next ``n_bytes`` and leave them where they are."""
        while len(self._buffer) < n_bytes:
            self._buffer += await self._transport.receive_some()
        return bytes(self._buffer[:n_bytes])

    def take_waiting(self) -> None:
        """Take what has come, if it can be seen without waiting."""
        self._buffer += self._transport.receive_waiting(65536)

    async def exactly(self, n_bytes: int) -> bytes:
        await self.peek(n_bytes)
        return self._take(n_bytes)

    async def until(self, end: bytes, *, limit_bytes: int) -> bytes:
        """Return everything up to ``end``, without it.

        Raises
        ------
        BadReply
            If ``limit_bytes`` bytes came without ``end``; they are thrown away.
        """
        while True:
            at = self._buffer.find(end)
            if at >= 0:
                return self._take(at + len(end))[:at]
            if len(self._buffer) > limit_bytes:
                head = self._take(len(self._buffer))[:32]
                raise BadReply(
                    f"{self._name}: over {limit_bytes} bytes without {end!r}, beginning {head!r}"
                )
            self._buffer += await self._transport.receive_some()

    async def drain(self, quiet_s: float) -> bytes:
        """Throw away what comes until nothing has come for ``quiet_s``; return it for the curious.

        Raises
        ------
        BadReply
            If it never falls silent: an instrument that streams is not drained but stopped.
        """
        drained = bytearray(self._take(len(self._buffer)))
        give_up_s = trio.current_time() + DRAIN_LIMIT_S
        while True:
            with trio.move_on_after(quiet_s):
                drained += await self._transport.receive_some()
                if len(drained) > DRAIN_LIMIT_BYTES or trio.current_time() > give_up_s:
                    raise BadReply(f"{self._name}: still talking after {len(drained)} bytes")
                continue
            return bytes(drained)

    def _take(self, n_bytes: int) -> bytes:
        taken = bytes(self._buffer[:n_bytes])
        del self._buffer[:n_bytes]
        return taken


DRAIN_LIMIT_BYTES = 64 << 20
DRAIN_LIMIT_S = 10.0
"""A slow line that is never quiet would take a day to fill the limit of bytes."""
LINE_LIMIT_BYTES = 4096
QUIET_S = 0.3


class LineProtocol:
    """Lines of text, a query answered by one line; one exchange at a time.

    A reply that comes too late is never taken for the next one: after an exchange that was cut
    (by a timeout, by a cancel, by nonsense) the next first drains, then asks ``marker``, whose
    reply ``is_marker`` recognises. The instrument answers in order, so whatever comes before
    the marker's reply is stale.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        name: str,
        marker: str,
        is_marker: Callable[[str], bool],
        timeout_s: float,
        terminator: bytes = b"\n",
    ) -> None:
        self.name = name
        self._transport = transport
        self._reader = Reader(transport, name=name)
        self._marker = marker
        self._is_marker = is_marker
        self._timeout_s = timeout_s
        self._terminator = terminator
        self._in_step = True
        self._lock = ExchangeLock()

    async def write(self, *lines: str) -> None:
        """Send lines that are not answered."""
        await self.exchange(lines)

    async def ask(self, query: str) -> str:
        """Send one query and return its reply."""
        return (await self.exchange((query,)))[0]

    async def exchange(self, lines: Sequence[str]) -> list[str]:
        """Send ``lines`` one after the other, and return the replies of those that ask.

        Raises
        ------
        NoReply
            If a reply is not there within the protocol's timeout.
        """
        async with self._lock:
            if not self._in_step:
                await self._recover()
            self._in_step = False
            replies = [await self._converse(line) for line in lines]
            self._in_step = True
        return [reply for reply in replies if reply is not None]

    def distrust(self) -> None:
        """Have the next exchange find its step again: a reply made no sense."""
        self._in_step = False

    async def drain(self, quiet_s: float = QUIET_S) -> bytes:
        """Throw away what comes until nothing has come for ``quiet_s``; return it."""
        async with self._lock:
            return await self._reader.drain(quiet_s)

    async def _converse(self, line: str) -> str | None:
        try:
            with trio.fail_after(self._timeout_s):
                await self._transport.send(line.encode("ascii") + self._terminator)
                return await self._line() if "?" in line else None
        except trio.TooSlowError as error:
            raise NoReply(
                f"{self.name}: no reply to {line!r} within {self._timeout_s:g} s"
            ) from error

    async def _recover(self) -> None:
        await self._transport.send(self._terminator)  # ends what a cut command left behind
        await self._reader.drain(QUIET_S)
        try:
            with trio.fail_after(self._timeout_s):
                await self._transport.send(self._marker.encode("ascii") + self._terminator)
                while not self._is_marker(await self._line()):
                    pass
        except trio.TooSlowError as error:
            raise NoReply(
                f"{self.name}: out of step, and no reply to {self._marker!r} within "
                f"{self._timeout_s:g} s"
            ) from error
        await self._reader.drain(QUIET_S)  # the cut exchange may have asked the marker itself

    async def _line(self) -> str:
        line = await self._reader.until(b"\n", limit_bytes=LINE_LIMIT_BYTES)
        try:
            return line.replace(b"\0", b"").decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise BadReply(f"{self.name}: not a line of text: {line[:32]!r}") from error
