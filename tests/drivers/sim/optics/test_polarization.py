"""Turns of the Poincare sphere: what they make of four states, how they walk, what undoes them."""

import math

import numpy as np
import pytest

from drivers.sim.config import Fibre
from drivers.sim.optics.polarization import (
    STAYS,
    FibreTurn,
    Turn,
    any_turn,
    port_chances,
    rotation,
    squeezers,
)
from tests.drivers.sim.optics.optical_bench import Bench
from tests.drivers.sim.optics.test_link_statistics import agrees, clicks_by_pulse

SIGMAS = 5.0


def dice(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def undoing(turn: Turn) -> tuple[float, float, float]:
    """Angles of three squeezers that turn the sphere back (Euler's, about S1, S2, S1)."""
    back = turn.T
    last = math.atan2(back[1, 0], -back[2, 0])
    first = math.atan2(back[0, 1], back[0, 2])
    return first, math.acos(back[0, 0]), last


def test_without_a_turn_the_bases_are_apart_and_misalignment_is_the_error() -> None:
    ports = port_chances(key_basis_share=0.84, misalignment=0.03, turn=STAYS)
    np.testing.assert_allclose(ports[0], [0.84 * 0.97, 0.84 * 0.03, 0.08, 0.08])
    np.testing.assert_allclose(ports[3], [0.42, 0.42, 0.16 * 0.03, 0.16 * 0.97])


def test_a_turn_about_the_key_axis_spoils_the_test_basis_only() -> None:
    turn = rotation(np.array([0.6, 0.0, 0.0]))
    ports = port_chances(key_basis_share=0.5, misalignment=0.0, turn=turn)
    np.testing.assert_allclose(ports[0], [0.5, 0.0, 0.25, 0.25])
    np.testing.assert_allclose(ports[2, 3], 0.5 * math.sin(0.3) ** 2)
    np.testing.assert_allclose(ports[2, :2], 0.25)


def test_a_turn_about_s3_mixes_the_bases_as_an_angle_in_space_does() -> None:
    """A rotation by theta in space is 2 theta on the sphere: Malus' law, sin^2 theta of errors."""
    theta = 0.2
    turn = rotation(np.array([0.0, 0.0, 2.0 * theta]))
    ports = port_chances(key_basis_share=0.5, misalignment=0.0, turn=turn)
    for state in range(4):
        wrong = ports[state, state ^ 1] / 0.5
        np.testing.assert_allclose(wrong, math.sin(theta) ** 2)
    np.testing.assert_allclose(ports[0, 2] / 0.5, math.cos(math.pi / 4 - theta) ** 2)


@pytest.mark.parametrize("seed", range(3))
def test_clicks_of_an_unknown_polarization_follow_the_turn_in_every_state(seed: int) -> None:
    """Counts of all states and detectors within 5 sigma: 48 counts a seed."""
    fibre = Fibre(length_km=10.0, loss_db=6.0, polarization_start="unknown")
    bench = Bench(fibre=fibre, seed=seed)
    turn = bench.link._fibre_turn.turn
    clicked, states = clicks_by_pulse(bench)
    ports = port_chances(key_basis_share=0.84, misalignment=0.01, turn=turn)
    assert np.abs(turn - STAYS).max() > 0.5
    for state in range(12):
        mine = clicked[states == state]
        level = (1.0, 0.38, 0.002)[state >> 2]
        for detector in range(4):
            photons = bench.detections_per_signal * level * ports[state & 3, detector]
            count = int(mine[:, detector].sum())
            assert agrees(count, len(mine), -math.expm1(-photons)), (state, detector)


def test_every_turn_is_a_rotation() -> None:
    fibre = FibreTurn(dice(1), rate_rad_per_sqrt_s=2.0, is_unknown=True)
    for _ in range(300):
        fibre.advance(0.1)
    for turn in (fibre.turn, any_turn(dice(2)), squeezers((0.1, 2.0, -3.0, 4.0))):
        np.testing.assert_allclose(turn @ turn.T, STAYS, atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1.0)


@pytest.mark.parametrize("n_steps", [1, 12])
def test_the_mean_turn_decays_as_brownian_motion_does(n_steps: int) -> None:
    """exp(-rate^2 t) on the diagonal, 0 beside it, whatever the steps: 5 sigma of the mean."""
    rate, seconds, n = (0.05, 2.0, 3000) if n_steps == 1 else (0.5, 1.5, 800)
    turns = []
    rng = dice(n_steps)
    for _ in range(n):
        fibre = FibreTurn(rng, rate_rad_per_sqrt_s=rate, is_unknown=False)
        for _ in range(n_steps):
            fibre.advance(seconds / n_steps)
        turns.append(fibre.turn)
    expected = math.exp(-rate * rate * seconds) * STAYS
    away = np.abs(np.mean(turns, 0) - expected)
    assert (away < SIGMAS * np.std(turns, 0) / math.sqrt(n) + 1e-4).all()


def test_an_unknown_start_is_even_over_all_turns() -> None:
    """No direction is preferred: mean 0, variance 1/3 of each element, 5 sigma."""
    rng, n = dice(9), 4000
    turns = np.array([any_turn(rng) for _ in range(n)])
    assert (np.abs(turns.mean(0)) < SIGMAS * math.sqrt(1 / 3 / n)).all()
    spread = math.sqrt((1 / 5 - 1 / 9) / n)  # of x^2, x even in -1..1
    assert (np.abs((turns**2).mean(0) - 1 / 3) < SIGMAS * spread).all()


@pytest.mark.parametrize("seed", range(5))
def test_three_squeezers_undo_any_turn(seed: int) -> None:
    turn = any_turn(dice(seed))
    np.testing.assert_allclose(squeezers((*undoing(turn), 0.0)) @ turn, STAYS, atol=1e-9)
