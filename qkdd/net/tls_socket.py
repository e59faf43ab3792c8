"""The serving end of one TLS connection, OpenSSL on the socket itself.

``trio.SSLStream`` carries every record through two buffers of memory and a lock each way; a short
request and its answer then cost more in it than in all the rest of the edge. One task at a time
uses a :class:`TlsSocket`.
"""

import socket
import ssl
from typing import Any, Literal, overload

import trio

RECEIVE_BYTES = 16 * 1024
"""All that a TLS record can hold."""


class TlsSocket:
    """Takes the socket out of ``stream``. Every method raises BrokenResourceError for whatever
    OpenSSL or the system has to say against the connection, which is then only to be closed."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        raw = socket.socket(fileno=stream.socket.detach())
        raw.setblocking(False)
        try:
            self._tls = context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        except OSError as error:  # the client is gone already
            raw.close()
            raise trio.BrokenResourceError(str(error)) from error

    async def handshake(self) -> None:
        while True:
            try:
                return self._tls.do_handshake()
            except OSError as error:
                await self._wait_or_raise(error)

    async def receive(self) -> bytes:
        """Wait for some bytes, empty at the end of the connection; gives way to other tasks."""
        if self._tls.pending():
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._tls)
        while True:
            try:
                return self._tls.recv(RECEIVE_BYTES)
            except OSError as error:
                await self._wait_or_raise(error)

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send what can be sent without waiting; return how many bytes that is."""
        try:
            return self._tls.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                try:
                    sent += self._tls.send(view[sent:])
                except OSError as error:
                    await self._wait_or_raise(error)

    async def _wait_or_raise(self, error: OSError) -> None:
        if isinstance(error, ssl.SSLWantReadError):
            await trio.lowlevel.wait_readable(self._tls)
        elif isinstance(error, ssl.SSLWantWriteError):
            await trio.lowlevel.wait_writable(self._tls)
        else:
            raise trio.BrokenResourceError(str(error)) from error

    @overload
    def getpeercert(self, binary_form: Literal[False] = ...) -> dict[str, Any] | None: ...
    @overload
    def getpeercert(self, binary_form: Literal[True]) -> bytes | None: ...
    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """As :meth:`ssl.SSLSocket.getpeercert`, once hands are shaken."""
        return self._tls.getpeercert(binary_form)

    def close(self) -> None:
        """Hang up, without a word."""
        if self._tls.fileno() != -1:
            trio.lowlevel.notify_closing(self._tls)
            self._tls.close()
