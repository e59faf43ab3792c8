"""Voltages fold by whole turns, and four squeezers are moved apart without a turn of the light."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.optics.polarization import any_turn
from drivers.sim.optics.polarization import squeezers as turn_of
from qkdd.station.squeezers import FURTHEST, Squeezers

RANGE = Squeezers(-5000, 5000, 2000.0)


@given(voltage_mv=st.floats(-20_000, 20_000), margin_mv=st.floats(0, 900))
def test_a_fold_is_whole_turns_of_the_sphere(voltage_mv: float, margin_mv: float) -> None:
    folded = RANGE.fold(voltage_mv, margin_mv)
    assert abs(folded) <= 5000 - margin_mv
    turns = (folded - voltage_mv) / 4000.0
    assert turns == pytest.approx(round(turns), abs=1e-9)


def test_a_range_of_less_than_a_turn_ends_at_its_rail() -> None:
    assert Squeezers(-1000, 1000, 2000.0).fold(1_500.0, 100.0) == 900.0


def test_moving_squeezers_apart_leaves_the_light_as_it_is() -> None:
    found = (0.0, 0.0, 0.0, 400.0)
    apart = RANGE.apart(found)
    assert apart != found
    before, after = (
        turn_of(tuple(np.pi * mv / 2000.0 for mv in voltages)) for voltages in (found, apart)
    )
    np.testing.assert_allclose(before, after, atol=1e-12)
    assert RANGE.apart((0.0, 900.0, 0.0, 0.0)) == (0.0, 900.0, 0.0, 0.0)


@given(st.integers(0, 2**32 - 1))
def test_any_rotation_has_voltages_whose_axes_are_far_from_a_plane(seed: int) -> None:
    wanted = any_turn(np.random.default_rng(seed))
    voltages_mv = RANGE.voltages_for(wanted)
    assert max(map(abs, voltages_mv)) <= RANGE.half_wave_mv
    made = turn_of(tuple(math.pi * mv / RANGE.half_wave_mv for mv in voltages_mv))
    np.testing.assert_allclose(made, wanted, atol=1e-6)
    np.testing.assert_allclose(RANGE.rotation(voltages_mv), wanted, atol=1e-6)
    second, third = (math.pi * mv / RANGE.half_wave_mv for mv in voltages_mv[1:3])
    assert math.hypot(math.sin(second), math.sin(third)) > 0.7


@pytest.mark.parametrize("third_mv", [0.0, 2_000.0, -2_000.0])
def test_turns_about_one_axis_alone_have_voltages_too(third_mv: float) -> None:
    wanted = RANGE.rotation((0.0, 300.0, third_mv, 500.0))
    made = RANGE.rotation(RANGE.voltages_for(wanted))
    np.testing.assert_allclose(made, wanted, atol=1e-6)


@given(st.tuples(*[st.integers(-5_000, 5_000)] * 4), st.integers(0, 2**32 - 1))
def test_four_squeezers_turn_the_sphere_about_three_axes_at_right_angles(
    voltages_mv: tuple[int, ...], seed: int
) -> None:
    """Whatever comes behind them; and about as far as asked, unless the axes lie near a plane."""
    behind = any_turn(np.random.default_rng(seed))

    def turn(moved: tuple[float, ...], rad: float) -> np.ndarray:
        angles = [math.pi * mv / RANGE.half_wave_mv for mv in voltages_mv]
        return behind @ turn_of(tuple(a + rad * m for a, m in zip(angles, moved, strict=True)))

    small_rad = 1e-4
    axes = []
    for direction in RANGE.directions(tuple(map(float, voltages_mv))):
        assert max(map(abs, direction)) <= FURTHEST
        made = (turn(direction, small_rad) @ turn(direction, -small_rad).T) / (2.0 * small_rad)
        axes.append((made[2, 1] - made[1, 2], made[0, 2] - made[2, 0], made[1, 0] - made[0, 1]))
    products = np.array(axes) @ np.array(axes).T / 4.0
    assert np.allclose(products - np.diag(np.diag(products)), 0.0, atol=1e-5)
    second, third = (math.pi * mv / RANGE.half_wave_mv for mv in voltages_mv[1:3])
    spread = math.hypot(math.sin(second), math.sin(third))
    if spread > 0.8:
        assert np.allclose(np.diag(products), 1.0, atol=1e-5)


def test_channels_of_another_number_are_moved_one_by_one() -> None:
    three = RANGE.directions((0.0, 0.0, 0.0))
    assert three == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
