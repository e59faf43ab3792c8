"""What each attack does to the clicks, against its closed formula, within SIGMAS."""

import math
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from drivers.sim.config import Attack
from drivers.sim.optics import eve
from drivers.sim.orders import KINDS
from tests.drivers.sim.optics.optical_bench import IDEAL, PLAN, Bench
from tests.drivers.sim.optics.test_link_statistics import (
    SIGMAS,
    agrees,
    clicks_by_pulse,
)

MS = 1_000_000
PERIOD_PS = 10_000
LEVELS = (1.0, PLAN.weak_ratio, PLAN.vacuum_ratio)
MU = 0.5


def attacked(kind: str, strength: float, **more: object) -> Bench:
    return Bench(mu=MU, attack=Attack(kind=kind, fraction=strength), **more)


@dataclass
class Seen:
    """Pulses of a run by intensity, and what they made."""

    clicked: np.ndarray
    states: np.ndarray

    def gain_agrees(self, intensity: int, chance: float) -> bool:
        """Whether as many pulses clicked as ``chance`` says."""
        mine = self.clicked[self.states >> 2 == intensity]
        return agrees(int(mine.any(1).sum()), len(mine), chance)

    def error_agrees(self, basis: int, qber: float) -> bool:
        """Whether single clicks in the basis that was sent have this share of errors."""
        sent = self.states >> 1 & 1 == basis
        arm = self.clicked[:, 2 * basis : 2 * basis + 2]
        one = sent & (self.clicked.sum(1) == 1) & arm.any(1)
        wrong = arm[np.arange(len(arm)), 1 - (self.states & 1)] & one
        return agrees(int(wrong.sum()), int(one.sum()), qber)

    @property
    def n_more_than_one(self) -> int:
        return int((self.clicked.sum(1) > 1).sum())


def seen(bench: Bench) -> Seen:
    return Seen(*clicks_by_pulse(bench))


def more_than_one(mu: float) -> float:
    return 1.0 - math.exp(-mu) * (1.0 + mu)


def arrives(bench: Bench, sent: float) -> float:
    """Transmission that keeps the signal's gain, or that of a line without loss."""
    best = 10 ** (-bench.receiver.loss_db / 10) * bench.receiver.efficiency
    return min(-math.expm1(-bench.detections_per_signal) / sent, best)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_photon_number_splitting_spares_the_many_and_not_the_errors(strength: float) -> None:
    bench = attacked("photon-number-splitting", strength)
    got = seen(bench)
    better = arrives(bench, more_than_one(MU))
    for intensity, level in enumerate(LEVELS):
        hers = better * more_than_one(MU * level)
        honest = -math.expm1(-bench.detections_per_signal * level)
        assert got.gain_agrees(intensity, strength * hers + (1 - strength) * honest), intensity
    assert all(got.error_agrees(basis, 0.01) for basis in (0, 1))
    assert (got.n_more_than_one == 0) == (strength == 1.0)


def test_photon_number_splitting_keeps_the_gain_where_the_line_is_long_enough() -> None:
    light = eve.Light((0.5, 0.19, 0.001), 0.004, 0.4, np.full((4, 4), 0.25), 0.5, 10_000.0)
    levels = eve.relative(light, [more_than_one(mu) for mu in light.mus])
    clicks = [-math.expm1(-light.per_signal * level) for level in levels]
    assert clicks[0] == pytest.approx(-math.expm1(-0.004))
    assert clicks[1] / clicks[0] == pytest.approx(0.1765, abs=1e-4)  # weak over signal


def test_naive_blinding_has_no_double_clicks_no_dark_counts_and_another_ratio() -> None:
    receiver = msgspec.structs.replace(IDEAL, dark_hz=50_000.0)
    bench = attacked("blinding-naive", 1.0, receiver=receiver)
    got = seen(bench)
    better = arrives(bench, -math.expm1(-MU))
    for intensity, level in enumerate(LEVELS):
        assert got.gain_agrees(intensity, better * -math.expm1(-MU * level)), intensity
    assert all(got.error_agrees(basis, 0.01) for basis in (0, 1))
    assert got.n_more_than_one == 0
    bench.link.encoder.go_dark()
    bench.link.advance(2 * 10**9)
    assert bench.run(2 * 10**9, 3 * 10**9)[0].size == 0


def test_careful_blinding_shows_only_that_no_pulse_clicks_twice() -> None:
    bench = attacked("blinding-careful", 1.0)
    got = seen(bench)
    for intensity, level in enumerate(LEVELS):
        chance = -math.expm1(-bench.detections_per_signal * level)
        assert got.gain_agrees(intensity, chance), intensity
    assert all(got.error_agrees(basis, 0.01) for basis in (0, 1))
    assert got.n_more_than_one == 0
    assert seen(attacked("blinding-careful", 0.0)).n_more_than_one > 100


