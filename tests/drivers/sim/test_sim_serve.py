"""The servers, for real: TCP ports and serial lines, clients that come, go and do not read."""

import os
import socket
from contextlib import asynccontextmanager

import pytest
import trio

from drivers.sim.serve import HangUp, PtyServer, TcpServer


class Parrot:
    """Says everything back; hangs up at "bye"; says ``backlog`` to whoever listens."""

    def __init__(self) -> None:
        self.backlog = bytearray()
        self.visits: list[str] = []

    def connected(self) -> None:
        self.visits.append("in")

    def disconnected(self) -> None:
        self.visits.append("out")

    def receive(self, data: bytes) -> None:
        self.backlog += data
        if b"bye" in data:
            raise HangUp

    def pending(self) -> memoryview:
        return memoryview(bytes(self.backlog))

    def sent(self, n_bytes: int) -> None:
        del self.backlog[:n_bytes]


@asynccontextmanager
async def running(server):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            yield server
            nursery.cancel_scope.cancel()


async def dial(server: TcpServer) -> trio.SocketStream:
    return await trio.open_tcp_stream(*server.address)


async def read_exactly(stream, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        chunk = await stream.receive_some(n_bytes - len(data))
        assert chunk, "the other side hung up"
        data += chunk
    return data


async def test_tcp_talks_to_one_client_after_the_other():
    parrot = Parrot()
    async with running(TcpServer(parrot, "127.0.0.1", 0)) as server:
        first, second = await dial(server), await dial(server)
        await second.send_all(b"two")
        await first.send_all(b"one")
        assert await read_exactly(first, 3) == b"one"
        assert parrot.visits == ["in"]
        await first.aclose()
        assert await read_exactly(second, 3) == b"two"
        assert parrot.visits == ["in", "out", "in"]
        await second.aclose()


async def test_tcp_hangs_up_after_the_last_words():
    async with running(TcpServer(Parrot(), "127.0.0.1", 0)) as server:
        client = await dial(server)
        await client.send_all(b"good bye")
        assert await read_exactly(client, 8) == b"good bye"
        assert await client.receive_some(10) == b""
        await client.aclose()


async def test_tcp_leaves_with_the_device_what_the_client_does_not_read():
    parrot = Parrot()
    async with running(TcpServer(parrot, "127.0.0.1", 0)) as server:
        client = await dial(server)
        await client.send_all(b"x")
        await read_exactly(client, 1)
        parrot.backlog += bytes(64_000_000)
        server.flush()
        assert len(parrot.backlog) > 32_000_000
        await client.aclose()


async def test_tcp_can_be_unplugged_and_plugged_in_again():
    parrot = Parrot()
    async with running(TcpServer(parrot, "127.0.0.1", 0)) as server:
        client = await dial(server)
        await client.send_all(b"x")
        await read_exactly(client, 1)
        server.unplug()
        assert await client.receive_some(10) == b""
        with pytest.raises(OSError, match="all attempts"):
            await dial(server)
        server.plug()
        async with await dial(server) as again:
            await again.send_all(b"back")
            assert await read_exactly(again, 4) == b"back"
        await client.aclose()


async def test_a_taken_port_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        TcpServer(Parrot(), "127.0.0.1", taken.getsockname()[1])


def open_line(path) -> trio.lowlevel.FdStream:
    return trio.lowlevel.FdStream(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))


async def test_a_serial_line_is_raw_and_survives_its_clients(tmp_path):
    every_byte = bytes(range(256))
    async with running(PtyServer(Parrot(), tmp_path / "line")) as server:
        for _ in range(3):
            async with open_line(server.path) as line:
                await line.send_all(every_byte)
                assert await read_exactly(line, 256) == every_byte
    assert not os.path.lexists(tmp_path / "line")


async def test_a_serial_line_nobody_reads_fills_up_and_blocks_nobody(tmp_path):
    parrot = Parrot()
    async with running(PtyServer(parrot, tmp_path / "line")) as server:
        parrot.backlog += bytes(1_000_000)
        server.flush()
        assert len(parrot.backlog) > 900_000
        async with open_line(server.path) as line:
            while parrot.backlog:
                assert await line.receive_some(65_536)
                server.flush()


async def test_an_unplugged_line_fails_and_comes_back_under_its_name(tmp_path):
    async with running(PtyServer(Parrot(), tmp_path / "line")) as server:
        line = open_line(server.path)
        await line.send_all(b"x")
        await read_exactly(line, 1)
        server.unplug()
        assert not os.path.lexists(server.path)
        with pytest.raises(trio.BrokenResourceError):
            await line.send_all(b"x")
        await line.aclose()
        server.plug()
        async with open_line(server.path) as again:
            await again.send_all(b"back")
            assert await read_exactly(again, 4) == b"back"


async def test_a_stale_symlink_is_replaced_and_a_file_is_not(tmp_path):
    (tmp_path / "stale").symlink_to("/nowhere")
    server = PtyServer(Parrot(), tmp_path / "stale")
    assert server.path.resolve().is_char_device()
    server.unplug()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileExistsError, match="in the way"):
        PtyServer(Parrot(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"
