"""Conversations with a TDC1: start, stream, flush, stop."""

import math

import numpy as np
import pytest
import trio

from drivers.errors import BadReply, NoReply
from drivers.timetagger.s15_tdc1 import S15Tdc1
from drivers.transports.scripted import Reply, expect

SETTLE = (b"\r\nabort\r\n", b"")
START = (
    SETTLE,
    (b"*RST;NIM;TIME 0;timestamp\r\n", b""),
    (b"MODE?\r\n", b"3\r\n"),
    (b"TIME?\r\n", b"0\r\n"),
)
STOP = b"abort;STATUS?\r\n"


def counts(*pieces: bytes) -> tuple[bytes, Reply]:
    return (b"COUNTS?\r\n", pieces)


def words(*ticks_and_patterns: tuple[int, int]) -> bytes:
    return np.array([t << 5 | p for t, p in ticks_and_patterns], "<u4").tobytes()


async def test_a_whole_acquisition(autojump_clock):
    first = words((100, 1), (150, 4))
    with expect(
        *START,
        counts(first[:3], first[3:]),
        (STOP, words((200, 8)) + b"0000 \r\n"),
        (b"*RST\r\n", b""),
    ) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        block = await tagger.read()
        assert block.times_ps.tolist() == [200_000, 300_000]
        assert block.channels.tolist() == [1, 3]
        assert block.until_ps == 300_000
        assert not block.lost
        last = await tagger.stop()
        assert last.times_ps.tolist() == [400_000]
        assert not last.lost


async def test_ttl_inputs_are_an_option(autojump_clock):
    with expect(
        SETTLE,
        (b"*RST;TTL;TIME 0;timestamp\r\n", b""),
        (b"MODE?\r\n", b"3\r\n"),
        (b"TIME?\r\n", b"0\r\n"),
        counts(),
    ) as wire:
        await S15Tdc1(wire, inputs="ttl").start()


async def test_an_overflow_shows_as_lost_when_it_stops(autojump_clock):
    with expect(*START, counts(words((1, 1))), (STOP, b"0010 \r\n"), (b"*RST\r\n", b"")) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        assert not (await tagger.read()).lost
        assert (await tagger.stop()).lost


async def test_status_digits_inside_the_stream_are_not_the_status(autojump_clock):
    decoy = b"0010 \r\n\x01"
    with expect(
        *START, counts(words((1, 1))), (STOP, decoy + b"0000 \r\n"), (b"*RST\r\n", b"")
    ) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        await tagger.read()
        await tagger.stop()


async def test_at_low_rate_a_short_packet_is_asked_for(autojump_clock):
    with expect(*START, counts(), (b"INPKT\r\n", words((9, 2)))) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        start_s = trio.current_time()
        block = await tagger.read()
        assert 0.2 <= trio.current_time() - start_s < 0.25
        assert block.channels.tolist() == [2]


async def test_not_even_a_dummy_event_is_no_reply(autojump_clock):
    with expect(*START, counts(), (b"INPKT\r\n", b"")) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        with pytest.raises(NoReply, match="not even a dummy event"):
            await tagger.read()


async def test_a_dummy_event_is_something_new(autojump_clock):
    with expect(*START, counts(words((50, 1)), words((1 << 26, 16)))) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        block = await tagger.read()
        assert block.until_ps == (1 << 26) * 2000


async def test_a_cancelled_read_loses_nothing(autojump_clock):
    with expect(*START, counts(words((7, 1))[:2])) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        with trio.move_on_after(0.005) as scope:
            await tagger.read()
        assert scope.cancelled_caught
        wire.say(words((7, 1))[2:] + words((8, 2)))
        assert (await tagger.read()).channels.tolist() == [1, 2]


