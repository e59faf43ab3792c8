"""The polarisation controller as the feedback loop sees it: channels that turn the sphere."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Rotation: TypeAlias = npt.NDArray[np.float64]
"""(3, 3), of the Poincare sphere."""

Direction: TypeAlias = tuple[float, ...]
"""How far each channel moves, rad per rad of a turn of the sphere."""

FURTHEST = 2.0
"""No channel moves by more than so many times the turn that is asked for; where the axes lie so
near a plane that it would take more, the turn is smaller."""

N_POSTURES = 16
"""So many first angles are tried for a rotation, which four squeezers make in many ways."""


@dataclass(frozen=True, slots=True)
class Squeezers:
    """What the controller can do. Channels turn by half a turn per ``half_wave_mv``."""

    lowest_mv: int
    highest_mv: int
    half_wave_mv: float

    @property
    def has_whole_turn(self) -> bool:
        return self.highest_mv - self.lowest_mv >= 2.0 * self.half_wave_mv

    def rad_to_mv(self, angle_rad: float) -> float:
        return angle_rad * self.half_wave_mv / math.pi

    def fold(self, voltage_mv: float, margin_mv: float) -> float:
        """Return a voltage inside the range, by whole turns of the sphere; else at the rail."""
        turn_mv = 2.0 * self.half_wave_mv
        lowest_mv, highest_mv = self.lowest_mv + margin_mv, self.highest_mv - margin_mv
        if highest_mv - lowest_mv < turn_mv:
            return min(max(voltage_mv, lowest_mv), highest_mv)
        if voltage_mv > highest_mv:
            voltage_mv -= turn_mv * math.ceil((voltage_mv - highest_mv) / turn_mv)
        elif voltage_mv < lowest_mv:
            voltage_mv += turn_mv * math.ceil((lowest_mv - voltage_mv) / turn_mv)
        return min(max(voltage_mv, lowest_mv), highest_mv)  # rounding

    def same_turn(self, voltage_mv: float) -> float | None:
        """Return a voltage of the range that turns as this one does, if there is one: this."""
        if self.lowest_mv <= voltage_mv <= self.highest_mv:
            return voltage_mv
        turn_mv = 2.0 * self.half_wave_mv
        same_mv = self.lowest_mv + (voltage_mv - self.lowest_mv) % turn_mv
        return same_mv if same_mv <= self.highest_mv else None

    def two_more(self, voltage_mv: float) -> tuple[float, float]:
        """Return two voltages that tell a channel's circle together with this one.

        A quarter of a turn to either side; of a range that is shorter than a turn, the two of its
        ends and its middle that are farther away.
        """
        if self.has_whole_turn:
            quarter_mv = self.half_wave_mv / 2.0
            return self.fold(voltage_mv + quarter_mv, 0.0), self.fold(voltage_mv - quarter_mv, 0.0)
        lowest_mv, highest_mv = float(self.lowest_mv), float(self.highest_mv)
        three_mv = (lowest_mv, (lowest_mv + highest_mv) / 2.0, highest_mv)
        _, nearer_mv, farther_mv = sorted(three_mv, key=lambda mv: abs(mv - voltage_mv))
        return nearer_mv, farther_mv

    def apart(self, voltages_mv: tuple[float, ...]) -> tuple[float, ...]:
        """Leave the light as it is, but move four squeezers out of where they cannot turn about
        circular light: if the two in the middle turn by nothing or half a turn, all axes lie in one
        plane.
        """
        if not self.can_turn_anywhere(voltages_mv):
            return voltages_mv
        second, third = (math.pi * mv / self.half_wave_mv for mv in voltages_mv[1:3])
        if math.hypot(math.sin(second), math.sin(third)) > 0.5:
            return voltages_mv
        return self.voltages_for(self.rotation(voltages_mv))

    def directions(self, voltages_mv: tuple[float, ...]) -> tuple[Direction, ...]:
        """Return moves of the channels that turn the sphere about axes at right angles.

        Of four squeezers at 0, 45, 0 and 45 degrees the axes as they are seen behind the last, each
        turned by those behind it, have the Gram matrix below: it does not matter what comes behind.
        Its rank is three, and its three eigenvectors are the moves. Other controllers: channel by
        channel.
        """
        n = len(voltages_mv)
        if n != 4:
            return tuple(tuple(float(i == k) for i in range(n)) for k in range(n))
        second, third = (math.pi * mv / self.half_wave_mv for mv in voltages_mv[1:3])
        squares, moves = np.linalg.eigh(_gram(second, third))
        turns = np.sqrt(np.maximum(squares, FURTHEST**-2))  # about each axis, by a move of length 1
        return tuple(tuple((moves[:, k] / turns[k]).tolist()) for k in (3, 2, 1))

    def can_turn_anywhere(self, voltages_mv: tuple[float, ...]) -> bool:
        """Say whether these are four squeezers, each with a whole turn."""
        return len(voltages_mv) == 4 and self.has_whole_turn

    def rotation(self, voltages_mv: tuple[float, ...]) -> Rotation:
        """Return what four squeezers make; where a real one rests at an angle, it is not this."""
        first, second, third, fourth = (math.pi * mv / self.half_wave_mv for mv in voltages_mv)
        return _about_y(fourth) @ _about_x(third) @ _about_y(second) @ _about_x(first)

    def voltages_for(self, rotation: Rotation) -> tuple[float, ...]:
        """Return voltages at which four squeezers make ``rotation``, their axes far from a plane.

        The first angle is free; the three others are its Euler angles then.
        """
        firsts = 2.0 * math.pi / N_POSTURES * np.arange(N_POSTURES)
        postures = [(first, *_euler(rotation @ _about_x(-first))) for first in firsts.tolist()]
        # the smallest eigenvalue is 0: they are four in three dimensions
        best = max(postures, key=lambda four: np.linalg.eigvalsh(_gram(four[1], four[2]))[1])
        return tuple(self.fold(self.rad_to_mv(math.remainder(a, math.tau)), 0.0) for a in best)


def _gram(second: float, third: float) -> npt.NDArray[np.float64]:
    """Return the products of the four axes, by the angles of the two in the middle."""
    first_on_fourth = math.sin(second) * math.sin(third)
    return np.array(
        [
            [1.0, 0.0, math.cos(second), first_on_fourth],
            [0.0, 1.0, 0.0, math.cos(third)],
            [math.cos(second), 0.0, 1.0, 0.0],
            [first_on_fourth, math.cos(third), 0.0, 1.0],
        ]
    )


def _euler(rotation: Rotation) -> tuple[float, float, float]:
    """Return the angles about y, x, y again, in the order in which the light meets them."""
    about_x = math.acos(min(1.0, max(-1.0, rotation[1, 1])))
    if abs(math.sin(about_x)) < 1e-6:  # then it is one turn about y
        return math.atan2(rotation[0, 2], rotation[0, 0]), about_x, 0.0
    return (
        math.atan2(rotation[1, 0], -rotation[1, 2]),
        about_x,
        math.atan2(rotation[0, 1], rotation[2, 1]),
    )


def _about_x(angle: float) -> Rotation:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])


def _about_y(angle: float) -> Rotation:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
