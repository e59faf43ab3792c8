"""Two sessions over one wire: in memory, over real TLS, and with Mallory inside the TLS."""

import datetime
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from qkdd.auth.budget import AuthBudget, BadTag
from qkdd.base.errors import LinkLost, OutOfKey, PeerError, SecurityAlarm
from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.net.framing import Frame, FrameReader, Kind, frame_bytes
from qkdd.net.hello import Hello
from qkdd.net.opening import Opening, accept_session, dial_session
from qkdd.net.peer import MAX_QUEUED_BYTES, AuthKeys, PeerSession
from qkdd.net.pki import Authority
from qkdd.net.tls import accept_tls, accepting_context, dial_tls, dialling_context
from qkdd.sift.messages import Clicks, TestErrors
from qkdd.station.messages import RunReady

A, B = NodeId("a"), NodeId("b")


class Stream:
    """One direction's pre-shared key, read strictly forward, as each end's store would."""

    def __init__(self, salt: int, size: int = 4_096) -> None:
        self.taken = 0
        self._bytes = bytes((i * i * 31 + i * 7 + salt) % 251 for i in range(size))

    async def take(self, n_bytes: int) -> Secret:
        await trio.lowlevel.checkpoint()
        if self.taken + n_bytes > len(self._bytes):
            raise OutOfKey(f"{n_bytes} bytes wanted")
        start, self.taken = self.taken, self.taken + n_bytes
        return Secret.from_bytes(self._bytes[start : self.taken])


@dataclass
class End:
    """What a node keeps of a link between sessions."""

    node: NodeId
    peer: NodeId
    tx: Stream
    rx: Stream
    link: str = "ab"
    incarnation: int = 1
    budget: AuthBudget = field(default_factory=AuthBudget)
    heard: list[Hello] = field(default_factory=list)

    def hello(self) -> Hello:
        return Hello(
            link=self.link,
            node=self.node,
            peer=self.peer,
            incarnation=self.incarnation,
            tx=self.tx.taken,
            rx=self.rx.taken,
        )

    async def begin(self, theirs: Hello) -> AuthKeys:
        self.heard.append(theirs)
        self.incarnation += 1
        self.tx.taken = max(self.tx.taken, theirs.rx)
        self.rx.taken = max(self.rx.taken, theirs.tx)
        return AuthKeys(self.tx.take, self.rx.take)

    def opening(self) -> Opening:
        return Opening(self.hello(), self.begin, self.budget)

    async def admit(self, theirs: Hello) -> Opening:
        return self.opening()


def two_ends(size: int = 4_096) -> tuple[End, End]:
    return (
        End(A, B, Stream(1, size), Stream(2, size)),
        End(B, A, Stream(2, size), Stream(1, size)),
    )


async def open_both(
    a: End, b: End, streams: tuple[trio.abc.Stream, trio.abc.Stream]
) -> tuple[PeerSession, PeerSession]:
    sessions: dict[NodeId, PeerSession] = {}

    async def dial() -> None:
        sessions[A] = await dial_session(streams[0], a.opening())

    async def accept() -> None:
        sessions[B] = await accept_session(streams[1], A, b.admit)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        nursery.start_soon(accept)
    return sessions[A], sessions[B]


@asynccontextmanager
async def sessions(
    a: End, b: End, streams: tuple[trio.abc.Stream, trio.abc.Stream]
) -> AsyncIterator[tuple[PeerSession, PeerSession]]:
    with trio.fail_after(20):
        at_a, at_b = await open_both(a, b, streams)
        async with at_a, at_b, trio.open_nursery() as nursery:
            await nursery.start(at_a.run_writer)
            await nursery.start(at_b.run_writer)
            yield at_a, at_b
            nursery.cancel_scope.cancel()


def number(n: int) -> TestErrors:
    return TestErrors(block_no=n, errors=(n, 0, 1))


async def gather(session: PeerSession, n: int) -> list[msgspec.Struct]:
    return [await session.receive() for _ in range(n)]


async def test_messages_arrive_both_ways_in_order() -> None:
    async with sessions(*two_ends(), memory_stream_pair()) as (at_a, at_b):
        for n in range(20):
            await at_a.send(number(n))
            await at_b.send(RunReady(run=n))
        assert await gather(at_b, 20) == [number(n) for n in range(20)]
        assert await gather(at_a, 20) == [RunReady(run=n) for n in range(20)]


