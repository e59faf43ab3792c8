"""Lines of SCPI for an instrument that mixes its replies if a second query comes too soon.

`drivers.transport.LineProtocol` finds its step again by asking for a marker while a late reply may
still be under way; here that would be the second query. So a query that was cut (by a timeout or
a cancel) stays outstanding until its reply has come, or until it is too late for one.
"""

from collections.abc import Sequence

import trio

from drivers.errors import BadReply, NoReply
from drivers.transport import LINE_LIMIT_BYTES, Reader, Transport

QUIET_S = 0.3


class SingleQuery:
    """One exchange at a time, and in it never more than one query without its reply."""

    def __init__(self, transport: Transport, *, name: str, timeout_s: float) -> None:
        self.name = name
        self._transport = transport
        self._reader = Reader(transport, name=name)
        self._timeout_s = timeout_s
        self._lock = trio.Lock()
        self._in_step = False
        self._asked: str | None = None
        """The query that has been sent, perhaps in part, and has no reply yet."""
        self._asked_s = 0.0

    async def exchange(self, lines: Sequence[str]) -> list[str]:
        """Send ``lines`` one after the other, and return the replies of those that ask.

        Raises
        ------
        NoReply
            If a reply is not there within the protocol's timeout.
        BadReply
            If what comes is no line of text.
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

    async def _converse(self, line: str) -> str | None:
        """Send one line; a query is answered before this returns."""
        assert self._asked is None, f"{self._asked!r} has no reply yet"
        asks = "?" in line
        if asks:
            self._asked, self._asked_s = line, trio.current_time()
        try:
            with trio.fail_after(self._timeout_s):
                await self._transport.send(line.encode("ascii") + b"\n")
                return await self._reply() if asks else None
        except trio.TooSlowError as error:
            raise NoReply(
                f"{self.name}: no reply to {line!r} within {self._timeout_s:g} s"
            ) from error

    async def _recover(self) -> None:
        """Wait for the reply still owed; only then ask who is there, and forget the errors."""
        if self._asked is not None:
            with trio.move_on_at(self._asked_s + self._timeout_s):
                await self._reply()
            self._asked = None
        await self._transport.send(b"\n")  # ends what a cut command left behind
        await self._reader.drain(QUIET_S)
        reply = await self._converse("*IDN?")
        if reply is None or reply.count(",") != 3:
            raise BadReply(f"{self.name}: *IDN? answered {reply!r:.80}, not four fields")
        await self._converse("*CLS")  # what was cut may have left a complaint about itself

    async def _reply(self) -> str:
        """Take the reply of the outstanding query; a cancel leaves it outstanding."""
        line = await self._reader.until(b"\n", limit_bytes=LINE_LIMIT_BYTES)
        self._asked = None
        try:
            return line.replace(b"\0", b"").decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise BadReply(f"{self.name}: not a line of text: {line[:32]!r}") from error