def test_careful_blinding_leaves_the_dark_counts() -> None:
    bench = attacked("blinding-careful", 1.0, receiver=msgspec.structs.replace(IDEAL, dark_hz=1e4))
    n = bench.run(0, 1000 * MS)[0].size
    assert abs(n - 4e4) < SIGMAS * 200


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_a_time_shift_moves_light_and_the_balance_of_bits(strength: float) -> None:
    bench = attacked(
        "time-shift", strength, receiver=msgspec.structs.replace(IDEAL, jitter_ps=20.0)
    )
    bench.start()
    times_ps, channels = bench.run(0, 200 * MS)
    away_ps = (times_ps - bench.delay_ps + PERIOD_PS // 2) % PERIOD_PS - PERIOD_PS // 2
    late = away_ps > 100
    ones = (channels & 1) == 0  # channels 2 and 4
    photons = 1 - strength + strength * 0.75
    n, n_late, n_ones = times_ps.size, int(late.sum()), int((late & ones).sum())
    assert agrees(n_late, n, strength * 0.75 / photons)
    assert agrees(n_ones, n_late, 1 / 3)  # half as efficient as the zeros
    assert abs(away_ps[late].mean() - 200.0) < 1.0


def test_after_gate_light_comes_late_in_her_basis_and_makes_no_errors() -> None:
    bench = attacked("after-gate", 1.0)
    bench.start()
    times_ps, _ = bench.run(0, 50 * MS)
    away_ps = (times_ps - bench.delay_ps) % PERIOD_PS
    assert (np.abs(away_ps - 2500) <= 1).all()
    got = seen(attacked("after-gate", 1.0))
    assert all(got.error_agrees(basis, 0.01) for basis in (0, 1))
    assert got.n_more_than_one == 0
    chance = (-math.expm1(-2 * 0.84 * bench.detections_per_signal)) / 2
    chance += (-math.expm1(-2 * 0.16 * bench.detections_per_signal)) / 2
    assert got.gain_agrees(0, chance)


def test_a_dead_time_attack_is_seen_by_three_detectors_at_once() -> None:
    """100,000 bright pulses a second at strength 1; in the dark nothing else clicks."""
    bench = attacked("dead-time", 0.5)
    times_ps, channels = bench.run(0, 400 * MS)
    moments, counts = np.unique(times_ps, return_counts=True)
    expected = 0.5 * 100_000 * 0.4
    assert abs(moments.size - expected) < SIGMAS * math.sqrt(expected)
    # two within the recovery of 1 ns: 5e-5 of them; the second is then seen by one detector less
    assert np.mean(counts == 3) > 0.999
    spared = np.array([10 - channels[times_ps == moment].sum() for moment in moments[:2000]])
    for detector in (1, 2, 3, 4):
        assert agrees(int(np.sum(spared == detector)), 2000, 0.25)


def test_light_sent_into_the_laser_makes_all_pulses_brighter() -> None:
    bench = attacked("laser-seeding", 0.2)
    bench.link.attack = None
    bench.link.attenuation_db += 10 * math.log10(bench.link.signal_mu(1e8) / MU)
    bench.link.attack = bench.attack
    assert bench.link.signal_mu(1e8) == pytest.approx(1.2 * MU)
    got = seen(bench)
    for intensity, level in enumerate(LEVELS):
        chance = -math.expm1(-1.2 * bench.detections_per_signal * level)
        assert got.gain_agrees(intensity, chance), intensity


def test_a_modulator_that_drifts_moves_the_weak_gain_alone() -> None:
    bench = attacked("intensity-drift", 0.1)
    got = seen(bench)
    for intensity, level in enumerate((1.0, 1.1 * PLAN.weak_ratio, PLAN.vacuum_ratio)):
        chance = -math.expm1(-bench.detections_per_signal * level)
        assert got.gain_agrees(intensity, chance), intensity


def test_a_splitter_that_is_not_even_shows_in_the_shares_of_the_bases() -> None:
    bench = attacked("qrng-bias", 0.25)
    bench.start()
    _, channels = bench.run(0, 100 * MS)
    assert agrees(int(np.sum(channels <= 2)), channels.size, 0.84 + 0.25 * 0.16)


@pytest.mark.parametrize("kind", KINDS)
def test_an_attack_of_no_strength_leaves_all_counts_as_they_are(kind: str) -> None:
    runs = []
    for attack in (None, Attack(kind=kind, fraction=0.0)):
        bench = Bench(attack=attack, receiver=msgspec.structs.replace(IDEAL, dark_hz=100.0))
        bench.start()
        runs.append(bench.run(0, 20 * MS))
    counts = [np.bincount(channels, minlength=5) for _, channels in runs]
    spread = np.sqrt(counts[0] + counts[1])
    assert (np.abs(counts[0] - counts[1]) <= SIGMAS * spread).all()
