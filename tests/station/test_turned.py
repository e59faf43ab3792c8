"""The search for light that is turned anywhere: of ideal squeezers, and of others."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.sim.optics.polarization import Turn, any_turn, port_chances, rotation
from qkdd.station.error_counts import Side
from qkdd.station.squeezers import Squeezers
from qkdd.station.turned import FEWEST_BITS, TETRAHEDRON, Search, _circle, search

RANGE = Squeezers(-5000, 5000, 2000.0)
MAX_QBER = 0.05
WANTED = (MAX_QBER, MAX_QBER)
MISALIGNMENT = 0.01
SURVEY = len(TETRAHEDRON) + 1
"""Points until a survey has told: its own, and where it leads to."""


@dataclass
class Fibre:
    """A fibre with channels that turn about any axes, each with an angle at rest, and glass behind.

    ``bits``: of each basis and point; None: as many as the rates are rates of.
    """

    seed: int
    axes: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0))
    rest_rad: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    bits: int | None = None
    before: Turn = field(init=False)
    behind: Turn = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.before, self.behind = any_turn(self.rng), any_turn(self.rng)

    def rates(self, voltages_mv: tuple[float, ...]) -> tuple[float, float]:
        turn = self.before
        for axis, mv, rest in zip(self.axes, voltages_mv, self.rest_rad, strict=True):
            turn = rotation(np.array(axis) * (math.pi * mv / 2000.0 + rest)) @ turn
        turn = self.behind @ turn
        chances = port_chances(key_basis_share=0.5, misalignment=MISALIGNMENT, turn=turn)
        return float(chances[0, 1]) / 0.5, float(chances[2, 3]) / 0.5

    def count(self, voltages_mv: tuple[float, ...]) -> Side:
        n = self.bits or 1_000_000
        errors = [
            round(n * rate) if self.bits is None else int(self.rng.binomial(n, rate))
            for rate in self.rates(voltages_mv)
        ]
        return Side([n, n], errors)

    def find(self, at_most: int) -> tuple[int, tuple[float, ...]]:
        """Search; return at how many points was counted, and where the light was found."""
        start = (0.0,) * len(self.axes)
        running = search(RANGE, start, start, WANTED, max_qber=MAX_QBER)
        asked = next(running)
        for n_points in range(1, at_most + 1):
            try:
                asked = running.send(self.count(asked))
            except StopIteration as found:
                return n_points, found.value.voltages_mv
            assert all(-5000 <= mv <= 5000 for mv in asked)
        raise AssertionError(f"not found at {at_most} points")


@given(seed=st.integers(0, 2**32 - 1))
def test_a_survey_tells_the_best_voltages_wherever_the_light_is(seed: int) -> None:
    fibre = Fibre(seed)
    n_points, found = fibre.find(SURVEY)
    assert n_points == SURVEY
    assert max(fibre.rates(found)) == pytest.approx(MISALIGNMENT, abs=1e-4)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_fewest_bits_are_enough_to_come_near(seed: int) -> None:
    fibre = Fibre(seed, bits=FEWEST_BITS)
    _, found = fibre.find(100)
    assert max(fibre.rates(found)) < 2 * MAX_QBER  # ten wrong of 200, or what looks so


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), rest_rad=st.tuples(*[st.floats(-math.pi, math.pi)] * 4))
def test_squeezers_that_rest_at_unknown_angles_are_brought_there_in_circles(
    seed: int, rest_rad: tuple[float, ...]
) -> None:
    """The survey leads astray then; one channel's circle is right all the same."""
    fibre = Fibre(seed, rest_rad=rest_rad)
    _, found = fibre.find(400)
    assert max(fibre.rates(found)) <= MAX_QBER + 1e-5


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_three_channels_about_other_axes_are_brought_there_too(seed: int) -> None:
    fibre = Fibre(seed, axes=((1, 0, 0), (0, 0, 1), (0.6, 0.8, 0)), rest_rad=(0.3, 1.0, -0.7))
    _, found = fibre.find(400)
    assert max(fibre.rates(found)) <= MAX_QBER + 1e-5


