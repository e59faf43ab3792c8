"""The parts of the receiver: settings, clock, dice, edge, start, spectrum, buffer."""

import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.frames.buffer import TagBuffer
from qkdd.frames.calibration import ErrorCount, SlipAlarm, count_errors, significantly_above
from qkdd.frames.clicks import ClickSettler
from qkdd.frames.clock import PhaseLoop, PulseClock
from qkdd.frames.events import BlockEnded, DetectedFrame
from qkdd.frames.settings import FrameSettings
from qkdd.frames.spectrum import find_line
from qkdd.frames.start import NoStart, edge_range_ps, find_start
from qkdd.frames.tracker import Tracker
from tests.frames.synthetic_light import SMALL, states


def test_a_dead_time_the_proof_does_not_allow_is_refused_with_the_limit() -> None:
    with pytest.raises(ValueError, match="at least 34000"):
        FrameSettings(dead_time_ps=33_999)
    assert FrameSettings(dead_time_ps=34_000).dead_time_ps == 34_000


def test_switching_the_dead_time_off_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"dead_time_ps": 0, "detector_recovery_ps": 0}, FrameSettings)


@given(
    st.integers(0, 10**14),
    st.lists(st.integers(1, 10_000_000), max_size=30),
    st.floats(7_000, 20_000),
)
def test_moving_the_anchor_adds_up_to_less_than_a_femtosecond_a_step(
    first: int, steps: list[int], period_ps: float
) -> None:
    clock = PulseClock(first, 10**18, 0.25, period_ps)
    for step in steps:
        clock = clock.at(clock.pulse + step)
    exact = 10**18 + Fraction(1, 4) + Fraction(period_ps) * sum(steps)
    assert clock.pulse == first + sum(steps)
    assert 0 <= clock.fraction_ps < 1
    away = clock.anchor_ps + Fraction(clock.fraction_ps) - exact
    assert abs(away) <= Fraction(len(steps), 10**6)


def track(clock: PulseClock, loop: PhaseLoop, late_ps: float, n_clicks: int) -> PulseClock:
    return loop.measured(
        clock.at(clock.pulse + 1_000_000),
        n_pulses=1_000_000,
        n_clicks=n_clicks,
        n_near=n_clicks,
        sum_ps=round(late_ps * n_clicks),
    )


@pytest.mark.parametrize("drift_per_s", [1e-8, 1e-7, -1e-6])
def test_the_loop_follows_a_drifting_clock_with_a_small_steady_lag(drift_per_s: float) -> None:
    clock = PulseClock(0, 0, 0.0, 10_000.0)
    loop = PhaseLoop(1_000_000)
    lag_ps = math.nan
    for window in range(200):
        middle_ps = (window + 0.5) * 1e10
        true_ps = middle_ps + 0.5 * drift_per_s * 1e-12 * middle_ps**2
        lag_ps = true_ps - (clock.anchor_ps + clock.fraction_ps + 5e5 * clock.period_ps)
        clock = track(clock, loop, lag_ps, 5_000)
    assert abs(lag_ps) < 7 * abs(drift_per_s) * 1e-4 * 1e12 + 1.0


def test_a_few_dark_counts_do_not_move_the_clock() -> None:
    clock = PulseClock(0, 0, 0.0, 10_000.0)
    moved = PhaseLoop(10).measured(clock.at(10), n_pulses=10, n_clicks=6, n_near=4, sum_ps=15_000)
    assert moved == clock.at(10)