async def test_what_waits_shares_one_batch_and_one_tag() -> None:
    a, b = two_ends()
    with trio.fail_after(5):
        at_a, at_b = await open_both(a, b, memory_stream_pair())
        async with at_a, at_b, trio.open_nursery() as nursery:
            for n in range(100):
                await at_a.send(number(n))
            nursery.start_soon(at_a.run_writer)
            assert await gather(at_b, 100) == [number(n) for n in range(100)]
            await at_a.drain()
            sent, got = at_a.statistics(), at_b.statistics()
            nursery.cancel_scope.cancel()
    assert (sent.batches_sent, sent.messages_sent, sent.auth_bytes_sent) == (1, 100, 32)
    assert (got.batches_received, got.messages_received, got.auth_bytes_received) == (1, 100, 32)
    assert (sent.bytes_sent, sent.bytes_received) == (got.bytes_received, got.bytes_sent)
    assert (a.tx.taken, b.rx.taken, b.budget.n_tags) == (32, 32, 1)
    assert sent.queued_bytes == 0


async def test_messages_that_are_sent_together_arrive_together() -> None:
    async with sessions(*two_ends(), memory_stream_pair()) as (at_a, at_b):
        await at_a.send(*map(number, range(20)))
        assert await gather(at_b, 20) == [number(n) for n in range(20)]
        assert at_b.statistics().batches_received == 1


def half_a_batch(n: int) -> Clicks:
    return Clicks(block_no=n, chunk=0, n_clicks=1, gaps=bytes(MAX_QUEUED_BYTES // 2), bases=b"")


async def test_a_sender_waits_while_a_batch_is_queued(autojump_clock: MockClock) -> None:
    at_a, at_b = await open_both(*two_ends(), memory_stream_pair())
    async with at_a, at_b:
        await at_a.send(half_a_batch(0))
        with trio.move_on_after(0.01) as too_long:
            await at_a.send(half_a_batch(1))
        assert too_long.cancelled_caught
        assert at_a.statistics().queued_bytes < MAX_QUEUED_BYTES
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at_a.run_writer)
            nursery.start_soon(at_a.send, half_a_batch(2))
            assert await gather(at_b, 2) == [half_a_batch(0), half_a_batch(2)]
            nursery.cancel_scope.cancel()


async def test_a_cancelled_receive_loses_nothing(autojump_clock: MockClock) -> None:
    a, b = two_ends()
    one, other = memory_stream_pair()
    async with sessions(a, b, (one, other)) as (at_a, at_b):
        with trio.move_on_after(0.01) as nothing:
            await at_b.receive()
        assert nothing.cancelled_caught
        for n in range(5):
            await at_a.send(number(n))
            with trio.CancelScope() as scope:
                scope.cancel()
                await at_b.receive()
            assert scope.cancelled_caught
            assert await at_b.receive() == number(n)


async def test_a_pad_is_not_lost_when_receive_is_cancelled_while_it_is_fetched(
    autojump_clock: MockClock,
) -> None:
    a, b = two_ends()

    async def slowly(n_bytes: int) -> Secret:
        await trio.sleep(1)
        return await b.rx.take(n_bytes)

    async def begin(theirs: Hello) -> AuthKeys:
        return AuthKeys(b.tx.take, slowly)

    async def admit(theirs: Hello) -> Opening:
        return Opening(b.hello(), begin, b.budget)

    b.admit = admit  # type: ignore[method-assign]
    async with sessions(a, b, memory_stream_pair()) as (at_a, at_b):
        await batches(at_a, 2)
        with trio.move_on_after(0.5):
            assert await at_b.receive() == number(0)
        assert await at_b.receive() == number(1)
    assert b.rx.taken == a.tx.taken == 48


async def test_drain_never_says_that_lost_messages_have_left() -> None:
    at_a, at_b = await open_both(*two_ends(), memory_stream_pair())
    async with at_b, trio.open_nursery() as nursery:
        await at_a.send(number(1))
        nursery.start_soon(expect_link_lost, at_a.drain)
        await trio.testing.wait_all_tasks_blocked()
        await at_a.aclose()
        with pytest.raises(LinkLost):
            await at_a.drain()


async def test_each_end_hears_the_others_marks() -> None:
    a, b = two_ends()
    a.tx.taken, b.rx.taken = 160, 320
    async with sessions(a, b, memory_stream_pair()) as (at_a, at_b):
        await at_a.send(number(1))
        assert await at_b.receive() == number(1)
    assert (b.heard[0].tx, a.heard[0].rx) == (160, 320)
    assert a.tx.taken == b.rx.taken == 320 + 32


async def test_a_second_session_goes_on_where_the_further_end_was() -> None:
    a, b = two_ends()
    for turn in range(3):
        async with sessions(a, b, memory_stream_pair()) as (at_a, at_b):
            await at_a.send(number(turn))
            assert await at_b.receive() == number(turn)
    assert a.tx.taken == b.rx.taken == 3 * 32


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"node": NodeId("c")}, "'c' speaks under the certificate of 'a'"),
        ({"peer": NodeId("c")}, "opens link 'ab' to 'c'"),
        ({"link": "ac"}, "opens link 'ac'"),
    ],
)
async def test_a_hello_of_another_node_or_link_is_refused(
    change: dict[str, str], complaint: str
) -> None:
    a, b = two_ends()
    hello = msgspec.structs.replace(a.hello(), **change)
    one, other = memory_stream_pair()
    await one.send_all(frame_bytes(Frame(Kind.HELLO, msgspec.msgpack.encode(hello), b"")))
    with pytest.raises(PeerError, match=complaint):
        await accept_session(other, A, b.admit)
    assert b.heard == []
    assert await one.receive_some() == b""