@given(
    seed=st.integers(0, 2**32 - 1),
    lowest_mv=st.integers(-3000, 0),
    width_mv=st.integers(800, 6000),
    share=st.floats(0, 1),
)
def test_a_circle_leads_to_its_best_place_within_the_range(
    seed: int, lowest_mv: int, width_mv: int, share: float
) -> None:
    """Also where the range is less than a whole turn."""
    fibre = Fibre(seed)
    squeezers = Squeezers(lowest_mv, lowest_mv + width_mv, 2000.0)
    here_mv = (500.0, lowest_mv + share * width_mv, 0.0, 900.0)
    walk = _circle(squeezers, here_mv, 1, sum(fibre.rates(here_mv)))
    asked, best_mv = next(walk), None
    while best_mv is None:
        assert lowest_mv - 1e-9 <= asked[1] <= lowest_mv + width_mv + 1e-9
        try:
            asked = walk.send(fibre.count(asked))
        except StopIteration as found:
            best_mv = found.value
    every = [
        sum(fibre.rates((500.0, mv, 0.0, 900.0)))
        for mv in np.linspace(lowest_mv, lowest_mv + width_mv, 200)
    ]
    assert lowest_mv <= best_mv[1] <= lowest_mv + width_mv
    assert sum(fibre.rates(best_mv)) <= min(every) + 1e-3


@pytest.mark.parametrize("width_mv", [0, 1])
def test_a_channel_that_turns_nothing_stays_in_its_range(width_mv: int) -> None:
    walk = _circle(Squeezers(100, 100 + width_mv, 2000.0), (100.0,), 0, 0.9)
    next(walk)
    walk.send(Side([100, 100], [40, 50]))
    with pytest.raises(StopIteration) as found:
        walk.send(Side([100, 100], [45, 45]))
    assert 100 <= found.value.value[0] <= 100 + width_mv


def test_voltages_that_were_good_are_looked_at_after_a_survey_and_after_two_channels() -> None:
    good, elsewhere = (1.0, 2.0, 3.0, 4.0), (0.0, 900.0, 0.0, 0.0)
    lost, found = Side([200, 200], [99, 99]), Side([200, 200], [1, 1])
    running = search(RANGE, elsewhere, good, WANTED, max_qber=MAX_QBER)
    asked = [next(running)]
    while len(asked) < 60:
        asked.append(running.send(lost))
    assert asked.index(good) == len(TETRAHEDRON) + 1
    gaps = np.diff([number for number, point in enumerate(asked) if point == good])
    assert max(gaps) <= 7
    while running.send(lost) != good:
        pass
    with pytest.raises(StopIteration) as caught:
        running.send(found)
    assert caught.value.value.voltages_mv == good
    assert caught.value.value.best


def test_where_nothing_has_as_few_errors_as_wanted_the_limit_will_do() -> None:
    more = Side([200, 200], [6, 6])
    running = search(RANGE, (0.0, 0.0, 0.0, 0.0), (1.0, 2.0, 3.0, 4.0), (0.02, 0.02), max_qber=0.05)
    next(running)
    n_asked = sum(1 for _ in iter(lambda: next_or_found(running, more), None))
    assert SURVEY + 6 * 4 * 3 < n_asked < SURVEY + 6 * 4 * 5  # all of it, once


def next_or_found(running: Search, side: Side) -> tuple[float, ...] | None:
    try:
        return running.send(side)
    except StopIteration:
        return None


def test_the_rotations_of_the_survey_weigh_every_entry_alike() -> None:
    kernel = np.random.default_rng(1).standard_normal((3, 3))
    mean = sum((kernel * turn).sum() * turn for turn in TETRAHEDRON) / len(TETRAHEDRON)
    np.testing.assert_allclose(mean, kernel / 3.0, atol=1e-12)
    assert np.allclose([np.linalg.det(turn) for turn in TETRAHEDRON], 1.0)
