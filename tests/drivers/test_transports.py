"""Transports on real sockets and ptys: pieces, hang-ups, refusals, and the scripted one."""

import os
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
import trio.testing

from drivers.errors import BadReply, NoReply
from drivers.transport import LineProtocol, Reader, Transport
from drivers.transports import open_transport
from drivers.transports.scripted import Gone, expect
from drivers.transports.tcp import TcpTransport
from drivers.transports.visa import open_visa


@asynccontextmanager
async def tcp_peer(handler) -> AsyncIterator[int]:
    """Serve one TCP port; yields its number."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@contextmanager
def pty_pair():
    """Yield the master's descriptor and the path of the slave, kept open as a simulator does."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(slave)
        if master >= 0:
            os.close(master)


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


@asynccontextmanager
async def open_socket(way: str, port: int) -> AsyncIterator[Transport]:
    """Open it by one of the two forms, or by pyvisa, as a GPIB instrument is."""
    socket = f"TCPIP::127.0.0.1::{port}::SOCKET"
    if way == "visa":
        transport = await open_visa(socket, baud=9600, name=socket)
        try:
            yield transport
        finally:
            await transport.aclose()
        return
    async with open_transport(socket if way == "socket" else f"tcp://127.0.0.1:{port}") as opened:
        yield opened


WAYS = ("trio", "socket", "visa")


