"""The proxy does what it is told, and nothing else: the tests of relays over it stand on this."""

import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.proxy import KERNEL_BUFFER_BYTES, PIECE_BYTES, PIECES_UNDER_WAY, open_proxy
from tests.chaos.proxy import ChaosProxy as Proxy
from tests.chaos.weather import CALM, Direction, Weather

PATIENCE_S = 10.0
SHORTLY_S = 0.15
BLOCKED = Weather(blocked=True)


@dataclass
class Line:
    """A proxy with one connection through it."""

    proxy: Proxy
    near: trio.SocketStream
    far: trio.SocketStream


@asynccontextmanager
async def line(seed: int = 1) -> AsyncIterator[Line]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(PATIENCE_S):
        async with listener, open_proxy(listener.socket.getsockname()[1], seed=seed) as proxy:
            near = await trio.open_tcp_stream("127.0.0.1", proxy.port)
            far = await listener.accept()
            async with near, far:
                yield Line(proxy, near, far)


async def read(stream: trio.SocketStream, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes and (piece := await stream.receive_some(n_bytes - len(data))):
        data += bytes(piece)
    return data


async def nothing_comes(stream: trio.SocketStream) -> bool:
    with trio.move_on_after(SHORTLY_S) as waited:
        await stream.receive_some(1)
    return waited.cancelled_caught


async def test_in_calm_weather_every_byte_passes_both_ways_and_the_end_is_told() -> None:
    data = random.Random(1).randbytes(300_000)
    async with line() as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.near.send_all, data)
        assert await read(it.far, len(data)) == data
        await it.far.send_all(b"answer")
        assert await read(it.near, 6) == b"answer"
        assert (it.proxy.forward.bytes_passed, it.proxy.backward.bytes_passed) == (300_000, 6)
        await it.near.send_eof()
        assert await read(it.far, 1) == b""


async def test_delay_and_jitter_are_kept_within_their_limits_and_order_is_kept() -> None:
    async with line() as it:
        it.proxy.turn(Weather(delay_s=0.1, jitter_s=0.1), "forward")
        for number in range(5):
            started_s = trio.current_time()
            await it.near.send_all(bytes([number]))
            assert await read(it.far, 1) == bytes([number])
            assert 0.1 <= trio.current_time() - started_s < 2.0
        started_s = trio.current_time()
        await it.far.send_all(b"back")
        await read(it.near, 4)
        assert trio.current_time() - started_s < 0.1


async def test_a_blocked_direction_holds_what_comes_and_gives_it_out_when_it_is_over() -> None:
    async with line() as it:
        it.proxy.turn(BLOCKED, "forward")
        await it.near.send_all(b"held")
        assert await nothing_comes(it.far)
        await it.far.send_all(b"passes")
        assert await read(it.near, 6) == b"passes"
        it.proxy.turn(BLOCKED)
        await it.far.send_all(b"held too")
        assert await nothing_comes(it.near)
        it.proxy.turn(CALM)
        assert await read(it.far, 4) == b"held"
        assert await read(it.near, 8) == b"held too"


async def test_who_sends_much_into_a_blocked_direction_has_to_wait() -> None:
    most = (PIECES_UNDER_WAY + 3) * PIECE_BYTES + 8 * KERNEL_BUFFER_BYTES
    async with line() as it:
        it.near.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        it.proxy.turn(BLOCKED)
        with trio.move_on_after(SHORTLY_S) as waited:
            await it.near.send_all(bytes(2 * most))
        assert waited.cancelled_caught


async def test_a_slow_direction_passes_its_rate_and_feels_a_better_weather() -> None:
    async with line() as it:
        it.proxy.turn(Weather(bytes_per_s=10_000), "forward")
        await it.near.send_all(bytes(4_000))
        started_s = trio.current_time()
        await read(it.far, 4_000)
        assert trio.current_time() - started_s > 0.25
        it.proxy.turn(Weather(bytes_per_s=10), "forward")
        await it.near.send_all(bytes(1_000))
        await read(it.far, 1)
        it.proxy.turn(CALM)
        await read(it.far, 999)


async def test_exactly_one_bit_of_the_next_piece_is_flipped_and_the_seed_says_which() -> None:
    found = []
    for _ in range(2):
        async with line(seed=7) as it:
            it.proxy.forward.flip_next()
            await it.near.send_all(bytes(100))
            found.append(await read(it.far, 100))
            await it.near.send_all(bytes(100))
            assert await read(it.far, 100) == bytes(100)
            assert it.proxy.forward.n_flipped == 1
    assert found[0] == found[1]
    assert int.from_bytes(found[0], "big").bit_count() == 1


async def test_a_truncated_piece_is_half_there_and_the_connection_over() -> None:
    async with line() as it:
        it.proxy.backward.cut_next()
        await it.far.send_all(bytes(100))
        assert await read(it.near, 100) == bytes(50)
        assert it.proxy.backward.n_truncated == 1


async def test_a_reset_is_a_reset_at_both_ends_and_the_next_connection_passes() -> None:
    async with line() as it:
        assert it.proxy.reset() == 2
        for end in (it.near, it.far):
            with pytest.raises(trio.BrokenResourceError):
                await end.receive_some(1)
        async with await trio.open_tcp_stream("127.0.0.1", it.proxy.port) as again:
            await again.send_all(b"x")
        assert it.proxy.n_connections >= 1


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=20),
    n_flips=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)
def test_flips_change_one_bit_each_and_nothing_else(
    pieces: list[bytes], n_flips: int, seed: int
) -> None:
    direction = Direction(random.Random(seed))
    direction.flip_next(n_flips, skip=lambda piece: 1)
    n_bits = 0
    for piece in pieces:
        spoilt, ends = direction.spoil(piece)
        assert not ends
        assert len(spoilt) == len(piece)
        assert spoilt[:1] == piece[:1]
        n_bits += (int.from_bytes(spoilt, "big") ^ int.from_bytes(piece, "big")).bit_count()
    n_possible = sum(len(piece) > 1 for piece in pieces)
    assert n_bits == direction.n_flipped == min(n_flips, n_possible)


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0, 2), st.floats(0, 2))
def test_pieces_leave_in_order_and_neither_early_nor_later_than_jitter_allows(
    gaps: list[float], delay_s: float, jitter_s: float
) -> None:
    direction = Direction(random.Random(1), Weather(delay_s=delay_s, jitter_s=jitter_s))
    now_s = due_s = 0.0
    for gap in gaps:
        now_s += gap
        last_s, due_s = due_s, direction.due_s(now_s, due_s)
        assert last_s <= due_s
        assert now_s + delay_s <= due_s <= now_s + delay_s + jitter_s + 1e-9


@pytest.mark.parametrize(
    "wrong",
    [{"delay_s": -1.0}, {"jitter_s": -1.0}, {"bytes_per_s": 0.0}, {"bytes_per_s": math.nan}],
)
def test_there_is_no_weather_with_a_negative_delay_or_no_rate(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no such weather"):
        Weather(**wrong)
