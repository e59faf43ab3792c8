"""What drifts besides polarisation: the fibre's delay and the tagger's clock."""

import math

import msgspec
import numpy as np
import pytest

from drivers.sim.config import Fibre
from drivers.sim.optics.fibre import drifted_ps, fastest_drift_ps_per_s
from drivers.sim.optics.tagger_clock import PS_PER_S, TaggerClock
from tests.drivers.sim.optics.optical_bench import IDEAL, Bench

MS = 1_000_000
PERIOD_PS = 10_000


def test_a_day_of_warmth_moves_the_light_as_its_coefficient_says() -> None:
    """37 ps per km and K: 100 km and 2 K up after six hours, down after eighteen."""
    fibre = Fibre(length_km=100.0, day_swing_k=2.0)
    six_h_ns = 6 * 3600 * 10**9
    assert [drifted_ps(fibre, n * six_h_ns) for n in range(4)] == [0, 7400, 0, -7400]
    steps = np.array([drifted_ps(fibre, n * 10**11) for n in range(864)])
    assert np.abs(np.diff(steps)).max() <= 100 * fastest_drift_ps_per_s(fibre) + 1


@pytest.mark.parametrize("drift", [2000.0, -2000.0])
def test_light_comes_later_by_the_drift(drift: float) -> None:
    fibre = Fibre(length_km=10.0, loss_db=6.0, delay_drift_ps_per_s=drift)
    bench = Bench(mu=0.05, fibre=fibre)
    bench.start()
    times_ps, _ = bench.run(0, 1000 * MS)
    assert (np.diff(times_ps) >= 0).all()
    for second in (0.25, 0.95):
        near = times_ps[np.abs(times_ps - second * PS_PER_S) < 0.01 * PS_PER_S]
        away_ps = (near - bench.delay_ps + PERIOD_PS // 2) % PERIOD_PS - PERIOD_PS // 2
        assert near.size > 1000
        assert float(away_ps.mean()) == pytest.approx(drift * second, abs=30.0)


def test_a_delay_that_shrinks_to_nothing_stays_in_order_and_in_its_time() -> None:
    """-1 us a second at 0 km: light never comes before it left, nor after its step was told."""
    fibre = Fibre(length_km=0.0, loss_db=6.0, delay_drift_ps_per_s=-1e6)
    bench = Bench(fibre=fibre, receiver=msgspec.structs.replace(IDEAL, delay_ns=20.0))
    bench.start()
    last_ps = 0
    for now_ns in range(5 * MS, 100 * MS, 5 * MS):
        times_ps = bench.link.advance(now_ns).times_ps
        assert times_ps[0] >= last_ps
        assert (np.diff(times_ps) >= 0).all()
        assert times_ps[-1] < now_ns * 1000
        last_ps = times_ps[-1]


def test_a_clock_wanders_as_a_random_walk_whatever_the_steps() -> None:
    """Variance of the reading 400 ps^2 a second: 5 sigma of a variance of 2,000 clocks."""
    n, wander = 2000, 20.0
    rng = np.random.Generator(np.random.SFC64(3))
    for n_steps, seconds in ((1, 4), (50, 1)):
        away_ps = np.empty(n)
        for number in range(n):
            clock = TaggerClock(offset_ppm=0.0, drift_ppb_per_s=0.0, wander_ps_per_sqrt_s=wander)
            for _ in range(n_steps):
                clock.wander_on(seconds * PS_PER_S // n_steps, rng)
            away_ps[number] = clock.reading_ps(seconds * PS_PER_S) - seconds * PS_PER_S
        variance = wander * wander * seconds
        assert abs(away_ps.mean()) < 5 * math.sqrt(variance / n)
        rounding = n_steps / 12.0
        assert abs(away_ps.var() - variance - rounding) < 5 * variance * math.sqrt(2 / n)


def test_a_wandering_clock_is_continuous_and_even_inside_a_step() -> None:
    clock = TaggerClock(offset_ppm=10.0, drift_ppb_per_s=5.0, wander_ps_per_sqrt_s=1e5)
    rng = np.random.Generator(np.random.SFC64(4))
    step_ps = 10**10
    end_ps = 0
    for number in range(50):
        clock.wander_on(step_ps, rng)
        base_ps = number * step_ps
        assert abs(clock.reading_ps(base_ps) - end_ps) <= 1
        after_ps = np.array([0, step_ps // 4, step_ps // 2, step_ps])
        readings_ps = clock.readings_ps(base_ps, after_ps)
        each = [clock.reading_ps(base_ps + int(after)) for after in after_ps]
        np.testing.assert_allclose(readings_ps, each, rtol=0, atol=2)
        end_ps = clock.reading_ps(base_ps + step_ps)


def test_clicks_are_told_by_the_wandering_clock() -> None:
    receiver = msgspec.structs.replace(IDEAL, clock_wander_ps_per_sqrt_s=3000.0)
    bench = Bench(mu=0.05, receiver=receiver)
    bench.start()
    offsets_ps = []
    for step in range(1, 60):
        times_ps = bench.link.advance(step * 10 * MS).times_ps
        away_ps = (times_ps - bench.delay_ps + PERIOD_PS // 2) % PERIOD_PS - PERIOD_PS // 2
        middle_ps = (
            bench.link.clock.reading_ps(step * 10**10 - 5 * 10**9) - step * 10**10 + 5 * 10**9
        )
        offsets_ps.append(float(np.median(away_ps)) - middle_ps)
    assert abs(bench.link.clock.reading_ps(59 * 10**10) - 59 * 10**10) > 200
    assert np.abs(offsets_ps).max() < 200.0
