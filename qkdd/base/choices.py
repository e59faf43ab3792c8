"""The transmitter's choices of a block or of calibration pulses, looked up from their seed."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qkdd.base.light import BASIS_SCALE, INTENSITY_SCALE, Basis, Intensities, Intensity
from qkdd.base.secret import Secret
from qkdd.kernels.choices import SEED_BYTES, lookup_states

StateCodes: TypeAlias = npt.NDArray[np.uint8]
"""One uint8 per pulse: bit | basis << 1 | intensity << 2."""

Pulses: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.uint32]


def bits_of(states: StateCodes) -> StateCodes:
    return states & np.uint8(1)


def bases_of(states: StateCodes) -> StateCodes:
    """Return each state's :class:`Basis` as uint8."""
    return states >> np.uint8(1) & np.uint8(1)


def intensities_of(states: StateCodes) -> StateCodes:
    """Return each state's :class:`Intensity` as uint8."""
    return states >> np.uint8(2)


def state_code(basis: Basis, bit: int, intensity: Intensity) -> int:
    return bit | basis << 1 | intensity << 2


class ChoiceSource:
    """Expands the seed of one block where it is asked.

    It owns the seed: :meth:`wipe` ends it, and with it every choice not yet looked up.
    """

    def __init__(self, seed: Secret, intensities: Intensities) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self._intensities = intensities

    def states(self, pulses: Pulses) -> StateCodes:
        """Look up the state codes of ``pulses``.

        Parameters
        ----------
        pulses : (n,) int64 or uint32
            Choice indices: pulse numbers counted from the start of the block.
        """
        return lookup_states(
            self._seed.reveal(),
            pulses,
            key_threshold=self._intensities.key_threshold,
            signal_threshold=self._intensities.signal_threshold,
            weak_threshold=self._intensities.weak_threshold,
        )

    def wipe(self) -> None:
        self._seed.wipe()


def calibration_states(seed: bytes) -> Callable[[Pulses], StateCodes]:
    """Return the lookup of a run's calibration pulses, by pulse number; their seed is public.

    All are signals, and either basis is as likely as the other, whatever the payload's is: what
    the errors of both bases tell of the light should be known equally well.
    """

    def states(pulses: Pulses) -> StateCodes:
        return lookup_states(
            memoryview(seed),
            pulses,
            key_threshold=BASIS_SCALE // 2,
            signal_threshold=INTENSITY_SCALE,
            weak_threshold=0,
        )

    return states
