"""The TDC1's stream decoder: chunks, wraps, silence, slips, and any bytes at all."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.kernels import tdc1
from drivers.timetagger.tdc1_stream import SILENCE_TICKS, Tdc1Decoder

DUMMY_TICKS = 70_000_000  # 140 ms


def words(ticks, patterns) -> bytes:
    """What a TDC1 sends, written down from its manual."""
    ticks = np.asarray(ticks, np.int64)
    return ((ticks % (1 << 27) << 5) | np.asarray(patterns, np.int64)).astype("<u4").tobytes()


def poisson_ticks(n: int, rate_hz: float, seed: int) -> np.ndarray:
    dice = np.random.default_rng(seed)
    return np.cumsum(dice.exponential(5e8 / rate_hz, n)).astype(np.int64)


def feed_in_chunks(data: bytes, cuts) -> tuple[Tdc1Decoder, np.ndarray, np.ndarray, bool]:
    decoder = Tdc1Decoder()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    blocks = [decoder.feed(data[a:b]) for a, b in pairwise(places)]
    times = np.concatenate([block.times_ps for block in blocks])
    channels = np.concatenate([block.channels for block in blocks])
    return decoder, times, channels, any(block.lost for block in blocks)


@given(
    steps=st.lists(st.integers(0, DUMMY_TICKS), min_size=1, max_size=80),
    patterns=st.lists(st.integers(1, 16), min_size=80, max_size=80),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_chunk_boundaries_do_not_matter(steps, patterns, cuts):
    data = words(np.cumsum(steps), patterns[: len(steps)])
    whole, times, channels, lost = feed_in_chunks(data, [])
    cut, cut_times, cut_channels, cut_lost = feed_in_chunks(data, cuts)
    np.testing.assert_array_equal(times, cut_times)
    np.testing.assert_array_equal(channels, cut_channels)
    assert whole.until_ps == cut.until_ps
    assert not lost
    assert not cut_lost


@given(chunks=st.lists(st.binary(max_size=300), max_size=8))
@example(chunks=[b"\0" * 400, b"\xff" * 401, b"\x10\0\0\x80" * 60])
def test_no_bytes_break_the_decoder_and_time_never_goes_back(chunks):
    decoder = Tdc1Decoder()
    until_ps = 0
    for chunk in chunks:
        block = decoder.feed(chunk)
        assert block.times_ps.size == block.channels.size
        assert np.all(np.diff(block.times_ps) >= 0)
        if block.times_ps.size:
            assert until_ps <= block.times_ps[0]
            assert block.times_ps[-1] <= block.until_ps
        assert block.until_ps >= until_ps
        until_ps = block.until_ps


def test_dummy_events_let_time_pass_without_a_tag():
    decoder = Tdc1Decoder()
    ticks = np.arange(100) * DUMMY_TICKS
    block = decoder.feed(words(ticks, np.full(100, 16)))
    assert block.times_ps.size == 0
    assert block.until_ps == int(ticks[-1]) * 2000
    assert not block.lost


def test_inputs_that_fire_in_one_tick_stand_beside_each_other():
    block = Tdc1Decoder().feed(words([10, 12], [0b1010, 0b0001]))
    assert block.times_ps.tolist() == [20_000, 20_000, 24_000]
    assert block.channels.tolist() == [2, 4, 1]


def test_a_silence_that_dummy_events_would_have_filled_is_a_loss():
    decoder = Tdc1Decoder()
    assert not decoder.feed(words([5, 5 + SILENCE_TICKS], [1, 1])).lost
    assert decoder.feed(words([5 + 2 * SILENCE_TICKS + 1], [1])).lost
    assert not decoder.feed(words([6 + 2 * SILENCE_TICKS + 1], [1])).lost


@pytest.mark.parametrize("rate_hz", [2e3, 1e5, 1e6, 3.9e6])
@pytest.mark.parametrize(
    ("missing", "place"),
    [(2, 0), (2, 1001), (2, 30_000), (2, 39_900), (1, 20_000), (3, 20_000)],
)
def test_a_slip_is_found_flagged_and_repaired_within_three_words(rate_hz, missing, place):
    ticks = poisson_ticks(40_000, rate_hz, seed=5)
    patterns = 1 << np.random.default_rng(6).integers(0, 4, ticks.size)
    data = words(ticks, patterns)
    cut = 4 * place + 1
    damaged = data[:cut] + data[cut + missing :]
    decoder = Tdc1Decoder()
    block = decoder.feed(damaged)
    assert block.lost
    assert decoder.n_slips == 1
    good = set(zip((ticks * 2000).tolist(), np.log2(patterns).astype(int).tolist(), strict=True))
    seen = set(zip(block.times_ps.tolist(), (block.channels - 1).tolist(), strict=True))
    if place == 0:  # the first word of all is the origin of time: only differences can be right
        assert abs(block.times_ps.size - ticks.size) <= 3
    else:
        assert len(good - seen) <= 3
        assert len(seen - good) <= 3


def test_a_slip_between_chunks_costs_few_tags_and_time_still_rises():
    ticks = poisson_ticks(40_000, 1e6, seed=3)
    data = words(ticks, np.full(ticks.size, 1))
    damaged = data[:80_002] + data[80_004:]
    decoder = Tdc1Decoder()
    blocks = [decoder.feed(damaged[at : at + 512]) for at in range(0, len(damaged), 512)]
    lost = [block.lost for block in blocks]
    assert 0 < sum(lost) <= 2
    behind = np.concatenate([block.times_ps for block in blocks[lost.index(True) + 1 :]])
    assert set(np.diff(behind)) <= set(np.diff(ticks) * 2000)
    assert behind.size > 19_500


@pytest.mark.parametrize("rate_hz", [50.0, 400.0, 1e4, 1e6, 3.9e6])
def test_a_healthy_stream_after_a_long_stall_is_not_taken_for_a_slip(rate_hz):
    n = 60_000 if rate_hz > 1e3 else 2_000
    ticks = poisson_ticks(n, rate_hz, seed=8)
    keep_alive = np.arange(0, ticks[-1], DUMMY_TICKS)
    merged = np.concatenate([ticks, keep_alive])
    patterns = np.concatenate([np.full(n, 2), np.full(keep_alive.size, 16)])
    order = np.argsort(merged, kind="stable")
    decoder = Tdc1Decoder()
    block = decoder.feed(words(merged[order], patterns[order]))
    assert decoder.n_slips == 0
    assert not block.lost
    assert block.times_ps.size == n


def test_wraps_that_were_lost_can_be_counted_on():
    decoder = Tdc1Decoder()
    decoder.feed(words([100], [1]))
    decoder.skip_wraps(3)
    assert decoder.feed(words([101], [1])).times_ps.tolist() == [((3 << 27) + 101) * 2000]


@pytest.mark.parametrize("variant", tdc1.variants())
def test_every_kernel_variant_decodes_the_same_stream(variant):
    ticks = poisson_ticks(5_000, 1e6, seed=1)
    try:
        tdc1.force(variant)
        block = Tdc1Decoder().feed(words(ticks, np.full(ticks.size, 8)))
    finally:
        tdc1.force(tdc1.variants()[0])
    np.testing.assert_array_equal(block.times_ps, ticks * 2000)
    assert set(block.channels.tolist()) == {4}
