"""ZeroMQ under trio, against real sockets of libzmq."""

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import trio
import zmq

from drivers.errors import BadReply, NoReply
from drivers.transports import zeromq
from drivers.transports.zeromq import ZmqLink

LIMIT_S = 5


class Peer:
    """One socket of the other side, bound to a port of its own."""

    def __init__(self, socket: zmq.Socket) -> None:
        self.socket = socket
        self.port = socket.bind_to_random_port("tcp://127.0.0.1")

    async def heard(self) -> bytes:
        with trio.fail_after(LIMIT_S):
            while True:
                try:
                    return self.socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    await trio.sleep(0.002)


@contextmanager
def peer(kind: int):
    with zmq.Context() as context:
        socket = context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        if kind == zmq.PAIR:  # a REP socket with so little room drops its replies
            socket.setsockopt(zmq.SNDHWM, 1)
        try:
            yield Peer(socket)
        finally:
            socket.close()


async def answered(desk: Peer, reply: bytes) -> None:
    await desk.heard()
    desk.socket.send(reply)


async def say(desk: Peer, messages: list[bytes]) -> None:
    for message in messages:
        while True:
            if desk.socket.poll(0, zmq.POLLOUT):
                break
            await trio.sleep(0.001)
        desk.socket.send(message)


async def taken(stream: zeromq.ZmqStream, n_messages: int) -> list[bytes]:
    messages: list[bytes] = []
    with trio.fail_after(LIMIT_S):
        while len(messages) < n_messages:
            messages += [one.tobytes() for one in stream.ready()]
            await trio.sleep(0.002)
    return messages


async def test_questions_are_answered_one_after_the_other():
    with peer(zmq.REP) as desk, ZmqLink() as link:
        asker = await link.asker("127.0.0.1", desk.port)
        async with trio.open_nursery() as nursery:
            for reply in (b"first", b""):
                nursery.start_soon(answered, desk, reply)
                with trio.fail_after(LIMIT_S):
                    assert await asker.ask("*IDN?") == reply.decode()


async def test_a_late_reply_is_never_taken_for_the_next_one():
    with peer(zmq.REP) as desk, ZmqLink() as link:
        asker = await link.asker("127.0.0.1", desk.port)
        with trio.move_on_after(0.05) as scope:
            await asker.ask("slow?")
        assert scope.cancelled_caught
        assert await desk.heard() == b"slow?"
        desk.socket.send(b"too late")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answered, desk, b"fresh")
            with trio.fail_after(LIMIT_S):
                assert await asker.ask("next?") == "fresh"


async def test_a_question_that_waits_for_another_is_asked_after_it():
    with peer(zmq.REP) as desk, ZmqLink() as link:
        asker = await link.asker("127.0.0.1", desk.port)
        replies = []

        async def ask(question: str) -> None:
            replies.append(await asker.ask(question))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "a?")
            nursery.start_soon(ask, "a?")
            for reply in (b"1", b"2"):
                await answered(desk, reply)
        assert sorted(replies) == ["1", "2"]


async def test_nobody_there_is_no_reply_and_no_endless_waiting():
    with peer(zmq.REP) as desk:
        port = desk.port
    with ZmqLink() as link, pytest.raises(NoReply, match=f"127.0.0.1:{port}: cannot connect"):
        await link.asker("127.0.0.1", port)


async def test_bytes_that_are_no_text_are_a_bad_reply():
    with peer(zmq.REP) as desk, ZmqLink() as link:
        asker = await link.asker("127.0.0.1", desk.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answered, desk, b"\xff\xfe")
            with trio.fail_after(LIMIT_S), pytest.raises(BadReply, match="not text"):
                await asker.ask("*IDN?")


async def test_an_enormous_reply_is_not_taken():
    with peer(zmq.REP) as desk, ZmqLink() as link:
        asker = await link.asker("127.0.0.1", desk.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answered, desk, bytes(zeromq.REPLY_LIMIT_BYTES + 1))
            with trio.move_on_after(0.3) as scope:
                await asker.ask("*IDN?")
        assert scope.cancelled_caught


async def test_a_server_of_another_kind_never_answers_and_never_breaks_us():
    async def chatter(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ready\r\n" * 9)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, chatter, 0, host="127.0.0.1"))
        with ZmqLink() as link:
            asker = await link.asker("127.0.0.1", listener.socket.getsockname()[1])
            with trio.move_on_after(0.3) as scope:
                await asker.ask("*IDN?")
            assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_a_stream_brings_whole_messages_in_order():
    sent = [bytes([n]) * (n * 40_000) for n in range(6)]
    with peer(zmq.PAIR) as desk, ZmqLink() as link:
        stream = await link.stream("127.0.0.1", desk.port)
        assert stream.ready() == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, desk, sent)
            assert await taken(stream, len(sent)) == sent


async def test_a_message_is_lent_and_outlives_the_socket():
    with peer(zmq.PAIR) as desk, ZmqLink() as link:
        stream = await link.stream("127.0.0.1", desk.port)
        desk.socket.send(b"abc" * 100_000)
        messages: list[np.ndarray] = []
        with trio.fail_after(LIMIT_S):
            while not messages:
                messages = stream.ready()
                await trio.sleep(0.002)
    assert messages[0].tobytes() == b"abc" * 100_000


async def test_a_stream_that_was_cut_gives_what_came_and_then_says_so():
    with peer(zmq.PAIR) as desk, ZmqLink() as link:
        stream = await link.stream("127.0.0.1", desk.port)
        desk.socket.setsockopt(zmq.LINGER, 1000)
        desk.socket.send(b"last")
        assert await taken(stream, 1) == [b"last"]
        desk.socket.close()
        with pytest.raises(NoReply, match="the stream was cut"):
            await taken(stream, 1)


async def test_a_stream_without_a_peer_is_no_reply(monkeypatch):
    monkeypatch.setattr(zeromq, "CONNECT_TIMEOUT_S", 0.1)
    with peer(zmq.PAIR) as desk:
        port = desk.port
    with ZmqLink() as link, pytest.raises(NoReply, match=r"no stream within 0\.1 s"):
        await link.stream("127.0.0.1", port)


async def test_a_stalled_reader_holds_a_bounded_number_of_messages():
    size = 1 << 20
    with peer(zmq.PAIR) as desk, ZmqLink() as link:
        stream = await link.stream("127.0.0.1", desk.port)
        n_sent = 0
        quiet = 0
        while quiet < 20:
            try:
                desk.socket.send(bytes(size), zmq.NOBLOCK)
                n_sent, quiet = n_sent + 1, 0
            except zmq.Again:
                quiet += 1
                await trio.sleep(0.01)
            assert n_sent < 60
        assert len(await taken(stream, n_sent)) == n_sent
