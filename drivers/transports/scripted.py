"""A transport that follows a script, for conversations in tests.

It fails on anything unsaid (a line of the script that was never sent), unread (a reply nobody
took) or unexpected (bytes that the script does not have).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from drivers.errors import NoReply


class Gone:
    """As a reply: the instrument is unplugged."""


Reply = bytes | tuple[bytes, ...] | type[Gone]


class ScriptedTransport:
    """Plays a list of (what the host sends, what the instrument answers).

    ``b""`` as an answer is silence; a tuple is an answer in pieces, each received by itself.
    """

    def __init__(self, *script: tuple[bytes, Reply]) -> None:
        self._script = list(script)
        self._sent = b""
        self._pieces: list[bytes] = []
        self._gone = False
        self._arrived = trio.Event()
        self.closed = False

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._gone:
            raise NoReply("scripted: unplugged")
        self._sent += data
        while self._sent:
            assert self._script, f"unexpected: {self._sent!r}, the script is at its end"
            expected, reply = self._script[0]
            if expected.startswith(self._sent) and self._sent != expected:
                return
            assert self._sent.startswith(expected), f"sent {self._sent!r}, expected {expected!r}"
            self._sent = self._sent[len(expected) :]
            self._script.pop(0)
            self._answer(reply)

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._pieces:
            if self._gone:
                raise NoReply("scripted: unplugged")
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.receive_waiting(max_bytes)

    def receive_waiting(self, max_bytes: int) -> bytes:
        if not self._pieces:
            if self._gone:
                raise NoReply("scripted: unplugged")
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > max_bytes:
            self._pieces.insert(0, piece[max_bytes:])
        return piece[:max_bytes]

    @property
    def room_bytes(self) -> int:
        return 1 << 16

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.closed = True

    def say(self, data: bytes) -> None:
        """Let the instrument speak unasked, or too late."""
        self._answer(data)

    def unplug(self) -> None:
        """Take the instrument away once what it said has been read."""
        self._answer(Gone)

    def finish(self) -> None:
        """Assert that the script was followed to its end."""
        assert not self._sent, f"half a line of the script was sent: {self._sent!r}"
        assert not self._script, f"unsaid: {self._script!r}"
        assert not self._pieces, f"unread: {self._pieces!r}"

    def _answer(self, reply: Reply) -> None:
        if isinstance(reply, type):
            self._gone = True
        else:
            pieces = (reply,) if isinstance(reply, bytes) else reply
            self._pieces += [piece for piece in pieces if piece]
        self._arrived.set()


@contextmanager
def expect(*script: tuple[bytes, Reply]) -> Iterator[ScriptedTransport]:
    """Check on the way out of a test that everything was said and read."""
    transport = ScriptedTransport(*script)
    yield transport
    transport.finish()
