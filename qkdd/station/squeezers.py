"""The polarisation controller as the feedback loop sees it: channels that turn the sphere."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Direction: TypeAlias = tuple[float, ...]
"""How far each channel moves, rad per rad of a turn of the sphere."""

FURTHEST = 2.0
"""No channel moves by more than so many times the turn that is asked for; where the axes lie so
near a plane that it would take more, the turn is smaller."""


@dataclass(frozen=True, slots=True)
class Squeezers:
    """What the controller can do. Channels turn by half a turn per ``half_wave_mv``."""

    lowest_mv: int
    highest_mv: int
    half_wave_mv: float

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

    def apart(self, voltages_mv: tuple[float, ...]) -> tuple[float, ...]:
        """Move four squeezers out of where they cannot turn about circular light.

        They stand at 0, 45, 0 and 45 degrees. If the second and the third turn by nothing or half
        a turn, all four axes lie in one plane. The second a quarter of a turn on and the fourth
        back undo each other while the third is at rest, and then the axes are three at right
        angles.
        """
        if len(voltages_mv) != 4:
            return voltages_mv
        _, second, third, _ = (math.sin(math.pi * mv / self.half_wave_mv) for mv in voltages_mv)
        if math.hypot(second, third) > 0.5:
            return voltages_mv
        quarter_mv = self.half_wave_mv / 2.0
        return (
            voltages_mv[0],
            self.fold(voltages_mv[1] + quarter_mv, 0.0),
            voltages_mv[2],
            self.fold(voltages_mv[3] - quarter_mv, 0.0),
        )

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
        first_on_fourth = math.sin(second) * math.sin(third)
        gram = [
            [1.0, 0.0, math.cos(second), first_on_fourth],
            [0.0, 1.0, 0.0, math.cos(third)],
            [math.cos(second), 0.0, 1.0, 0.0],
            [first_on_fourth, math.cos(third), 0.0, 1.0],
        ]
        squares, moves = np.linalg.eigh(np.array(gram))
        turns = np.sqrt(np.maximum(squares, FURTHEST**-2))  # about each axis, by a move of length 1
        return tuple(tuple((moves[:, k] / turns[k]).tolist()) for k in (3, 2, 1))
