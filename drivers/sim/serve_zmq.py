"""Servers in ZeroMQ: one that answers requests, and ports that stream to one client each.

A server never waits to write. ZeroMQ sends in a thread of its own; what a client does not read
stays in memory, is counted, and is the instrument's to bound.
"""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio
import zmq

from drivers.sim.serve import tell_waiters

LINGER_MS = 1000
"""How long what was sent before its port closed may still be read."""

RELEASE_TRIES, RELEASE_S = 250, 0.002
MAX_REQUEST_BYTES = 65_536

Context = zmq.Context[zmq.Socket[bytes]]


class StreamPort:
    """A PAIR socket that waits for its one client."""

    def __init__(self, context: Context, host: str, port: int) -> None:
        self.port = port
        self._socket = context.socket(zmq.PAIR)
        self._socket.set(zmq.SNDHWM, 0)  # counted in messages, which may be of any size
        self._socket.set(zmq.RCVHWM, 1)
        self._unread: deque[tuple[zmq.MessageTracker, int]] = deque()
        try:
            bind(self._socket, host, port)
        except OSError:
            self._socket.close(linger=0)
            raise

    @property
    def closed(self) -> bool:
        return self._socket.closed

    def put(self, message: memoryview) -> bool:
        """Send ``message``, which must not change any more; False if there is no client."""
        if self.closed:
            return False
        try:
            tracker = self._socket.send(message, zmq.NOBLOCK, copy=False, track=True)
        except zmq.Again:
            return False
        self._unread.append((tracker, message.nbytes))
        return True

    def held_bytes(self) -> int:
        while self._unread and self._unread[0][0].done:
            self._unread.popleft()
        return sum(n_bytes for _, n_bytes in self._unread)

    def close(self) -> None:
        self._socket.close(linger=LINGER_MS)

    def cut(self) -> None:
        self._socket.close(linger=0)


class StreamPorts:
    """The ports that a service opens on one host."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._context: Context | None = None
        self._ports: list[StreamPort] = []

    def open(self, port: int) -> StreamPort:
        """Listen; OSError if that cannot be."""
        if self._context is None:
            self._context = Context()
        opened = StreamPort(self._context, self._host, port)
        self._ports.append(opened)
        return opened

    async def settled(self) -> None:
        """Wait until closed ports are free again: ZeroMQ lets go of them in its own time."""
        for closed in [port for port in self._ports if port.closed]:
            for _ in range(RELEASE_TRIES):
                with suppress(OSError):
                    socket.create_server((self._host, closed.port)).close()
                    break
                await trio.sleep(RELEASE_S)
            self._ports.remove(closed)

    def unplug(self) -> None:
        for port in self._ports:
            port.cut()
        if self._context is not None:
            self._context.term()
        self._ports, self._context = [], None


class RepServer:
    """Answers every message with one message, as a REP socket does; any number of clients."""

    def __init__(
        self,
        answer: Callable[[str], str],
        host: str,
        port: int,
        *,
        streams: StreamPorts | None = None,
    ) -> None:
        self._answer = answer
        self._host, self._port = socket.gethostbyname(host), port
        self._streams = streams
        self._plugged = trio.Event()
        self.plug()

    @property
    def address(self) -> tuple[str, int]:
        """Host and the port that the system gave."""
        return self._host, self._port

    async def run(self) -> None:
        try:
            while True:
                with suppress(trio.ClosedResourceError, zmq.ContextTerminated):
                    while not self._socket.closed:
                        await self._serve_waiting()
                        await trio.lowlevel.wait_readable(self._fd)
                await self._plugged.wait()
        finally:
            self.unplug()

    def unplug(self) -> None:
        """Cut every client off and refuse new ones."""
        if self._socket.closed:
            return
        self._plugged = trio.Event()
        tell_waiters(self._fd)
        self._socket.close(linger=0)
        self._context.term()
        if self._streams is not None:
            self._streams.unplug()

    def plug(self) -> None:
        """Listen, from the second time on the same port."""
        self._context = Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.set(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        try:
            self._port = bind(self._socket, self._host, self._port)
        except OSError:
            self._socket.close(linger=0)
            self._context.term()
            raise
        self._fd = int(self._socket.get(zmq.FD))
        self._plugged.set()

    async def _serve_waiting(self) -> None:
        """Answer what is there: the descriptor tells of the first message only."""
        with suppress(zmq.Again):
            while not self._socket.closed:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                answer = self._answer(b"".join(frames).decode("utf-8", "replace"))
                if self._streams is not None:
                    await self._streams.settled()
                if not self._socket.closed:
                    self._socket.send(answer.encode("utf-8"), zmq.NOBLOCK)


def bind(listener: zmq.Socket[bytes], host: str, port: int) -> int:
    """Bind to a numeric host; the port that it is. OSError if it cannot be."""
    try:
        listener.bind(f"tcp://{host}:{port}")
    except zmq.ZMQError as error:
        raise OSError(error.errno, str(error)) from error
    return int(bytes(listener.get(zmq.LAST_ENDPOINT)).rpartition(b":")[2].rstrip(b"\0"))