async def test_a_second_of_stream_is_read_in_five_reads_or_fewer(autojump_clock):
    """And all that came is in them; more often, if so much comes that it would have no room."""
    with expect(*START, counts()) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        blocks = []

        async def talk(n_words: int) -> None:
            for step in range(200):
                await trio.sleep(0.005)
                ticks = 2_500_000 * step + np.arange(n_words)
                wire.say(((ticks << 5) | 1).astype("<u4").tobytes())
            nursery.cancel_scope.cancel()

        async def read() -> None:
            while True:
                blocks.append(await tagger.read())

        for n_words, least, most in ((10, 4, 6), (1_600, 30, 70)):
            blocks.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(talk, n_words)
            wire.say(words((2_500_000 * 200 % (1 << 27), 1)))
            blocks.append(await tagger.read())
            assert least <= len(blocks) <= most
            assert sum(block.times_ps.size for block in blocks) == 200 * n_words + 1


async def test_a_stream_of_more_than_one_gathering_in_a_pause_is_kept_up_with(autojump_clock):
    """4 MB/s, on a way that has room for any pause."""
    with expect(*START, counts()) as wire:
        roomy = Roomy(wire)
        tagger = S15Tdc1(roomy)
        await tagger.start()
        start_s = trio.current_time()
        lags_s = []

        async def talk() -> None:
            for step in range(200):
                await trio.sleep(0.01)
                ticks = 5_000_000 * step + 500 * np.arange(10_000)
                wire.say(((ticks << 5) | 1).astype("<u4").tobytes())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            while True:
                block = await tagger.read()
                lags_s.append(trio.current_time() - start_s - block.until_ps * 1e-12)
        assert max(lags_s) < 0.25
        wire._pieces.clear()


class Roomy:
    """A scripted transport with room for any pause."""

    def __init__(self, wire) -> None:
        self.send, self.receive_some = wire.send, wire.receive_some
        self.receive_waiting, self.aclose = wire.receive_waiting, wire.aclose
        self.room_bytes = 1 << 30


async def test_half_a_word_alone_is_waited_for(autojump_clock):
    with expect(*START, counts(words((7, 1))[:2])) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        async with trio.open_nursery() as nursery:

            async def rest() -> None:
                await trio.sleep(0.1)
                wire.say(words((7, 1))[2:])

            nursery.start_soon(rest)
            assert (await tagger.read()).times_ps.tolist() == [14_000]


async def test_a_stream_left_by_an_earlier_owner_is_stopped_first(autojump_clock):
    with expect((b"\r\nabort\r\n", b"\x00" * 5000), (b"*IDN?\r\n", b"TDC1 v2.0\r\n")) as wire:
        wire.say(b"\x80\x81\x82" * 1000)
        tagger = S15Tdc1(wire)
        await tagger.settle()
        assert (await tagger.identity()).model == "TDC1 v2.0"


@pytest.mark.parametrize(("mode", "time_ms"), [(b"0", b"0"), (b"3", b"1000"), (b"", b"0")])
async def test_a_tagger_that_did_not_obey_is_a_bad_reply(autojump_clock, mode, time_ms):
    with (
        expect(
            SETTLE,
            (b"*RST;NIM;TIME 0;timestamp\r\n", b""),
            (b"MODE?\r\n", mode + b"\r\n"),
            (b"TIME?\r\n", time_ms + b"\r\n"),
        ) as wire,
        pytest.raises(BadReply, match="asked for mode 3 and time 0"),
    ):
        await S15Tdc1(wire).start()


@pytest.mark.parametrize("tail", [b"", b"00", b"0000\r\n", b"zzzz \r\n"])
async def test_a_stream_without_a_status_at_its_end_is_a_bad_reply(autojump_clock, tail):
    with expect(*START, counts(words((1, 1))), (STOP, words((2, 1)) + tail)) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        await tagger.read()
        with pytest.raises(BadReply, match="no status after abort"):
            await tagger.stop()


async def test_unplugged_while_streaming_is_no_reply(autojump_clock):
    with expect(*START, counts(words((1, 1)))) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        await tagger.read()
        wire.unplug()
        with pytest.raises(NoReply, match="unplugged"):
            await tagger.read()


