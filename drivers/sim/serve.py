"""Servers for one instrument each: a TCP port, or a pty behind a stable symlink.

A server never waits to write: what the host does not take stays in the instrument, whose FIFO
overflows as the real one's does. ``unplug`` and ``plug`` are the hand at the cable.
"""

import os
import socket
import tty
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import trio

READ_BYTES = 65_536
TCP_BUFFER_BYTES = (
    262_144  # a step's worth at 10 Mevents/s; the kernel's own default is 16 times it
)


class HangUp(Exception):
    """The instrument ends the connection, after what it still has to say."""


class Device(Protocol):
    """What a server needs of an instrument."""

    def connected(self) -> None: ...
    def disconnected(self) -> None: ...
    def receive(self, data: bytes) -> None:
        """Take bytes of the host; may raise :class:`HangUp`."""

    def pending(self) -> memoryview: ...
    def sent(self, n_bytes: int) -> None: ...


class Outbox:
    """Bytes on their way to the host."""

    def __init__(self, said: bytearray) -> None:
        self._said = said

    def pending(self) -> memoryview:
        return memoryview(bytes(self._said))

    def sent(self, n_bytes: int) -> None:
        del self._said[:n_bytes]


class TcpServer:
    """One client at a time; a second connection waits until the first has gone."""

    def __init__(self, device: Device, host: str, port: int) -> None:
        self._device = device
        self._host, self._port = host, port
        self._client: socket.socket | None = None
        self._plugged = trio.Event()
        self._listener = self._listen()

    @property
    def address(self) -> tuple[str, int]:
        """Host and the port that the system gave."""
        return self._host, self._port

    async def run(self) -> None:
        try:
            while True:
                with suppress(trio.ClosedResourceError):
                    while self._listener.fileno() >= 0:
                        await self._accept()
                await self._plugged.wait()
        finally:
            self.unplug()

    def flush(self) -> None:
        """Send what the client takes at once."""
        while self._client is not None and (chunk := self._device.pending()):
            try:
                self._device.sent(self._client.send(chunk))
            except OSError:  # full, or gone: then the reader notices
                return

    def unplug(self) -> None:
        """Cut the client off and refuse new ones."""
        self._plugged = trio.Event()
        for end in (self._client, self._listener):
            if end is not None and end.fileno() >= 0:
                tell_waiters(end.fileno())
                end.close()

    def plug(self) -> None:
        """Listen again, on the same port."""
        if self._listener.fileno() < 0:
            self._listener = self._listen()
        self._plugged.set()

    def _listen(self) -> socket.socket:
        listener = socket.create_server((self._host, self._port), backlog=8)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        return listener

    async def _accept(self) -> None:
        await trio.lowlevel.wait_readable(self._listener)
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            await self._serve(client)

    async def _serve(self, client: socket.socket) -> None:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TCP_BUFFER_BYTES)
        self._client = client
        self._device.connected()
        try:
            with suppress(OSError, HangUp, trio.ClosedResourceError):
                await self._read(client)
            self.flush()
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)  # so that the last words get through
        finally:
            self._client = None
            client.close()
            self._device.disconnected()

    async def _read(self, client: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(client)
            with suppress(BlockingIOError):
                data = client.recv(READ_BYTES)
                if not data:
                    return
                self._device.receive(data)
                self.flush()


class PtyServer:
    """A serial line. Clients open ``path``, close it and open it again; the device cannot tell."""

    def __init__(self, device: Device, path: Path) -> None:
        self._device = device
        self.path = path
        self._master = self._slave = -1
        self._plugged = trio.Event()
        self.plug()

    async def run(self) -> None:
        try:
            while True:
                with suppress(trio.ClosedResourceError):
                    while self._master >= 0:
                        await self._read(self._master)
                await self._plugged.wait()
        finally:
            self.unplug()

    def flush(self) -> None:
        """Write what the line takes at once: it holds some 20 KB that nobody reads."""
        while self._master >= 0 and (chunk := self._device.pending()):
            try:
                self._device.sent(os.write(self._master, chunk))
            except OSError:
                return

    def unplug(self) -> None:
        """The line goes dead for whoever has it open, and its name disappears."""
        if self._master < 0:
            return
        self._plugged = trio.Event()
        tell_waiters(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        self.path.unlink(missing_ok=True)
        self._device.disconnected()

    def plug(self) -> None:
        """Appear again, under the same name."""
        if self._master >= 0:
            return
        if self.path.exists() and not self.path.is_symlink():
            raise FileExistsError(f"{self.path} is in the way of a simulated serial line")
        self._master, self._slave = os.openpty()  # the open slave keeps the line alive
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        beside = self.path.with_name(self.path.name + ".new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.ttyname(self._slave))
        beside.replace(self.path)
        self._device.connected()
        self._plugged.set()

    async def _read(self, master: int) -> None:
        await trio.lowlevel.wait_readable(master)
        with suppress(BlockingIOError):
            data = os.read(master, READ_BYTES)
            with suppress(HangUp):  # a serial line has nothing to hang up
                self._device.receive(data)
            self.flush()


def tell_waiters(fd: int) -> None:
    """Wake whoever waits for ``fd``, which is about to be closed."""
    with suppress(RuntimeError):  # outside trio nobody waits
        trio.lowlevel.notify_closing(fd)
