"""A TCP proxy that makes bad networks: delay, jitter, slowness, partition, corruption, resets.

Unprivileged, seeded, for tests and benchmarks. The kernels at both its sides live, so a partition
here is that of a middlebox which holds bytes back: acknowledged, and not delivered. One in which
the kernels do not hear each other needs a network namespace (``tests/chaos/namespaces.py``).
"""

import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import trio

from tests.chaos.weather import Direction, Weather

Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"

PIECE_BYTES = 16 * 1024
PIECES_UNDER_WAY = 4
"""What the proxy itself holds in each direction; more waits at the sender."""
KERNEL_BUFFER_BYTES = 16 * 1024
"""Small, so that a slow or blocked direction is felt by the sender and not by a buffer."""
CONNECT_TIMEOUT_S = 5.0
RETRY_S = 0.05
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@dataclass(frozen=True, slots=True)
class Thief:
    """Somebody with stolen certificates of both ends: who dials sees ``accepting``'s, who listens
    sees ``dialling``'s, and the weather acts on what TLS should have protected."""

    accepting: ssl.SSLContext
    dialling: ssl.SSLContext


class ChaosProxy:
    """Between who dials ``port`` and who listens at ``target``; see :func:`open_proxy`.

    ``forward`` is the direction from the dialling end, ``backward`` the other.
    """

    def __init__(self, target: int, *, seed: int, thief: Thief | None = None) -> None:
        self.forward = Direction(random.Random(f"{seed} forward"))
        self.backward = Direction(random.Random(f"{seed} backward"))
        self.port = 0
        self.n_connections = 0
        self._target = target
        self._thief = thief
        self._raw: set[trio.SocketStream] = set()
        self._changed = trio.Event()

    def turn(self, weather: Weather, only: Literal["forward", "backward"] | None = None) -> None:
        """Change the weather of both directions, or of one; what is held back feels it as well."""
        for name, direction in (("forward", self.forward), ("backward", self.backward)):
            if only in (None, name):
                direction.weather = weather
        self._wake()

    def reset(self) -> int:
        """End all connections with RST at both sides; return how many sockets."""
        n_sockets = len(self._raw)
        for stream in tuple(self._raw):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        return n_sockets

    async def connections(self, number: int) -> None:
        """Wait until so many connections have been made through it."""
        while self.n_connections < number:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        # An accepted socket inherits the buffer; later the window would not shrink.
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)
        self.port = listener.socket.getsockname()[1]
        await trio.serve_listeners(self._connection, [listener], task_status=_Ready(task_status))

    async def _connection(self, near: trio.SocketStream) -> None:
        self._raw.add(near)
        far: trio.SocketStream | None = None
        try:
            far = await self._connect()
            self._raw.add(far)
            self.n_connections += 1
            self._wake()
            await self._carry(near, far)
        except BROKEN:
            pass  # what the network does: both ends notice
        finally:
            for stream in (near, far):
                if stream is not None:
                    self._raw.discard(stream)
                    stream.socket.close()

    async def _connect(self) -> trio.SocketStream:
        """Connect to the target as soon as neither direction is blocked."""
        while self.forward.weather.blocked or self.backward.weather.blocked:
            await self._changed.wait()
        far = trio.socket.socket()
        try:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)
            with trio.fail_after(CONNECT_TIMEOUT_S):
                await far.connect(("127.0.0.1", self._target))
        except BaseException:
            far.close()
            raise
        return trio.SocketStream(far)

    async def _carry(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        ends: tuple[Stream, Stream] = (near, far)
        if self._thief is not None:
            ends = (
                trio.SSLStream(near, self._thief.accepting, server_side=True),
                trio.SSLStream(far, self._thief.dialling),
            )
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            nursery.start_soon(self._pass_on, *ends, self.forward, scope)
            nursery.start_soon(self._pass_on, *reversed(ends), self.backward, scope)

    async def _pass_on(
        self, source: Stream, sink: Stream, direction: Direction, connection: trio.CancelScope
    ) -> None:
        """Carry one direction; the connection ends when either direction does."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](PIECES_UNDER_WAY)

        async def read() -> None:
            due_s = trio.current_time()
            async with send:
                while piece := await source.receive_some(PIECE_BYTES):
                    due_s = direction.due_s(trio.current_time(), due_s)
                    await send.send((due_s, bytes(piece)))

        async def write() -> None:
            async for due_s, piece in receive:
                await trio.sleep_until(due_s)
                while direction.weather.blocked:
                    await self._changed.wait()
                spoilt, ends_here = direction.spoil(piece)
                await self._send_slowly(sink, spoilt, direction)
                if ends_here:
                    break
            connection.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(write)
        except* BROKEN:
            connection.cancel()

    async def _send_slowly(self, sink: Stream, piece: bytes, direction: Direction) -> None:
        """Send in portions of a tenth of a second, so that a new weather is soon felt."""
        left = memoryview(piece)
        while left:
            rate = direction.weather.bytes_per_s
            n_bytes = len(left) if rate == float("inf") else max(1, min(len(left), int(rate / 10)))
            direction.bytes_passed += n_bytes
            await sink.send_all(bytes(left[:n_bytes]))
            left = left[n_bytes:]
            if rate != float("inf"):
                with trio.move_on_after(n_bytes / rate):
                    await self._changed.wait()


@asynccontextmanager
async def open_proxy(
    target: int, *, seed: int = 1, thief: Thief | None = None
) -> AsyncIterator[ChaosProxy]:
    """Serve between a port of its own and ``target``, both on loopback, until the block is left."""
    proxy = ChaosProxy(target, seed=seed, thief=thief)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: proxy.serve(task_status=task_status))
        try:
            yield proxy
        finally:
            nursery.cancel_scope.cancel()


class _Ready:
    """Passes ``started`` on without the listeners."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status

    def started(self, _listeners: object = None) -> None:
        self._task_status.started()