async def test_a_late_reply_is_never_taken_for_the_mode(autojump_clock):
    with expect(
        (b"*IDN?\r\n", b""),
        SETTLE,
        (b"\r\n", b""),
        (b"*IDN?\r\n", b"TDC1\r\n"),
        *START[1:],
        counts(),
    ) as wire:
        tagger = S15Tdc1(wire)
        with pytest.raises(NoReply):
            await tagger.identity()
        wire.say(b"1\r\n")
        await tagger.start()


async def test_out_of_turn_calls_are_bugs(autojump_clock):
    with expect(*START, counts()) as wire:
        tagger = S15Tdc1(wire)
        with pytest.raises(RuntimeError, match="not running"):
            await tagger.read()
        await tagger.start()
        with pytest.raises(RuntimeError, match="is running"):
            await tagger.identity()


async def test_wraps_lost_while_nobody_read_are_counted_on_and_flagged(autojump_clock):
    """The tagger's clock runs with the host's, but for an overflow of exactly two wraps."""
    with expect(*START, counts()) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        start_s = trio.current_time()
        lost_ticks = 0
        blocks = []

        def say_time() -> None:
            tick = round((trio.current_time() - start_s) * 5e8) - lost_ticks
            wire.say(words((tick % (1 << 27), 1)))

        async def talk() -> None:
            while True:
                await trio.sleep(0.05)
                say_time()

        async def read_for(seconds: float) -> None:
            with trio.move_on_after(seconds):
                while True:
                    blocks.append(await tagger.read())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await read_for(5)
            nursery.cancel_scope.cancel()
        await trio.sleep(1)
        lost_ticks = 2 << 27
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await read_for(5)
            nursery.cancel_scope.cancel()
        end_ps = (trio.current_time() - start_s) * 1e12
        lost = [block.lost for block in blocks]
        assert lost.count(True) == 2  # the silence at once, the wraps when the trial is over
        assert abs(blocks[-1].until_ps - end_ps) < 0.1e12
        wire._pieces.clear()


async def test_a_faint_stream_is_read_on_whole_quarters_of_a_second(autojump_clock):
    """When a host has other things to do as well; nobody wakes for a packet of its own."""
    with expect(*START, counts()) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        times_s = []
        await trio.sleep(0.1)
        wire.say(packet(0.1))

        async def talk() -> None:
            for _ in range(20):
                await trio.sleep(0.32)
                wire.say(packet(0.32))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            for _ in range(15):
                await tagger.read()
                times_s.append(trio.current_time())
            nursery.cancel_scope.cancel()
        assert all(4 * time_s == pytest.approx(round(4 * time_s)) for time_s in times_s[1:])
        assert np.diff(times_s).max() < 0.51
        wire._pieces.clear()


async def test_the_age_of_a_packet_in_a_faint_stream_is_not_taken_for_a_wrap(autojump_clock):
    """It is read as soon as it has come at first, and then a quarter of a second later."""
    with expect(*START, counts()) as wire:
        tagger = S15Tdc1(wire)
        await tagger.start()
        blocks = []
        await trio.sleep(0.1)
        wire.say(packet(0.1))

        async def talk(after_s: float) -> None:
            await trio.sleep_until(math.floor(4 * trio.current_time()) / 4 + after_s)
            while True:
                wire.say(packet(0.25))
                await trio.sleep(0.25)

        async def read_for(seconds: float) -> None:
            with trio.move_on_after(seconds):
                while True:
                    blocks.append(await tagger.read())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, 0.249)
            await read_for(5)
            await trio.sleep(0.6)
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, 0.251)
            await read_for(6)
            nursery.cancel_scope.cancel()
        assert sum(block.times_ps.size for block in blocks) > 30 * 128
        assert [block.lost for block in blocks].count(True) <= 1  # the silence between the two
        wire._pieces.clear()


def packet(seconds: float) -> bytes:
    """One of 512 bytes, of which the last word is of now."""
    times_s = trio.current_time() - seconds * np.arange(128)[::-1] / 128
    ticks = np.rint(times_s * 5e8).astype(np.int64) % (1 << 27)
    return ((ticks << 5) | 1).astype("<u4").tobytes()
