"""Pulse clocks above 1 GHz: every click stands in the slot of its pulse, at any time of a run."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from drivers.sim.config import Fibre
from tests.drivers.sim.optics.optical_bench import IDEAL, PLAN, Bench, states_by_the_book


def a_bench(rate_hz: int, *, jitter_ps: float = 0.0) -> Bench:
    return Bench(
        mu=0.5,
        fibre=Fibre(length_km=10.0, loss_db=40.0, misalignment=0.0),
        receiver=msgspec.structs.replace(IDEAL, jitter_ps=jitter_ps, loss_db=0.0),
        plan=replace(PLAN, pulse_rate_hz=rate_hz, vacuum_ratio=0.0),
    )


def offsets_ps(bench: Bench, times_ps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest pulse of each click and its distance from it, in whole numbers until the end."""
    n, d = bench.plan.pulse_rate_hz, 10**12
    common = int(np.gcd(n, d))
    n, d = n // common, d // common
    pulses, rest = np.divmod((times_ps - bench.delay_ps) * n + d // 2, d)
    return pulses, (rest - d // 2) / n


@pytest.mark.parametrize("rate_hz", [1_250_000_000, 1_100_000_000, 3_000_000_000])
@pytest.mark.parametrize("start_s", [0, 3600])
def test_clicks_are_on_their_pulses_to_a_picosecond_even_after_an_hour(rate_hz, start_s):
    bench = a_bench(rate_hz)
    start_ns = start_s * 10**9
    last = (start_ns + 10**8) * rate_hz // 10**9
    bench.start(n_blocks=bench.plan.block_at(last) + 1)
    if start_s:
        bench.link.skip_to(start_ns)
    times_ps, channels = bench.run(start_ns, start_ns + 10**8)
    assert times_ps.size > 1000
    pulses, away_ps = offsets_ps(bench, times_ps)
    assert abs(away_ps).max() <= 0.51
    states = states_by_the_book(bench.plan, pulses)
    same_basis = (states >> 1 & 1) == (channels - 1) >> 1
    assert ((states & 1) == (channels - 1) % 2)[same_basis].all()  # no misalignment, no darks


def test_jitter_of_50_ps_stays_inside_slots_of_800_ps():
    bench = a_bench(1_250_000_000, jitter_ps=50.0)
    bench.start(n_blocks=100)
    times_ps, _ = bench.run(0, 2 * 10**8)
    _, away_ps = offsets_ps(bench, times_ps)
    sigma_ps = 50.0 / 2.3548
    assert abs(away_ps).max() < 8 * sigma_ps
    assert float(away_ps.std()) == pytest.approx(sigma_ps, rel=0.05)