async def test_an_answer_of_another_link_is_refused() -> None:
    a, b = two_ends()
    one, other = memory_stream_pair()
    hello = msgspec.structs.replace(b.hello(), link="ac")
    await other.send_all(frame_bytes(Frame(Kind.HELLO, msgspec.msgpack.encode(hello), b"")))
    with pytest.raises(PeerError, match="opens link 'ac'"):
        await dial_session(one, a.opening())
    assert a.heard == []


@pytest.mark.parametrize(
    "first",
    [
        frame_bytes(Frame(Kind.BATCH, b"\xdc\x00\x00", bytes(16))),
        frame_bytes(Frame(Kind.HELLO, b"", b"")),
        frame_bytes(Frame(Kind.HELLO, msgspec.msgpack.encode(["Hello", 2]), b"")),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_peer_that_does_not_say_hello_is_refused(first: bytes) -> None:
    one, other = memory_stream_pair()
    await one.send_all(first)
    with pytest.raises(PeerError):
        await accept_session(other, A, two_ends()[1].admit)


async def test_a_link_that_is_stopped_opens_no_session() -> None:
    a, _b = two_ends()
    a.budget.n_bad_tags = 3
    one, other = memory_stream_pair()
    with pytest.raises(SecurityAlarm, match="stays stopped"):
        await dial_session(one, a.opening())
    assert await other.receive_some() == b""


async def test_a_peer_that_closes_loses_the_link() -> None:
    at_a, at_b = await open_both(*two_ends(), memory_stream_pair())
    async with at_a:
        await at_b.aclose()
        with pytest.raises(LinkLost, match="closed its session"):
            await at_a.receive()
        with pytest.raises(LinkLost, match="over"):
            await at_a.receive()
        with pytest.raises(LinkLost, match="over"):
            await at_a.send(number(1))


async def test_a_writer_that_cannot_write_loses_the_link_and_frees_its_senders() -> None:
    one, other = memory_stream_pair()
    at_a, at_b = await open_both(*two_ends(), (one, other))
    async with at_a, at_b:
        await at_a.send(half_a_batch(1))
        await other.aclose()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_link_lost, at_a.run_writer)
                nursery.start_soon(expect_link_lost, lambda: send_for_ever(at_a))


async def expect_link_lost(task: Callable[[], object]) -> None:
    with pytest.raises(LinkLost):
        await task()  # type: ignore[misc]


async def send_for_ever(session: PeerSession) -> None:
    while True:
        await session.send(half_a_batch(2))


async def test_an_empty_key_stops_the_writer() -> None:
    at_a, at_b = await open_both(*two_ends(size=40), memory_stream_pair())
    async with at_a, at_b:
        await at_a.send(number(1))
        with pytest.RaisesGroup(OutOfKey):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(at_a.run_writer)
                await at_a.drain()
                await at_a.send(number(2))


# Mallory sits inside the TLS: she sees whole frames and decides what the far end gets.

Tamper = Callable[[Frame], Iterable[bytes]]


def as_it_was(frame: Frame) -> Iterable[bytes]:
    return [frame_bytes(frame)]


@asynccontextmanager
async def with_mallory(
    a: End, b: End, *, to_b: Tamper, to_a: Tamper = as_it_was
) -> AsyncIterator[tuple[PeerSession, PeerSession]]:
    one, her_one = memory_stream_pair()
    other, her_other = memory_stream_pair()

    async def carry(source: trio.abc.Stream, sink: trio.abc.Stream, tamper: Tamper) -> None:
        reader = FrameReader()
        try:
            async for data in source:
                reader.feed(data)
                while (frame := reader.next_frame()) is not None:
                    for piece in tamper(frame):
                        await sink.send_all(piece)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, her_one, her_other, to_b)
        nursery.start_soon(carry, her_other, her_one, to_a)
        async with sessions(a, b, (one, other)) as pair:
            yield pair
        nursery.cancel_scope.cancel()