@pytest.mark.parametrize("frame", [40_000_000, 49_999_999])
def test_pulse_numbers_stay_exact_after_more_than_a_week(frame: int) -> None:
    start = SMALL.frame_span(frame).start
    assert start > 7 * 86_400 * SMALL.pulse_rate_hz
    period_ps = 10_000.4321
    rng = np.random.default_rng(frame)
    pulses = start + np.cumsum(rng.integers(50, 400, 25_000))
    since_ps = (pulses - start) * period_ps + rng.normal(0, 150, pulses.size)
    anchor_ps = int(start * Fraction(period_ps))
    buffer = TagBuffer()
    codes = states(pulses)
    buffer.append(anchor_ps + since_ps.astype(np.int64) // 2_000 * 2_000, codes)
    clock = PulseClock(start, anchor_ps, 0.0, period_ps)
    settler = ClickSettler(lambda n: bytes(n))
    tracker = Tracker(SMALL, FrameSettings(gate_ps=9_000), states, settler, buffer, clock)
    events = tracker.advance(anchor_ps + int(2.01 * SMALL.frame_pulses * period_ps))
    first, second = (event for event in events if isinstance(event, DetectedFrame))
    assert (first.frame, second.frame) == (frame, frame + 1)
    for found in (first, second):
        span = SMALL.frame_span(found.frame)
        inside = (pulses >= span.start + SMALL.calibration_pulses) & (pulses < span.stop)
        first = SMALL.block_span(found.block_index).start + found.start
        assert first == span.start
        assert np.array_equal(found.slots.astype(np.int64) + first, pulses[inside])
        assert np.array_equal(found.detectors, codes[inside])
    ended = [event.block_index for event in events if isinstance(event, BlockEnded)]
    assert all(frame <= SMALL.first_frame(block + 1) - 1 <= frame + 1 for block in ended)


def test_each_set_of_detectors_settles_among_its_own_and_evenly() -> None:
    rng = np.random.default_rng(5)
    settler = ClickSettler(rng.bytes)
    for mask in range(1, 16):
        settled = settler.settle(np.full(40_000, mask, np.uint8))
        seen = np.bincount(settled.detectors, minlength=4) / 40_000
        key, test = mask & 3, mask >> 2
        for detector in range(4):
            fired = test if detector >> 1 else key
            share = (0.5 if key and test else 1.0) / fired.bit_count() if fired else 0.0
            want = share if mask >> detector & 1 else 0.0
            assert abs(seen[detector] - want) < 5 * math.sqrt(0.25 / 40_000)
        single, cross = mask.bit_count() == 1, bool(key and test)
        assert (settled.n_double, settled.n_cross) == (
            0 if single or cross else 40_000,
            40_000 if cross else 0,
        )


def test_dice_are_fetched_in_batches_and_each_serves_once() -> None:
    asked: list[int] = []

    def entropy(n: int) -> bytes:
        asked.append(n)
        return bytes(range(256)) * (n // 256)

    settler = ClickSettler(entropy)
    throws = [settler.settle(np.array([3, 1, 15], np.uint8)).detectors.tolist() for _ in range(3)]
    assert len(asked) == 1
    assert throws == [[0, 0, 1], [0, 0, 3], [0, 0, 1]]


def test_dice_that_were_thrown_are_zeroed() -> None:
    settler = ClickSettler(lambda n: b"\x03" * n)
    settler.settle(np.full(100, 15, np.uint8))
    whole = settler._dice.base
    assert np.count_nonzero(whole) == settler._dice.size == whole.size - 100


def test_errors_are_counted_by_basis_and_only_where_bases_agree() -> None:
    codes = np.array([0, 0, 1, 2, 3, 3, 2], np.uint8)
    clicks = np.array([0, 1, 3, 2, 2, 0, 3], np.uint8)
    assert count_errors(codes, clicks) == ErrorCount((2, 3), (1, 2))


def test_chernoff_judges_by_the_number_of_bits_and_not_by_the_rate_alone() -> None:
    assert not significantly_above(3, 10, 0.2)
    assert not significantly_above(200, 1000, 0.2)
    assert significantly_above(300, 1000, 0.2)
    assert significantly_above(40, 40, 0.2)
    assert not significantly_above(0, 0, 0.2)


def test_the_slip_alarm_is_quiet_at_the_limit_and_sure_at_one_half() -> None:
    rng = np.random.default_rng(8)
    quiet = SlipAlarm(0.2)
    errors = rng.binomial(365, 0.2, 2_000)
    assert not any(quiet.slipped(ErrorCount((300, 65), (0, int(e)))) for e in errors)
    assert SlipAlarm(0.2).slipped(ErrorCount((300, 65), (150, 32)))


def test_the_edge_lies_within_its_range_despite_darkness_before_it() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        edge_ps = rng.integers(1, 15_000_000_000)
        light = edge_ps + np.cumsum(rng.exponential(1e12 / 1e6, 8_000))
        dark = rng.uniform(0, 15e9, rng.poisson(15e-3 * 5e4))
        times = np.sort(np.concatenate((light, dark))).astype(np.int64)
        early, late = edge_range_ps(times[times < 20_000_000_000], 1e6)
        assert early <= edge_ps <= late
        assert late - early < 100_000_000  # of 10^6 clicks/s: a hundred clicks


def test_two_places_that_fit_alike_are_refused() -> None:
    def repeated(pulses: np.ndarray) -> np.ndarray:
        return states(pulses % 500)

    slots = np.arange(1_000, 60_000, 37)
    with pytest.raises(NoStart, match="fit alike"):
        find_start(
            slots, repeated(slots), first=-600, last=600, preamble_pulses=100_000,
            states=repeated, max_qber=0.2,
        )  # fmt: skip


def test_a_right_place_with_too_many_errors_is_refused() -> None:
    rng = np.random.default_rng(3)
    slots = np.arange(1_000, 60_000, 37)
    wrong = (rng.random(slots.size) < 0.3).astype(np.uint8)
    with pytest.raises(NoStart, match="QBER"):
        find_start(
            slots, states(slots) ^ wrong, first=-600, last=600, preamble_pulses=100_000,
            states=states, max_qber=0.2,
        )  # fmt: skip


@pytest.mark.parametrize("offset_ppm", [-100.0, -3.7, 0.0, 55.5, 100.0])
def test_the_line_is_found_up_to_the_edge_of_the_search_range(offset_ppm: float) -> None:
    rng = np.random.default_rng(4)
    period_ps = 10_000 * (1 + offset_ppm * 1e-6)
    pulses = np.sort(rng.integers(0, 1_000_000, 300))
    times = 10**15 + (pulses * period_ps + rng.normal(0, 200, 300)).astype(np.int64)
    line = find_line(times // 2_000 * 2_000, nominal_ps=10_000.0, search_ppm=101.0)
    assert line is not None
    assert line.clock.period_ps == pytest.approx(period_ps, abs=10_000 * 0.5e-6)


def test_noise_shows_no_line() -> None:
    rng = np.random.default_rng(6)
    for n_tags in (50, 400, 30_000):
        for _ in range(20):
            times = np.sort(rng.integers(0, 10**10, n_tags))
            assert find_line(times, nominal_ps=10_000.0, search_ppm=100.0) is None


@given(st.lists(st.tuples(st.integers(0, 3_000), st.floats(0, 1)), max_size=30))
def test_the_buffer_is_a_queue(moves: list[tuple[int, float]]) -> None:
    buffer, told, model = TagBuffer(), 0, np.empty(0, np.int64)
    for n_tags, share in moves:
        fresh = np.arange(told, told + 7 * n_tags, 7)
        told += 7 * n_tags
        buffer.append(fresh, (fresh % 4).astype(np.uint8))
        model = np.concatenate((model, fresh))
        n_gone = int(share * model.size)
        buffer.drop(n_gone)
        model = model[n_gone:]
        assert np.array_equal(buffer.times_ps, model)
        assert np.array_equal(buffer.detectors, model % 4)
        assert buffer.before(told - 20) == np.count_nonzero(model < told - 20)
