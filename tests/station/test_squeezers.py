"""Voltages fold by whole turns, and four squeezers are moved apart without a turn of the light."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.optics.polarization import squeezers as turn_of
from qkdd.station.squeezers import Squeezers

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
