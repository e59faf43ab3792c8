"""What a receiver has seen of one block once it is sifted; counts only, and all of the block."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensities

Four = tuple[int, int, int, int]
ALL_BUT_ONE = 1.0 - 1e-9
"""No mean explains that every pulse clicks; impossible counts must not become infinite ones."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The counts that the monitors judge. Raises ValueError if one is negative."""

    n_pulses: int
    """Pulses that could make key."""
    seconds: float
    """How long they took."""
    gate_share: float
    """Part of the time in which a click counts: gate over period, at most 1."""
    dead_time_s: float
    """Of all detectors together, after an event of any."""
    detectors: Four
    """Clicks by detector, basis * 2 + bit, double and cross clicks settled."""
    n_double: int
    n_cross: int
    n_out_of_gate: int
    n_dead: int
    counts: DecoyCounts
    """Sifted, by intensity."""

    def __post_init__(self) -> None:
        numbers = (*self.detectors, self.n_double, self.n_cross, self.n_out_of_gate, self.n_dead)
        if min(numbers) < 0 or self.n_pulses <= 0 or not self.seconds > 0:
            raise ValueError(f"impossible counts {self}")

    @property
    def n_clicks(self) -> int:
        return sum(self.detectors)

    @property
    def key_share(self) -> float:
        """Part of the clicks that fell in the key basis: what the receiver's splitter does."""
        return (self.detectors[0] + self.detectors[1]) / max(1, self.n_clicks)

    @property
    def live(self) -> float:
        """Part of the pulses that met no dead detector.

        Every click begins a dead time, which spares its own pulse, and every event inside of one
        prolongs it, by half on average. A detector that recovers is silent, so that the number
        of dead events alone is no measure. Within 3 % of the truth where a fifth is dead.
        """
        dead_times = self.n_clicks + self.n_out_of_gate + self.n_dead / 2
        each_s = max(0.0, self.dead_time_s - self.seconds / self.n_pulses / 2)
        return max(0.0, 1.0 - each_s * dead_times / self.seconds)


def exposure(sight: Sight, intensities: Intensities) -> tuple[float, float, float]:
    """Pulses of each intensity whose click, if there is one, is sifted; on average.

    Of the live pulses those count where the receiver's splitter falls as the transmitter chose.
    """
    key = intensities.key_basis_share
    kept = key * sight.key_share + (1 - key) * (1 - sight.key_share)
    scale = sight.n_pulses * sight.live * kept
    signal, weak, vacuum = intensities.probabilities
    return (scale * signal, scale * weak, scale * vacuum)


def means(sight: Sight, intensities: Intensities) -> tuple[float, float, float]:
    """Mean number of detections in a pulse of each intensity, over all four detectors."""
    signal, weak, vacuum = (
        -math.log1p(-min(count / pulses, ALL_BUT_ONE)) if pulses else 0.0
        for count, pulses in zip(
            sifted_by_intensity(sight), exposure(sight, intensities), strict=True
        )
    )
    return (signal, weak, vacuum)


def sifted_by_intensity(sight: Sight) -> tuple[int, int, int]:
    """Sifted clicks of both bases, by intensity."""
    key, test = sight.counts.key, sight.counts.test
    return (key[0] + test[0], key[1] + test[1], key[2] + test[2])


class Tally:
    """Gathers a block's sight, frame by frame, while it is measured."""

    def __init__(self) -> None:
        self._detectors = [0, 0, 0, 0]
        self._n_double = self._n_cross = self._n_out_of_gate = self._n_dead = 0

    def add(
        self,
        detectors: npt.NDArray[np.uint8],
        *,
        n_double: int,
        n_cross: int,
        n_out_of_gate: int,
        n_dead: int,
    ) -> None:
        """Add one frame: (n,) basis * 2 + bit of its settled clicks, and its odd events."""
        test, bit = detectors >= 2, (detectors & 1).view(np.bool_)
        n_test, n_bit, n_both = (int(np.count_nonzero(one)) for one in (test, bit, test & bit))
        each = (detectors.size - n_test - n_bit + n_both, n_bit - n_both, n_test - n_both, n_both)
        for detector, n in enumerate(each):
            self._detectors[detector] += n
        self._n_double += n_double
        self._n_cross += n_cross
        self._n_out_of_gate += n_out_of_gate
        self._n_dead += n_dead

    def sight(
        self,
        counts: DecoyCounts,
        *,
        n_pulses: int,
        seconds: float,
        gate_share: float,
        dead_time_s: float,
    ) -> Sight:
        """Put it together with what sifting counted."""
        key0, key1, test0, test1 = self._detectors
        return Sight(
            n_pulses=n_pulses,
            seconds=seconds,
            gate_share=gate_share,
            dead_time_s=dead_time_s,
            detectors=(key0, key1, test0, test1),
            n_double=self._n_double,
            n_cross=self._n_cross,
            n_out_of_gate=self._n_out_of_gate,
            n_dead=self._n_dead,
            counts=counts,
        )
