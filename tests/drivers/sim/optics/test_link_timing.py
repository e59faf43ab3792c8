"""When clicks come: delay, clock, jitter, recovery, order; and what stops them."""

import math
from dataclasses import replace
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import arrivals, clicks, expand, walk
from drivers.sim.config import Fibre, Receiver
from drivers.sim.optics.clicks import FWHM_PER_SIGMA, Detectors
from drivers.sim.optics.link import MAX_CANDIDATE_HZ, link_seed
from drivers.sim.optics.tagger_clock import TaggerClock
from tests.drivers.sim.optics.optical_bench import IDEAL, PLAN, Bench, states_by_the_book

MS = 1_000_000
PERIOD_PS = 10_000


def ideal(**changes: float) -> Receiver:
    return msgspec.structs.replace(IDEAL, **changes)


def dice(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def test_a_pulse_arrives_after_its_flight_and_the_electrical_delay() -> None:
    bench = Bench(fibre=Fibre(length_km=50.0, loss_db=6.0), receiver=ideal(delay_ns=7.25))
    start_ns = 3 * MS + 17
    bench.link.advance(start_ns)
    bench.start(start_ns)
    times_ps, _ = bench.run(start_ns, start_ns + 10 * MS)
    since_ps = times_ps - start_ns * 1000 - 50 * 4_900_000 - 7_250
    assert since_ps[0] >= 0
    assert not (since_ps % PERIOD_PS).any()


def test_no_click_comes_before_its_time_is_there() -> None:
    bench = Bench(fibre=Fibre(length_km=1000.0, loss_db=6.0))  # 4.9 ms of light in flight
    bench.start()
    for now_ns in range(MS, 12 * MS, MS):
        times_ps = bench.link.advance(now_ns).times_ps
        assert (times_ps < now_ns * 1000).all()
        assert bool(times_ps.size) == (now_ns > 4_900_000)


def test_light_in_flight_still_arrives_when_the_transmitter_went_dark() -> None:
    bench = Bench(fibre=Fibre(length_km=100.0, loss_db=6.0))  # 490 us
    bench.start()
    bench.link.advance(5 * MS)
    bench.link.encoder.go_dark()
    times_ps = bench.link.advance(20 * MS).times_ps
    assert times_ps.size > 0
    assert times_ps.min() >= 5 * MS * 1000
    assert times_ps.max() < 5 * MS * 1000 + bench.delay_ps


@pytest.mark.parametrize("darken", ["laser", "shutter", "attenuator", "stop"])
def test_every_way_to_darken_leaves_only_dark_counts(darken: str) -> None:
    bench = Bench(receiver=ideal(dark_hz=1000.0))
    bench.start()
    lit = bench.run(0, 20 * MS)[0].size
    if darken == "laser":
        bench.link.laser_power_mw = 0.0
    elif darken == "shutter":
        bench.link.shutter_open = False
    elif darken == "attenuator":
        bench.link.attenuation_db += 120.0
    else:
        bench.link.encoder.go_dark()
    bench.link.advance(21 * MS)  # what was in flight
    times_ps, channels = bench.run(21 * MS, 1021 * MS)
    assert lit > 10_000
    assert abs(times_ps.size - 4000) < 5 * math.sqrt(4000)  # 5 sigma
    assert all(abs(np.sum(channels == c) - 1000) < 5 * math.sqrt(1000) for c in (1, 2, 3, 4))


def test_the_rate_follows_the_attenuator_within_a_step() -> None:
    bench = Bench(mu=0.1)
    bench.start()
    before = bench.run(0, 200 * MS)[0].size
    bench.link.attenuation_db += 3.0
    after = bench.run(200 * MS, 400 * MS)[0].size
    ratio = 10**-0.3
    assert abs(after - before * ratio) < 5 * math.sqrt(before * ratio * (1 + ratio))  # 5 sigma


@pytest.mark.parametrize("step_ns", [997, 40_000, 9 * MS, 60 * MS])
def test_the_length_of_a_step_changes_nothing(step_ns: int) -> None:
    """Order, recovery and numbers hold; jitter over several periods mixes the pulses."""
    receiver = ideal(jitter_ps=60_000.0, recovery_ns=100.0, dark_hz=20_000.0)
    plan = replace(PLAN, preamble_pulses=0, calibration_pulses=0)
    fibre = Fibre(length_km=0.0, loss_db=6.0)  # nothing in flight covers for jitter that is early
    bench = Bench(mu=0.2, fibre=fibre, receiver=receiver, seed=step_ns, plan=plan)
    bench.start()
    n_ms = 2 if step_ns < 1000 else 60
    times_ps, channels = bench.run(0, n_ms * MS, step_ns)
    assert (np.diff(times_ps) >= 0).all()
    per_s = 1e8 * (0.65 + 0.29 * 0.38 + 0.06 * 0.002) * bench.detections_per_signal
    for channel, share in ((1, 0.42), (2, 0.42), (3, 0.08), (4, 0.08)):
        mine = times_ps[channels == channel]
        assert np.diff(mine).min() >= 100_000
        rate_hz = per_s * share + 20_000.0
        expected = rate_hz / (1 + rate_hz * 100e-9) * (n_ms * 1e-3 - bench.delay_ps * 1e-12)
        # 5 sigma; 0.5 % because the pulses' slots are not quite Poisson in time
        assert abs(mine.size - expected) < 5 * math.sqrt(expected) + 0.005 * expected, channel


def test_recovery_takes_the_share_of_a_dead_time_that_does_not_extend() -> None:
    bench = Bench(receiver=ideal(dark_hz=2e6, recovery_ns=200.0))
    times_ps, channels = bench.run(0, 500 * MS)
    expected = 0.5 * 2e6 / (1 + 2e6 * 200e-9)
    for channel in (1, 2, 3, 4):
        mine = times_ps[channels == channel]
        assert np.diff(mine).min() >= 200_000
        assert abs(mine.size - expected) < 5 * math.sqrt(expected)  # wider than the true 5 sigma


def test_jitter_has_its_width() -> None:
    bench = Bench(mu=0.05, receiver=ideal(jitter_ps=400.0))  # of two photons the first is seen
    bench.start()
    times_ps, _ = bench.run(0, 100 * MS)
    off_ps = (times_ps - bench.delay_ps + PERIOD_PS // 2) % PERIOD_PS - PERIOD_PS // 2
    sigma_ps = 400.0 / FWHM_PER_SIGMA
    n = off_ps.size
    assert abs(off_ps.mean()) < 5 * sigma_ps / math.sqrt(n)  # 5 sigma
    assert abs(off_ps.std() - sigma_ps) < 5 * sigma_ps / math.sqrt(2 * n) + 0.01
    beyond = float(np.mean(np.abs(off_ps) > 2 * sigma_ps))
    assert abs(beyond - 0.0455) < 5 * math.sqrt(0.0455 / n) + 0.001


@given(
    st.integers(0, 10**18),
    st.integers(0, 10**10),
    st.integers(-100_000, 100_000),
    st.integers(-1000, 1000),
)
def test_the_taggers_clock_is_exact_for_years(
    base_ps: int, after_ps: int, offset_ppb: int, drift_ppb_per_s: int
) -> None:
    clock = TaggerClock(offset_ppm=offset_ppb / 1000, drift_ppb_per_s=float(drift_ppb_per_s))
    t = Fraction(base_ps + after_ps)
    reading = t + t * offset_ppb / 10**9 + t * t * drift_ppb_per_s / (2 * 10**9 * 10**12)
    got = int(clock.readings_ps(base_ps, np.array([after_ps]))[0])
    assert abs(got - reading) <= 4


def test_clicks_are_told_in_the_time_of_the_taggers_clock() -> None:
    receiver = ideal(clock_offset_ppm=-31.0, clock_drift_ppb_per_s=200.0)
    bench = Bench(receiver=receiver, mu=0.05)
    late_ns = 500_000 * 10**9
    bench.link.skip_to(late_ns)
    bench.start(late_ns)
    times_ps, _ = bench.run(late_ns, late_ns + 100 * MS)
    clock = TaggerClock(offset_ppm=-31.0, drift_ppb_per_s=200.0)
    arrivals_ps = np.arange(10_000_000) * PERIOD_PS
    readings_ps = clock.readings_ps(late_ns * 1000 + bench.delay_ps, arrivals_ps)
    nearest = readings_ps[np.searchsorted(readings_ps, times_ps - 2)]
    assert times_ps.size > 10_000
    assert np.abs(nearest - times_ps).max() <= 1


def test_blocks_follow_each_other_without_a_gap_and_their_seeds_are_wiped() -> None:
    plan = replace(
        PLAN,
        preamble_pulses=12_345,
        frame_pulses=300_000,
        calibration_pulses=1000,
        ramp_frames=(1, 3),
    )
    fibre = Fibre(length_km=1.0, loss_db=3.0, misalignment=0.0)
    bench = Bench(fibre=fibre, plan=plan)
    bench.start(n_blocks=12)
    seeds = dict(bench.link.encoder.seeds.blocks)
    n_pulses = plan.block_start(7)
    times_ps, channels = bench.run(0, n_pulses * 10 + 2 * MS, 777_777)
    slots = (times_ps - bench.delay_ps) // PERIOD_PS
    states = states_by_the_book(plan, slots)
    detectors = channels - 1
    agree = detectors >> 1 == (states >> 1 & 1)
    assert (detectors[agree] == (states[agree] & 3)).all()  # no misalignment: never an error
    starts = [0, *(plan.block_start(block) for block in range(8))]
    rates = np.histogram(slots, bins=starts)[0] / np.diff(starts)
    mean = bench.detections_per_signal
    assert (rates > 0.7 * mean).all()
    assert sorted(bench.link.encoder.seeds.blocks) == list(range(7, 12))
    assert not any(any(seeds[block]) for block in range(7))


def test_pulses_of_a_block_without_seed_are_dark() -> None:
    plan = replace(PLAN, preamble_pulses=100_000, frame_pulses=200_000, ramp_frames=(1,))
    bench = Bench(plan=plan)
    bench.start(n_blocks=2)
    times_ps, _ = bench.run(0, 20 * MS)
    slots = (times_ps - bench.delay_ps) // PERIOD_PS
    assert plan.block_start(2) - 1000 < slots.max() < plan.block_start(2)


def test_recovery_goes_on_across_steps() -> None:
    """Two links with the same dice, whole and cut between any two clicks, see the same clicks."""
    keys = np.sort(np.random.default_rng(3).integers(0, 4_000_000, 2000))
    whole, cut = (Detectors(ideal(recovery_ns=5.0), dice(1)) for _ in range(2))
    for detectors in (whole, cut):
        detectors.light(keys)
    once = whole.advance(1_000_000, light_after_ps=1_000_000)
    steps = [cut.advance(997, light_after_ps=997) for _ in range(1003 + 1)]
    np.testing.assert_array_equal(once.times_ps, np.concatenate([e.times_ps for e in steps]))
    np.testing.assert_array_equal(once.channels, np.concatenate([e.channels for e in steps]))
    assert 500 < once.times_ps.size < 1500


def test_light_that_comes_step_by_step_is_the_same_light() -> None:
    """Jitter of 100 ns carries clicks over the ends of steps of 100 ns, forward and back."""
    receiver = ideal(recovery_ns=30.0, jitter_ps=100_000.0)
    whole, cut = (Detectors(receiver, dice(1)) for _ in range(2))
    jitter_ps = np.rint(dice(2).standard_normal(1000) * 40_000.0).astype(np.int64)
    jitter_ps = np.clip(jitter_ps, -whole.limit_ps, whole.limit_ps)
    keys = (np.arange(1000) * 10_000 + jitter_ps) * 4 + np.arange(1000) % 4
    far_ps = 10**9
    whole.light(keys)
    once = whole.advance(far_ps, light_after_ps=2 * far_ps)
    steps = []
    for number, part in enumerate(np.split(keys, 100)):
        cut.light(part - number * 100_000 * 4)
        steps.append(cut.advance(100_000, light_after_ps=100_000))
    steps.append(cut.advance(far_ps, light_after_ps=2 * far_ps))
    # what the jitter puts before the very beginning is told as of the beginning
    expected_ps = np.maximum(once.times_ps, 0)
    np.testing.assert_array_equal(np.concatenate([e.times_ps for e in steps]), expected_ps)
    assert 300 < expected_ps.size < 1000


def test_a_milliwatt_is_so_many_photons() -> None:
    """h c = 1.98644586e-25 J m: 1 mW at 1550.12 nm is 7.803e7 photons in 10 ns."""
    link = Bench().link
    link.laser_power_mw, link.attenuation_db = 1.0, 42.0
    photons = 1e-3 * 10e-9 / (1.98644586e-25 / 1550.12e-9)
    assert abs(photons - 7.803e7) < 1e4
    assert math.isclose(link.signal_mu(1e8), photons * 10**-8.2, rel_tol=1e-8)
    link.shutter_open = False
    assert link.signal_mu(1e8) == 0.0


def test_blinding_light_costs_bounded_work() -> None:
    bench = Bench(mu=1e6, receiver=ideal(recovery_ns=30.0))
    bench.start()
    times_ps, _ = bench.run(0, 10 * MS)
    assert 50_000 < times_ps.size < MAX_CANDIDATE_HZ * 0.01


def test_time_never_runs_backwards() -> None:
    bench = Bench()
    bench.link.advance(5)
    with pytest.raises(ValueError, match="time ran back from 5 to 4 ns"):
        bench.link.advance(4)


def test_links_of_a_lab_have_dice_of_their_own() -> None:
    seeds = {link_seed(lab, name) for lab in (0, 1) for name in ("a-b", "b-c", "b-a", "")}
    assert len(seeds) == 8
    assert link_seed(7, "a-b") == link_seed(7, "a-b")


def test_the_same_seed_and_steps_give_the_same_clicks_in_every_backend() -> None:
    runs = []
    for name in ("fast", "numpy"):
        for kernel in (arrivals, clicks, expand, walk):
            kernel.force("numpy" if name == "numpy" else None)
        bench = Bench(receiver=Receiver(), seed=9)
        bench.start()
        runs.append(bench.run(0, 30 * MS))
    for kernel in (arrivals, clicks, expand, walk):
        kernel.force(None)
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
