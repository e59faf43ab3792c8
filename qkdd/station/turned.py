"""Find light that is turned anywhere, where a slope leads astray or vanishes.

Two ways, both exact for ideal squeezers and both told by errors alone. Of the sphere's rotations
the error rates are a linear function, and twelve of them tell it. Of one channel's angle they are a
cosine, whatever the others do, and three points tell that: it needs no more of the controller than
the half-wave voltage, but has to be done channel after channel, round after round.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qkdd.station.error_counts import Side
from qkdd.station.squeezers import Squeezers

Voltages: TypeAlias = tuple[float, ...]
Rates: TypeAlias = tuple[float, float]
"""Of errors, by basis."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where the light was found, and what was counted there."""

    voltages_mv: Voltages
    side: Side
    best: bool
    """A survey led there, or it was the best before: not only a place with few errors."""


Walk: TypeAlias = Generator[Voltages, Side, Voltages]
"""Yields voltages, takes what was counted there, returns better ones."""
Look: TypeAlias = Generator[Voltages, Side, Side]
Search: TypeAlias = Generator[Voltages, Side, Found]

SAMPLE_S = 0.2
"""As long as voltages take to settle: with the default light, 500 and 100 bits."""

FEWEST_BITS = 50
"""Of each basis at each point: a rate is known to 0.07, where it varies by 1."""

ENOUGH_BITS = 200
"""To say of a place that its errors are few: 2 % more than the fewest are 2.5 sigma."""
FAR = 0.1
"""Errors beyond what is wanted by so much need no more bits."""

ROUNDS = 6
"""Of all channels' circles, before a survey is tried again: where one led astray, the next will."""

CHANNELS_PER_PROBE = 2
"""So often the last good voltages are looked at: whoever bent a fibre may have let go of it."""


def _tetrahedron() -> npt.NDArray[np.float64]:
    """Return its (12, 3, 3) rotations. Their mean of ``(K . S) S`` is K / 3, for each 3x3 K."""
    halves = [np.diag(signs) for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    third = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    thirds = (np.eye(3), third, third @ third)
    return np.array([half @ turn for turn in thirds for half in halves], dtype=np.float64)


TETRAHEDRON = _tetrahedron()


def search(
    squeezers: Squeezers, here_mv: Voltages, good_mv: Voltages, wanted: Rates, *, max_qber: float
) -> Search:
    """Look until both bases' errors are as few as they should be.

    ``wanted`` by basis; where nothing has so few, ``max_qber`` will do for both. ``good_mv``, the
    last that were good, are looked at now and then.
    """
    while True:
        surveyed = squeezers.can_turn_anywhere(here_mv)
        if surveyed:
            here_mv = yield from _survey(squeezers, here_mv)
        for channel in ROUNDS * tuple(range(len(here_mv))):
            here = yield from _look(here_mv, wanted)
            if _are_few(here, wanted):
                return Found(here_mv, here, best=surveyed)
            surveyed = False
            if channel % CHANNELS_PER_PROBE == 0:
                there = yield from _look(good_mv, wanted)
                if _are_few(there, wanted):
                    return Found(good_mv, there, best=True)
            here_mv = yield from _circle(squeezers, here_mv, channel, _sum(here))
        wanted = (max_qber, max_qber)


def _look(voltages_mv: Voltages, wanted: Rates) -> Look:
    """Count until it is known whether the errors are few."""
    side = Side()
    while min(side.matched) < ENOUGH_BITS:
        more = yield voltages_mv
        side.add((more.matched[0], more.matched[1]), (more.errors[0], more.errors[1]))
        if any(side.rate(basis)[0] > wanted[basis] + FAR for basis in range(2)):
            break
    return side


def _survey(squeezers: Squeezers, here_mv: Voltages) -> Walk:
    """Return the voltages that suit the light best.

    With S the squeezers' rotation each basis' error rate is ``1/2 - K . S``: K is the product of
    what was sent and what is measured, each seen through the fibre on its side. The fewest errors
    of both bases are at the rotation nearest to the sum of their K (Schoenemann 1966, Psychometrika
    31, 1; with determinant 1: Kabsch 1976, Acta Cryst. A32, 922).
    """
    both = np.zeros((3, 3))
    for rotation in TETRAHEDRON @ squeezers.rotation(here_mv):
        side = yield squeezers.voltages_for(rotation)
        both += (1.0 - _sum(side)) * rotation
    left, _, right = np.linalg.svd(both)
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return squeezers.voltages_for(left @ handed @ right)


def _circle(squeezers: Squeezers, here_mv: Voltages, channel: int, here: float) -> Walk:
    """Return the voltages with fewest errors on one channel's circle; ``here``: those of now."""

    def at(voltage_mv: float) -> Voltages:
        return (*here_mv[:channel], voltage_mv, *here_mv[channel + 1 :])

    now_mv, sums = here_mv[channel], [here]
    points_mv = [now_mv, *squeezers.two_more(now_mv)]
    for voltage_mv in points_mv[1:]:
        there = yield at(voltage_mv)
        sums.append(_sum(there))
    waves = np.array([_waves(squeezers, mv) for mv in points_mv])
    (mean, cosine, sine), *_ = np.linalg.lstsq(waves, np.array(sums), rcond=None)
    best_mv = squeezers.same_turn(squeezers.rad_to_mv(math.atan2(-sine, -cosine)))
    if best_mv is None:  # then the better end
        ends_mv = (float(squeezers.lowest_mv), float(squeezers.highest_mv))
        best_mv = min(ends_mv, key=lambda mv: _waves(squeezers, mv) @ [mean, cosine, sine])
    return at(best_mv)


def _waves(squeezers: Squeezers, voltage_mv: float) -> npt.NDArray[np.float64]:
    angle_rad = math.pi * voltage_mv / squeezers.half_wave_mv
    return np.array([1.0, math.cos(angle_rad), math.sin(angle_rad)])


def _are_few(side: Side, wanted: Rates) -> bool:
    return all(side.rate(basis)[0] <= wanted[basis] for basis in range(2))


def _sum(side: Side) -> float:
    """Return the sum of both bases' error rates."""
    return sum(side.rate(basis)[0] for basis in range(2))