async def listen(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def test_a_question_is_sent_without_a_turn_of_the_loop():
    async def turn() -> None:
        turned.set()

    with pty_pair() as (_, path):
        async with tcp_peer(listen) as port:
            for resource in (f"tcp://127.0.0.1:{port}", f"serial:{path}"):
                async with open_transport(resource) as transport, trio.open_nursery() as nursery:
                    turned = trio.Event()
                    nursery.start_soon(turn)
                    await transport.send(b"*IDN?\n")
                    assert not turned.is_set()


@pytest.mark.parametrize("way", WAYS)
async def test_bytes_go_there_and_back(way):
    async with tcp_peer(echo) as port, open_socket(way, port) as transport:
        reader = Reader(transport, name="echo")
        for message in (b"short\n", b"no end of line", bytes(range(256)) * 300):
            await transport.send(message)
            with trio.fail_after(20):
                assert await reader.exactly(len(message)) == message


@pytest.mark.parametrize("way", WAYS)
async def test_a_port_where_nobody_listens_is_no_reply(way):
    with trio.socket.socket() as probe:
        await probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def open_and_ask() -> None:
        async with open_socket(way, port) as transport:
            line = LineProtocol(
                transport, name="it", marker="*IDN?", is_marker=lambda _: True, timeout_s=1.0
            )
            await line.ask("*IDN?")

    with pytest.raises(NoReply):
        await open_and_ask()


@pytest.mark.parametrize("way", WAYS)
async def test_unplugged_in_mid_reply_is_no_reply(way):
    async def die(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HEWLETT-PA")
        await stream.aclose()

    async with tcp_peer(die) as port, open_socket(way, port) as transport:
        line = LineProtocol(
            transport, name="it", marker="*IDN?", is_marker=lambda _: True, timeout_s=1.0
        )
        with pytest.raises(NoReply):
            await line.ask("*IDN?")
        with pytest.raises(NoReply):  # and it stays gone
            await line.ask("*IDN?")


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_read_loses_no_byte(way):
    go = trio.Event()

    async def later(stream: trio.SocketStream) -> None:
        await go.wait()
        await stream.send_all(b"here\n")

    async with tcp_peer(later) as port, open_socket(way, port) as transport:
        with trio.move_on_after(0.05) as scope:
            await transport.receive_some()
        assert scope.cancelled_caught
        go.set()
        with trio.fail_after(5):
            assert await Reader(transport, name="it").exactly(5) == b"here\n"


async def test_what_has_arrived_is_taken_without_waiting():
    go = trio.Event()

    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(b"here")
        await go.wait()

    async with tcp_peer(talk) as port, open_socket("trio", port) as transport:
        first = await transport.receive_some(1)
        assert first + transport.receive_waiting(100) == b"here"
        assert transport.receive_waiting(100) == b""
        go.set()
        with pytest.raises(NoReply, match="closed by the instrument"):
            await transport.receive_some()
        with pytest.raises(NoReply, match="closed by the instrument"):
            transport.receive_waiting(100)


@pytest.mark.parametrize("form", ["TCPIP::127.0.0.1::{}::SOCKET", "tcpip0::localhost::{}::socket"])
async def test_a_socket_needs_no_visa(form):
    async with tcp_peer(listen) as port, open_transport(form.format(port)) as transport:
        assert isinstance(transport, TcpTransport)


async def stay_silent(_: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def test_visa_hears_a_cancel_within_one_step():
    async with (
        tcp_peer(stay_silent) as port,
        open_socket("visa", port) as transport,
    ):
        start_s = trio.current_time()
        with trio.move_on_after(0.05):
            await transport.receive_some()
        assert trio.current_time() - start_s < 1.0


@pytest.mark.parametrize("form", ["serial:{}", "ASRL{}::INSTR"])
async def test_a_pty_is_opened_raw_and_carries_every_byte(form):
    every_byte = bytes(range(256)) * 8
    with pty_pair() as (master, path):
        async with open_transport(form.format(path)) as transport:
            await transport.send(every_byte)
            assert await trio.to_thread.run_sync(read_exactly, master, 2048) == every_byte
            os.write(master, every_byte)
            with trio.fail_after(5):
                assert await Reader(transport, name="pty").exactly(2048) == every_byte


async def test_silence_on_a_serial_line_is_waited_out():
    with pty_pair() as (master, path):
        async with open_transport(f"serial:{path}") as transport:
            with trio.move_on_after(0.05) as scope:
                await transport.receive_some()
            assert scope.cancelled_caught
            os.write(master, b"at last")
            assert await transport.receive_some() == b"at last"


def read_exactly(fd: int, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        data += os.read(fd, n_bytes - len(data))
    return data


async def test_a_pty_unplugged_in_mid_reply_is_no_reply():
    master, slave = os.openpty()
    tty.setraw(slave)
    async with open_transport(f"serial:{os.ttyname(slave)}") as transport:
        os.close(slave)
        os.write(master, b"ilaser\r\n200")
        reader = Reader(transport, name="laser")
        assert await reader.exactly(4) == b"ilas"

        async def hear_the_rest() -> None:
            with trio.fail_after(5), pytest.raises(NoReply):
                await reader.until(b">>", limit_bytes=100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear_the_rest)
            await trio.testing.wait_all_tasks_blocked()
            os.close(master)


async def test_a_serial_port_has_one_owner():
    with pty_pair() as (_, path):
        async with open_transport(f"serial:{path}"):
            with pytest.raises(NoReply, match="cannot open"):
                async with open_transport(f"serial:{path}"):
                    pass
        async with open_transport(f"serial:{path}"):
            pass


@pytest.mark.parametrize("path", ["/nowhere/ttyACM0", "/dev/null"])
async def test_a_device_that_is_none_is_no_reply(path):
    with pytest.raises(NoReply, match="cannot open"):
        async with open_transport(f"serial:{path}"):
            pass


@pytest.mark.parametrize(
    "resource", ["", "tcp://host", "tcp://host:port", "usb", "GPIB0", "serial:"]
)
async def test_a_resource_of_no_known_form_is_refused_by_name(resource):
    with pytest.raises(ValueError, match="is none of"):
        async with open_transport(resource):
            pass


async def test_a_gpib_instrument_without_a_gpib_library_is_no_reply():
    with pytest.raises(NoReply, match="GPIB0::28::INSTR"):
        async with open_transport("GPIB0::28::INSTR") as transport:
            await transport.send(b"*IDN?\n")


async def test_closing_never_raises_whatever_happened():
    async with tcp_peer(echo) as port:
        for way in WAYS:
            async with open_socket(way, port) as transport:
                await transport.aclose()
                with pytest.raises(NoReply):
                    await transport.send(b"x")
                for _ in range(2):
                    with pytest.raises(NoReply):
                        await transport.receive_some()
    with pty_pair() as (_, path):
        async with open_transport(f"serial:{path}") as transport:
            await transport.aclose()
            for _ in range(2):
                with pytest.raises(NoReply):
                    await transport.receive_some()


async def test_drain_ends_when_it_is_quiet(autojump_clock):
    with expect((b"x", (b"a", b"b"))) as wire:
        await wire.send(b"x")
        assert await Reader(wire, name="it").drain(0.3) == b"ab"
        assert trio.current_time() == pytest.approx(0.3)


async def test_drain_gives_up_on_an_instrument_that_streams(autojump_clock):
    class Firehose:
        async def send(self, data: bytes) -> None: ...

        async def receive_some(self, max_bytes: int = 65536) -> bytes:
            await trio.lowlevel.checkpoint()
            return bytes(1 << 24)

        async def aclose(self) -> None: ...

    with pytest.raises(BadReply, match="still talking"):
        await Reader(Firehose(), name="it").drain(0.3)


async def test_drain_gives_up_on_a_slow_instrument_that_is_never_quiet(autojump_clock):
    class Babbler:
        async def send(self, data: bytes) -> None: ...

        async def receive_some(self, max_bytes: int = 65536) -> bytes:
            await trio.sleep(0.2)
            return b"x"

        async def aclose(self) -> None: ...

    with pytest.raises(BadReply, match=r"still talking after 5\d bytes"):
        await Reader(Babbler(), name="it").drain(0.3)
    assert trio.current_time() < 11


async def test_the_script_fails_on_what_is_unsaid_unread_or_unexpected():
    with pytest.raises(AssertionError, match="unsaid"), expect((b"a\n", b"")):
        pass
    with pytest.raises(AssertionError, match="unread"), expect((b"a\n", b"b")) as wire:
        await wire.send(b"a\n")
    with pytest.raises(AssertionError, match="expected"), expect((b"a\n", b"")) as wire:
        await wire.send(b"c\n")
    with pytest.raises(AssertionError, match="unexpected"), expect() as wire:
        await wire.send(b"c\n")
    with pytest.raises(AssertionError, match="half a line"), expect((b"a\n", b"")) as wire:
        await wire.send(b"a")
    with expect((b"a\n", Gone)) as wire:
        await wire.send(b"a\n")
        with pytest.raises(NoReply):
            await wire.receive_some()


def test_every_transport_is_one(autojump_clock):
    with expect() as wire:
        transport: Transport = wire
        assert transport is wire
