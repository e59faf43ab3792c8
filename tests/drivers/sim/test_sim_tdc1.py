"""The simulated TDC1 against its sheet: the grammar, the words, the FIFO."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.s15_tdc1 import TDC1, TICK_PS

WRAP = 1 << 27
MS = 10**9
NO_TIMES, NO_CHANNELS = np.empty(0, np.int64), np.empty(0, np.uint8)


def take(tagger: TDC1) -> bytes:
    taken = bytearray()
    while chunk := tagger.pending():
        taken += chunk
        tagger.sent(len(chunk))
    return bytes(taken)


def ask(tagger: TDC1, line: str) -> bytes:
    tagger.receive(line.encode() + b"\r\n")
    return take(tagger)


def pass_time(tagger: TDC1, now_ps: int) -> None:
    tagger.advance(now_ps, NO_TIMES, NO_CHANNELS)


def hit(tagger: TDC1, now_tick: int, *events: tuple[int, int]) -> None:
    """Let (tick, channel) events happen and time go on to ``now_tick``."""
    ticks = np.array([tick for tick, _ in events], np.int64)
    channels = np.array([channel for _, channel in events], np.uint8)
    tagger.advance(now_tick * TICK_PS, ticks * TICK_PS, channels)


def streaming(*, fifo_words: int = 65_536, setup: str = "*RST;NIM;time 0;timestamp;counts?"):
    tagger = TDC1(fifo_words=fifo_words)
    assert ask(tagger, setup) == b""
    return tagger


def words(stream: bytes) -> list[int]:
    return np.frombuffer(stream, "<u4").tolist()


def test_the_words_of_the_sheet():
    tagger = streaming()
    hit(tagger, 2000, (1000, 2))
    assert ask(tagger, "INPKT") == bytes.fromhex("027D0000")
    tagger = streaming()
    pass_time(tagger, (1 << 26) * TICK_PS)
    assert ask(tagger, "INPKT") == bytes.fromhex("10000080")
    tagger = streaming()
    hit(tagger, WRAP - 1, (WRAP - 1, 2), (WRAP - 1, 4))
    assert ask(tagger, "INPKT")[-4:] == bytes.fromhex("EAFFFFFF")


def test_time_wraps_after_268_ms():
    tagger = streaming()
    hit(tagger, WRAP + 9, (WRAP - 1, 1), (WRAP, 1), (WRAP + 7, 3))
    stream = words(ask(tagger, "INPKT"))
    assert [word >> 5 for word in stream] == [1 << 26, WRAP - 1, 0, 7]
    assert [word & 31 for word in stream] == [16, 1, 1, 4]


def test_silence_is_filled_with_dummies_so_that_no_wrap_is_missed():
    tagger = streaming()
    for ms in range(0, 3001, 10):
        pass_time(tagger, ms * MS)
    stream = words(ask(tagger, "INPKT"))
    assert [word & 31 for word in stream] == [16] * 22  # 3 s / 134.2 ms
    assert {(b - a) % (1 << 32) >> 5 for a, b in pairwise(stream)} == {1 << 26}


def test_dummies_stand_between_events_where_they_belong():
    tagger = streaming()
    half = 1 << 26
    hit(tagger, 5 * half, (100, 1), (3 * half, 2), (4 * half, 3))
    stream = [(word >> 5, word & 31) for word in words(ask(tagger, "INPKT"))]
    assert stream == [
        (100, 1),
        (half + 100, 16),
        (100, 16),
        (half, 2),  # no gap of more than half a wrap before this one, nor the next
        (0, 4),
        (half, 16),
    ]


def test_a_low_rate_is_stuck_until_a_packet_is_full_or_forced():
    tagger = streaming()
    hit(tagger, 1000, *[(tick, 1) for tick in range(100, 227)])
    assert take(tagger) == b""
    hit(tagger, 2000, (1500, 1), (1600, 1))
    assert len(take(tagger)) == 512
    assert words(ask(tagger, "inpkt")) == [1600 << 5 | 1]


def test_the_fifo_overflows_and_tells_afterwards():
    tagger = streaming(fifo_words=256)
    hit(tagger, 1000, *[(tick, 1) for tick in range(256)])
    assert ask(tagger, "") == b"".join((t << 5 | 1).to_bytes(4, "little") for t in range(256))
    hit(tagger, 3000, *[(tick, 1) for tick in range(1001, 1301)])
    tagger.receive(b"abort;status?\r\n")
    said = take(tagger)
    assert len(said) == 256 * 4 + 7
    assert said[-7:] == b"0010 \r\n"
    assert ask(tagger, "*rst;status?") == b"0000 \r\n"


def test_a_reader_who_keeps_up_loses_nothing():
    # 200 new words may find 127 that do not fill a packet
    tagger = streaming(fifo_words=327)
    for start in range(0, 100_000, 200):
        hit(tagger, start + 200, *[(tick, 1) for tick in range(start, start + 200)])
        take(tagger)
    assert ask(tagger, "abort;status?").endswith(b"0000 \r\n")


def test_replies_mix_into_a_running_stream():
    tagger = streaming()
    hit(tagger, 1000, (500, 1))
    assert ask(tagger, "MODE?") == (500 << 5 | 1).to_bytes(4, "little") + b"3\r\n"


def test_a_timed_stream_ends_with_its_gate():
    tagger = streaming(setup="INPKT;timestamp;time 10;counts?;")
    hit(tagger, 20 * 500_000, (4_999_999, 1), (5_000_000, 2))
    assert words(take(tagger)) == [4_999_999 << 5 | 1]
    hit(tagger, 30 * 500_000, (25 * 500_000, 1))
    assert take(tagger) == b""


def test_two_bytes_slip_once():
    tagger = streaming()
    tagger.slip()
    hit(tagger, 1000, (10, 1), (20, 2))
    stream = ask(tagger, "INPKT")
    assert stream == bytes.fromhex("41010000") + bytes.fromhex("82020000")[2:]
    hit(tagger, 2000, (1010, 1), (1020, 2))
    assert len(ask(tagger, "INPKT")) == 8


def test_singles_and_pairs_are_counted_in_the_gate():
    events = [(1, 1), (5, 1), (5, 3), (9, 2), (9, 4), (9, 1), (499_999, 4), (500_000, 1)]
    tagger = TDC1()
    ask(tagger, "singles;time 1;counts?")
    hit(tagger, 499_000, *events[:-2])
    assert take(tagger) == b""
    hit(tagger, 500_001, *events[-2:])
    assert take(tagger) == b"3 1 1 2\r\n"
    tagger = TDC1()
    ask(tagger, "pairs;time 1;counts?")
    hit(tagger, 600_000, *events)
    assert take(tagger) == b"3 1 1 2 1 1 0 1\r\n"


@pytest.mark.parametrize(("mode", "number"), [("singles", 0), ("PAIRS", 1), ("Timestamp", 3)])
def test_modes_have_their_numbers(mode, number):
    assert ask(TDC1(), f"{mode};MODE?") == b"%d\r\n" % number


@pytest.mark.parametrize(("ms", "said"), [(1, 1), (32767, 32767), (32768, -32768), (65535, -1)])
def test_time_comes_back_as_a_signed_16_bit_number(ms, said):
    assert ask(TDC1(), f"TIME {ms};TIME?") == b"%d\r\n" % said


@pytest.mark.parametrize("wrong", ["TIME 65536", "TIME -1", "TIME x", "NEG 9", "POS nan", "MODE 1"])
def test_what_it_does_not_understand_changes_nothing(wrong):
    before = ask(TDC1(), "TIME?;LEVEL?;MODE?")
    assert ask(TDC1(), f"{wrong};TIME?;LEVEL?;MODE?") == before


def test_identity_and_level_hold_what_clients_look_for():
    tagger = TDC1()
    assert b"TDC1" in ask(tagger, "*idn?")
    assert float(ask(tagger, "NEG -0.7;LEVEL?").split()[0]) == -0.7
    assert ask(tagger, "HELP").count(b"\r\n") > 1
    assert ask(tagger, "REFCLK 2;REFCLK?;ECLOCK?") == b"2\r\n0\r\n"


EVENTS = st.lists(st.tuples(st.integers(0, 3 * WRAP), st.integers(1, 4)), max_size=40)


@given(EVENTS, st.lists(st.integers(0, 3 * WRAP), max_size=6))
def test_the_stream_tells_every_event_once_whatever_the_steps(events, cuts):
    events = sorted(set(events))
    tagger = streaming()
    for start, stop in pairwise([0, *sorted(set(cuts) - {0}), 3 * WRAP + 1]):
        hit(tagger, stop, *[event for event in events if start <= event[0] < stop])
    told, epoch, last = [], 0, 0
    for word in words(ask(tagger, "INPKT")):
        tick = word >> 5
        epoch += tick < last
        last = tick
        if not word & 16:
            time = epoch * WRAP + tick
            told += [(time, channel + 1) for channel in range(4) if word >> channel & 1]
    assert told == events


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_chunks_of_commands_do_not_matter(data: bytes, cuts: list[int]):
    data += b"\r\ntime?;*idn?;"
    whole, cut = TDC1(), TDC1()
    whole.receive(data)
    for a, b in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        cut.receive(data[a:b])
    assert take(cut) == take(whole)


COMMANDS = st.sampled_from(
    [b"counts?", b"timestamp", b"time 0", b"time 5", b"inpkt", b"abort", b"*rst", b"pairs"]
)


@given(st.lists(COMMANDS | st.binary(max_size=20), max_size=20))
def test_no_commands_break_it(commands: list[bytes]):
    tagger = TDC1(fifo_words=128)
    for n, command in enumerate(commands):
        tagger.receive(command + b";")
        hit(tagger, (n + 1) * 10**6, (n * 10**6, 1), (n * 10**6 + 9, 4))
    tagger.receive(b"\r*rst;*idn?\n")
    assert b"TDC1" in take(tagger)
