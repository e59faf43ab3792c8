"""A small HTTPS client with mutual TLS and keep-alive: for demonstration, tests, benchmarks."""

import ssl
from types import TracebackType
from typing import Self

import h11
import trio

RECEIVE_BYTES = 64 * 1024


class HttpsClient:
    """One connection, opened when first needed and again after it was lost."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._host, self._port, self._context = host, port, context
        self._stream: trio.SSLStream[trio.SocketStream] | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await trio.aclose_forcefully(stream)

    async def request(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytearray]:
        """Ask once and return status and body; the body may be key, and is the caller's to wipe.

        Raises
        ------
        OSError, trio.BrokenResourceError
            If the server cannot be reached or goes away. Nothing is retried: a key may be spent.
        """
        try:
            stream = self._stream or await self._connect()
            return await self._exchange(stream, method, target, body)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.close()
            raise

    async def _connect(self) -> "trio.SSLStream[trio.SocketStream]":
        self._http = h11.Connection(h11.CLIENT)
        self._stream = await trio.open_ssl_over_tcp_stream(
            self._host, self._port, ssl_context=self._context, https_compatible=True
        )
        return self._stream

    async def _exchange(
        self,
        stream: "trio.SSLStream[trio.SocketStream]",
        method: str,
        target: str,
        body: bytes,
    ) -> tuple[int, bytearray]:
        headers = [("Host", f"{self._host}:{self._port}"), ("Content-Length", str(len(body)))]
        if body:
            headers.append(("Content-Type", "application/json"))
        request = self._http.send(h11.Request(method=method, target=target, headers=headers))
        data = self._http.send(h11.Data(data=body)) or b""
        end = self._http.send(h11.EndOfMessage()) or b""
        await stream.send_all((request or b"") + data + end)
        status, text = 0, bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                received = await stream.receive_some(RECEIVE_BYTES)
                if not received and self._http.their_state is h11.SEND_RESPONSE:
                    raise trio.BrokenResourceError("the server closed without an answer")
                self._http.receive_data(bytes(received))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                text += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self.close()
        return status, text
