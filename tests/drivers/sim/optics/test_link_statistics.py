"""Counts of the click model against closed formulas, within SIGMAS standard deviations."""

import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from drivers.sim.config import Attack, Fibre
from drivers.sim.optics.eve import disturbed_qber
from tests.drivers.sim.optics.optical_bench import (
    IDEAL,
    PLAN,
    STEP_NS,
    Bench,
    states_by_the_book,
)

SIGMAS = 5.0  # the tests compare about 400 counts: one seed in 4,000 would fail; it is fixed

N_PULSES = 3_000_000

BENCHES: dict[str, dict[str, Any]] = {
    "default mu, a short fibre": {},
    "bright: every fifth pulse clicks": {
        "mu": 2.0,
        "fibre": Fibre(length_km=0.0, loss_db=4.0, misalignment=0.1),
        "plan": replace(PLAN, pulse_rate_hz=10_000_000, frame_pulses=1_000_000),
    },
    "dim, dark counts as many as photons": {
        "fibre": Fibre(length_km=60.0, loss_db=22.0, misalignment=0.03),
        "receiver": msgspec.structs.replace(IDEAL, dark_hz=50_000.0),
    },
    "even splitter, bad alignment": {
        "mu": 0.8,
        "fibre": Fibre(length_km=1.0, loss_db=9.0, misalignment=0.2),
        "receiver": msgspec.structs.replace(IDEAL, key_basis_share=0.5, efficiency=0.2),
    },
}


def clicks_by_pulse(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    """(pulses, 4) whether a detector clicked, and the state of every pulse of the run."""
    bench.start()
    period_ps = 10**12 // bench.plan.pulse_rate_hz
    times_ps, channels = bench.run(0, N_PULSES * period_ps // 1000 + STEP_NS)
    slots = (times_ps - bench.delay_ps) // period_ps
    clicked = np.zeros((N_PULSES, 4), bool)
    inside = (slots >= 0) & (slots < N_PULSES)
    clicked[slots[inside], channels[inside] - 1] = True
    return clicked, states_by_the_book(bench.plan, np.arange(N_PULSES))


def click_chance(bench: Bench, state: int, detector: int) -> float:
    """1 - exp(-lambda): Poisson light of the state at one detector, and its dark counts."""
    level = (1.0, bench.plan.weak_ratio, bench.plan.vacuum_ratio)[state >> 2]
    key_share = bench.receiver.key_basis_share
    share = key_share if detector < 2 else 1.0 - key_share
    error = bench.fibre.misalignment
    if bench.attack is not None:
        error = disturbed_qber(error, bench.attack.fraction)
    if state >> 1 & 1 != detector >> 1:
        port = 0.5
    else:
        port = error if (state ^ detector) & 1 else 1.0 - error
    photons = bench.detections_per_signal * level * share * port
    return -math.expm1(-photons - bench.receiver.dark_hz / bench.plan.pulse_rate_hz)


def agrees(count: int, n: int, chance: float) -> bool:
    """Whether a binomial count is within SIGMAS; one more count allowed where few are expected."""
    return abs(count - n * chance) <= SIGMAS * math.sqrt(n * chance * (1 - chance)) + 1.0


@pytest.mark.parametrize("name", BENCHES)
def test_gains_errors_and_double_clicks_follow_the_formulas(name: str) -> None:
    bench = Bench(**BENCHES[name])
    clicked, states = clicks_by_pulse(bench)
    for state in range(12):
        mine = clicked[states == state]
        for detector in range(4):
            chance = click_chance(bench, state, detector)
            count = int(mine[:, detector].sum())
            assert agrees(count, len(mine), chance), (state, detector, count, len(mine) * chance)
        for basis in (0, 1):
            first, second = (click_chance(bench, state, 2 * basis + bit) for bit in (0, 1))
            doubles = int((mine[:, 2 * basis] & mine[:, 2 * basis + 1]).sum())
            assert agrees(doubles, len(mine), first * second), (state, basis, doubles)
        crosses = int((mine[:, :2].any(1) & mine[:, 2:].any(1)).sum())
        none = [1.0 - click_chance(bench, state, detector) for detector in range(4)]
        crossing = (1.0 - none[0] * none[1]) * (1.0 - none[2] * none[3])
        assert agrees(crosses, len(mine), crossing), (state, crosses)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_intercept_resend_adds_a_quarter_of_its_share_to_both_error_rates(fraction: float) -> None:
    attack = Attack(kind="intercept-resend", fraction=fraction)
    bench = Bench(attack=attack, fibre=Fibre(length_km=10.0, loss_db=6.0, misalignment=0.01))
    clicked, states = clicks_by_pulse(bench)
    expected = 0.01 + fraction / 4 - 0.01 * fraction / 2
    for basis in (0, 1):
        sent = (states >> 1 & 1 == basis) & (states >> 2 == 0)
        right = clicked[sent, 2 * basis + (states[sent] & 1)]
        wrong = clicked[sent, 2 * basis + 1 - (states[sent] & 1)]
        n = int(right.sum() + wrong.sum())
        sigma = math.sqrt(expected * (1 - expected) / n)
        # two detectors that saturate alike shift the ratio by less than lambda / 2
        saturation = bench.detections_per_signal / 2 * expected
        assert abs(int(wrong.sum()) / n - expected) < SIGMAS * sigma + saturation, basis


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_intercept_resend_leaves_the_gains_as_they_are(fraction: float) -> None:
    bench = Bench(attack=Attack(kind="intercept-resend", fraction=fraction), mu=0.2)
    clicked, states = clicks_by_pulse(bench)
    for basis, share in ((0, 0.84), (1, 0.16)):
        for intensity, level in enumerate((1.0, PLAN.weak_ratio, PLAN.vacuum_ratio)):
            mine = clicked[states >> 2 == intensity][:, 2 * basis : 2 * basis + 2]
            gain = -math.expm1(-bench.detections_per_signal * level * share)
            assert agrees(int(mine.any(1).sum()), len(mine), gain), (basis, intensity)


def test_an_attacked_pulse_has_one_outcome_for_all_its_photons() -> None:
    """Eve in the transmitter's basis (half of the pulses) never splits a pulse over two bits of
    that basis, and in the other basis one state still goes to one port of *her* basis."""
    bench = Bench(
        mu=1.9,
        fibre=Fibre(length_km=0.0, loss_db=0.0, misalignment=0.0),
        receiver=msgspec.structs.replace(IDEAL, key_basis_share=0.5, efficiency=1.0, loss_db=0.0),
        attack=Attack(kind="intercept-resend", fraction=1.0),
        plan=replace(PLAN, pulse_rate_hz=10_000_000),
    )
    clicked, _states = clicks_by_pulse(bench)
    key_double = clicked[:, 0] & clicked[:, 1]
    test_double = clicked[:, 2] & clicked[:, 3]
    assert key_double.sum() > 1000
    assert test_double.sum() > 1000
    assert not (key_double & test_double).any()
