"""The ZeroMQ servers, for real: requests, streams, clients that come, go and do not read."""

import socket
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
import zmq

from drivers.sim.serve_zmq import RepServer, StreamPorts

HOST = "127.0.0.1"


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@asynccontextmanager
async def running(server: RepServer):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            yield server
            nursery.cancel_scope.cancel()


def dial(context: zmq.Context, kind: int, port: int) -> zmq.Socket:
    client = context.socket(kind)
    client.set(zmq.LINGER, 0)
    client.set(zmq.RCVTIMEO, 5000)
    client.connect(f"tcp://{HOST}:{port}")
    return client


def ask(client: zmq.Socket, text: str) -> str:
    client.send_string(text)
    return client.recv_string()


def free_port() -> int:
    with socket.create_server((HOST, 0)) as free:
        return free.getsockname()[1]


async def asked(client: zmq.Socket, text: str) -> str:
    return await trio.to_thread.run_sync(ask, client, text)


async def test_every_client_gets_its_own_answers(context):
    async with running(RepServer(str.upper, HOST, 0)) as server:
        clients = [dial(context, zmq.REQ, server.address[1]) for _ in range(3)]
        for turn in range(5):
            for n, client in enumerate(clients):
                client.send_string(f"hello {turn} {n}")
            for n, client in enumerate(clients):
                assert await trio.to_thread.run_sync(client.recv_string) == f"HELLO {turn} {n}"
        for client in clients:
            client.close()


async def test_a_client_that_leaves_before_its_answer_disturbs_nobody(context):
    async with running(RepServer(str.upper, HOST, 0)) as server:
        for _ in range(20):
            client = dial(context, zmq.REQ, server.address[1])
            client.send_string("x")
            client.close(linger=100)
        patient = dial(context, zmq.REQ, server.address[1])
        assert await asked(patient, "still there?") == "STILL THERE?"
        patient.close()


async def test_what_is_no_zeromq_or_no_text_is_survived(context):
    async with running(RepServer(str.upper, HOST, 0)) as server:
        async with await trio.open_tcp_stream(*server.address) as stranger:
            await stranger.send_all(b"GET / HTTP/1.1\r\n\r\n" * 10)
        client = dial(context, zmq.REQ, server.address[1])
        client.send(b"\xff\xfe")
        assert await trio.to_thread.run_sync(client.recv_string) == "\N{REPLACEMENT CHARACTER}" * 2
        client.send_multipart([b"a", b"b"])
        assert await trio.to_thread.run_sync(client.recv_string) == "AB"
        client.close()


async def test_it_can_be_unplugged_and_plugged_in_again(context):
    async with running(RepServer(str.upper, HOST, 0)) as server:
        client = dial(context, zmq.REQ, server.address[1])
        assert await asked(client, "x") == "X"
        server.unplug()
        with pytest.raises(OSError, match="all attempts"):
            await trio.open_tcp_stream(*server.address)
        server.plug()
        assert await asked(client, "back") == "BACK"  # ZeroMQ dials again by itself
        client.close()


async def test_a_taken_port_is_an_error_at_once():
    with socket.create_server((HOST, 0)) as taken, pytest.raises(OSError, match="in use"):
        RepServer(str.upper, HOST, taken.getsockname()[1])


async def test_a_stream_keeps_every_message_whole_and_counts_what_is_unread(context):
    ports, number = StreamPorts(HOST), free_port()
    port = ports.open(number)
    assert not port.put(memoryview(b"nobody there"))
    client = dial(context, zmq.PAIR, number)
    messages = [np.full(n, n, "<u8") for n in (1, 2_000_000, 3_000_000)]
    with trio.fail_after(5):
        while not port.put(messages[0].data.cast("B")):
            await trio.lowlevel.checkpoint()
    for message in messages[1:]:
        assert port.put(message.data.cast("B"))
    assert port.held_bytes() >= 24_000_000
    for message in messages:
        assert client.recv() == message.tobytes()
    with trio.fail_after(5):
        while port.held_bytes():
            await trio.lowlevel.checkpoint()
    client.close()
    ports.unplug()


async def test_what_was_sent_is_read_after_the_port_has_closed_and_it_is_free_again(context):
    ports, number = StreamPorts(HOST), free_port()
    for turn in range(5):
        port = ports.open(number)
        client = dial(context, zmq.PAIR, number)
        with trio.fail_after(5):
            while not port.put(memoryview(bytes([turn]) * 100_000)):
                await trio.lowlevel.checkpoint()
        assert port.put(memoryview(b""))
        port.close()
        assert not port.put(memoryview(b"too late"))
        await ports.settled()
        assert (client.recv(), client.recv()) == (bytes([turn]) * 100_000, b"")
        client.close()
    ports.unplug()


async def test_a_stream_on_a_taken_port_is_refused():
    ports = StreamPorts(HOST)
    with socket.create_server((HOST, 0)) as taken, pytest.raises(OSError, match="in use"):
        ports.open(taken.getsockname()[1])
    ports.unplug()
