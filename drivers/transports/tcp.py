"""A TCP connection as a transport, natively in trio."""

import os

import trio

from drivers.errors import NoReply

CONNECT_TIMEOUT_S = 5.0
RECEIVE_BUFFER_BYTES = 1 << 20
"""Asked for; Linux grants at most twice net.core.rmem_max, by default 416 KiB (socket(7))."""


class TcpTransport:
    def __init__(self, stream: trio.SocketStream, *, name: str) -> None:
        self._stream = stream
        self._name = name

    async def send(self, data: bytes) -> None:
        """What the buffer takes at once, which is all of a question, costs no turn of the loop."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            n_sent = os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            n_sent = 0
        except OSError as error:
            raise NoReply(f"{self._name}: connection lost") from error
        if n_sent == len(data):
            return
        try:
            await self._stream.send_all(memoryview(data)[n_sent:])
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise NoReply(f"{self._name}: connection lost") from error

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        """Whoever has asked waits first: to look before costs a system call that finds nothing."""
        data = b""
        while not data:
            if self._stream.socket.fileno() < 0:  # trio would remember that somebody waits for it
                raise NoReply(f"{self._name}: closed")
            try:
                await trio.lowlevel.wait_readable(self._stream.socket)
            except (OSError, trio.ClosedResourceError) as error:
                raise NoReply(f"{self._name}: connection lost") from error
            data = self.receive_waiting(max_bytes)
        return data

    def receive_waiting(self, max_bytes: int) -> bytes:
        try:
            data = os.read(self._stream.socket.fileno(), max_bytes)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise NoReply(f"{self._name}: connection lost") from error
        if not data:
            raise NoReply(f"{self._name}: connection closed by the instrument")
        return data

    @property
    def room_bytes(self) -> int:
        """Half of the buffer: the rest is for what surrounds the bytes (tcp(7))."""
        granted = self._stream.socket.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF)
        return granted // 2

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


async def open_tcp(host: str, port: int, *, name: str) -> TcpTransport:
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError as error:
        raise NoReply(f"{name}: no connection within {CONNECT_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise NoReply(f"{name}: cannot connect: {error}") from error
    stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    return TcpTransport(stream, name=name)