async def batches(session: PeerSession, n: int) -> None:
    """Send ``n`` messages, each in a batch of its own."""
    for i in range(n):
        await session.send(number(i))
        await session.drain()


class OnBatch:
    """Leaves hellos alone, and gives the batches of one direction to ``tamper``."""

    def __init__(self, tamper: Tamper) -> None:
        self._tamper = tamper

    def __call__(self, frame: Frame) -> Iterable[bytes]:
        return self._tamper(frame) if frame.kind is Kind.BATCH else as_it_was(frame)


def flip_payload(frame: Frame) -> Iterable[bytes]:
    payload = bytearray(frame.payload)
    payload[-1] ^= 1
    return [frame_bytes(Frame(frame.kind, bytes(payload), frame.tag))]


def flip_tag(frame: Frame) -> Iterable[bytes]:
    return [frame_bytes(Frame(frame.kind, frame.payload, bytes(15) + frame.tag[15:]))]


def shorten(frame: Frame) -> Iterable[bytes]:
    return [frame_bytes(Frame(frame.kind, frame.payload[:-1], frame.tag))]


def garble(frame: Frame) -> Iterable[bytes]:
    return [frame_bytes(Frame(frame.kind, b"\xc1" * 9, frame.tag))]


@pytest.mark.parametrize("tamper", [flip_payload, flip_tag, shorten, garble])
async def test_what_mallory_changed_is_never_parsed(tamper: Tamper) -> None:
    a, b = two_ends()
    async with with_mallory(a, b, to_b=OnBatch(tamper)) as (at_a, at_b):
        await batches(at_a, 1)
        with pytest.raises(BadTag, match="bad tag 1 of 3"):
            await at_b.receive()
        with pytest.raises(LinkLost, match="over"):
            await at_b.receive()
    assert b.budget.n_bad_tags == 1


async def test_what_mallory_repeats_is_refused() -> None:
    async with with_mallory(*two_ends(), to_b=OnBatch(lambda f: [frame_bytes(f)] * 2)) as pair:
        await batches(pair[0], 1)
        assert await pair[1].receive() == number(0)
        with pytest.raises(BadTag):
            await pair[1].receive()


async def test_what_mallory_swaps_is_refused() -> None:
    held: deque[bytes] = deque()

    def swap(frame: Frame) -> Iterable[bytes]:
        held.appendleft(frame_bytes(frame))
        return [held.popleft(), held.popleft()] if len(held) == 2 else []

    async with with_mallory(*two_ends(), to_b=OnBatch(swap)) as (at_a, at_b):
        await batches(at_a, 2)
        with pytest.raises(BadTag):
            await at_b.receive()


