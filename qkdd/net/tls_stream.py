"""TLS over any stream: whatever has come is opened in one turn of the loop.

``trio.SSLStream`` gives one record of 16 KiB for two turns of the loop, which for a block of clicks
costs more than its decryption. Between neighbours there is one sender and one reader, TLS 1.3 alone
and no session tickets: then nothing that is read need be answered before something is sent.
"""

import ssl
from contextlib import suppress
from typing import Any, Literal, overload

import trio

RECEIVE_BYTES = 1 << 17
"""At once: as much as a neighbour sends at once, and less than what the allocator takes afresh from
the system."""
RECORD_BYTES = 1 << 14


def is_spoilt(error: BaseException | None) -> bool:
    """Whether OpenSSL says that a record is not as it was sent; a cut and a peer's alert are not.

    A flipped bit shows as a record that does not verify, or, in its five bytes of header, as one
    that there is not.
    """
    return (
        isinstance(error, ssl.SSLError)
        and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
        and "ALERT" not in (error.reason or "")
    )


class TlsStream(trio.abc.Stream):
    """One end. Whatever OpenSSL has to say against the connection is a BrokenResourceError."""

    def __init__(
        self, transport_stream: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool
    ) -> None:
        self.transport_stream = transport_stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._cut = False
        """A record may have left in part."""

    async def do_handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError as error:
                self._cut = True
                raise trio.BrokenResourceError from error
            else:
                await self._flush()
                return

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            with memoryview(data) as view:
                sent = 0
                while sent < len(view):
                    sent += self._tls.write(view[sent:])
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what there is, b"" at a proper end; a cancel loses nothing."""
        limit = RECEIVE_BYTES if max_bytes is None else max_bytes
        opened = self._open(limit)
        if opened is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while opened is None:
            await self._receive()
            opened = self._open(limit)
        return opened

    def version(self) -> str | None:
        """As :meth:`ssl.SSLObject.version`."""
        return self._tls.version()

    @property
    def session(self) -> ssl.SSLSession | None:
        """As :attr:`ssl.SSLObject.session`; contexts without tickets make none to resume."""
        return self._tls.session

    @overload
    def getpeercert(self, binary_form: Literal[False] = ...) -> dict[str, Any] | None: ...
    @overload
    def getpeercert(self, binary_form: Literal[True]) -> bytes | None: ...
    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """As :meth:`ssl.SSLObject.getpeercert`, once hands are shaken."""
        return self._tls.getpeercert(binary_form)

    async def aclose(self) -> None:
        """Say goodbye, if that is possible at once, and hang up."""
        try:
            if not self._cut:
                with suppress(ssl.SSLError):
                    self._tls.unwrap()  # wants to read the peer's goodbye, which nobody waits for
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._flush()
        finally:
            await self.transport_stream.aclose()

    def _open(self, limit: int) -> bytes | None:
        """Open the records that are complete; None if there is none, b"" at the end."""
        pieces: list[bytes] = []
        while limit > 0:
            try:
                piece = self._tls.read(min(limit, RECORD_BYTES))
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                if pieces:
                    break  # it will be said again
                self._cut = True
                raise trio.BrokenResourceError from error
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces) or None

    async def _receive(self) -> None:
        data = await self.transport_stream.receive_some(RECEIVE_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        """Send what OpenSSL has ready, if anything."""
        data = self._outgoing.read()
        if data:
            self._cut = True
            await self.transport_stream.send_all(data)
            self._cut = False