async def test_what_mallory_reflects_is_refused() -> None:
    caught: list[Frame] = []

    def reflect(frame: Frame) -> Iterable[bytes]:
        return [frame_bytes(caught.pop())]

    def keep(frame: Frame) -> Iterable[bytes]:
        caught.append(frame)
        return []

    both = two_ends()
    async with with_mallory(*both, to_b=OnBatch(keep), to_a=OnBatch(reflect)) as (at_a, at_b):
        await batches(at_a, 1)
        await trio.testing.wait_all_tasks_blocked()
        await batches(at_b, 1)
        with pytest.raises(BadTag):
            await at_a.receive()


async def test_a_hello_that_mallory_changed_spoils_every_tag() -> None:
    def age(frame: Frame) -> Iterable[bytes]:
        if frame.kind is Kind.BATCH:
            return as_it_was(frame)
        hello = msgspec.msgpack.decode(frame.payload, type=Hello)
        changed = msgspec.structs.replace(hello, incarnation=hello.incarnation + 1)
        return [frame_bytes(Frame(Kind.HELLO, msgspec.msgpack.encode(changed), b""))]

    async with with_mallory(*two_ends(), to_b=age) as (at_a, at_b):
        await batches(at_a, 1)
        with pytest.raises(BadTag):
            await at_b.receive()


async def test_a_cut_in_the_middle_of_a_frame_loses_the_link() -> None:
    one, other = memory_stream_pair()
    a, b = two_ends()
    at_a, at_b = await open_both(a, b, (one, other))
    async with at_a, at_b:
        await one.send_all(frame_bytes(Frame(Kind.BATCH, bytes(9), bytes(16)))[:20])
        await one.aclose()
        with pytest.raises(LinkLost, match="middle of a frame"):
            await at_b.receive()
    assert b.rx.taken == 0


async def test_a_second_hello_is_refused() -> None:
    one, other = memory_stream_pair()
    at_a, at_b = await open_both(*two_ends(), (one, other))
    async with at_a, at_b:
        await one.send_all(frame_bytes(Frame(Kind.HELLO, b"", b"")))
        with pytest.raises(PeerError, match="HELLO frame in an open session"):
            await at_b.receive()


async def test_the_third_bad_tag_stops_the_link_over_its_sessions() -> None:
    a, b = two_ends()
    for expected in (BadTag, BadTag, SecurityAlarm):
        async with with_mallory(a, b, to_b=OnBatch(flip_tag)) as (at_a, at_b):
            await batches(at_a, 1)
            with pytest.raises(expected):
                await at_b.receive()
    assert a.tx.taken == b.rx.taken == 3 * 32
    one, other = memory_stream_pair()
    await one.send_all(frame_bytes(Frame(Kind.HELLO, msgspec.msgpack.encode(a.hello()), b"")))
    with pytest.raises(SecurityAlarm, match="stays stopped"):
        await accept_session(other, A, b.admit)


async def test_a_session_runs_over_real_tls(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(tmp_path, now=now, days=2)
    at = {node: authority.issue_node(node, now=now, days=1) for node in (A, B)}
    dialling = dialling_context(at[A].certificate, at[A].key, authority.certificate)
    accepting = accepting_context(at[B].certificate, at[B].key, authority.certificate)
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    a, b = two_ends()
    ready: dict[NodeId, PeerSession] = {}

    async def accept() -> None:
        async with listener:
            stream, node = await accept_tls(await listener.accept(), accepting)
        ready[B] = await accept_session(stream, node, b.admit)

    async def dial() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        ready[A] = await dial_session(await dial_tls(stream, dialling, expected=B), a.opening())

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            nursery.start_soon(dial)
        async with ready[A], ready[B], trio.open_nursery() as nursery:
            nursery.start_soon(ready[A].run_writer)
            nursery.start_soon(ready[B].run_writer)
            for n in range(12):
                nursery.start_soon(ready[A].send, half_a_batch(n))
                nursery.start_soon(ready[B].send, number(n))
            numbers = {message.block_no for message in await gather(ready[B], 12)}  # type: ignore[attr-defined]
            others = {message.block_no for message in await gather(ready[A], 12)}  # type: ignore[attr-defined]
            assert numbers == others == set(range(12))
            nursery.start_soon(ready[B].aclose)
            with pytest.raises(LinkLost, match="closed its session"):
                await ready[A].receive()
            nursery.cancel_scope.cancel()
    assert a.tx.taken == b.rx.taken
    assert a.rx.taken == b.tx.taken
