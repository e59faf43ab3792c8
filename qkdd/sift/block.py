"""A sifted block, and how its key bits are gathered chunk by chunk in little memory."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.ids import BlockNo
from qkdd.base.light import Intensity


@dataclass(frozen=True, slots=True, eq=False)
class SiftedBlock:
    """One end's key-basis bits of a block, in slot order; the other end's differ by the errors."""

    block_no: BlockNo
    key_bits: Bits
    """(n,) raw key: whoever takes it wipes it."""
    key_intensities: npt.NDArray[np.uint8]
    """(n,) :class:`Intensity` of the pulse behind each key bit."""
    counts: DecoyCounts

    def wipe(self) -> None:
        self.key_bits.fill(0)
        self.key_intensities.fill(0)


def count_intensities(intensities: npt.NDArray[np.uint8]) -> ByIntensity:
    """Return how often each :class:`Intensity` occurs."""
    weak = int(np.count_nonzero(intensities == Intensity.WEAK))
    vacuum = int(np.count_nonzero(intensities == Intensity.VACUUM))
    return (intensities.size - weak - vacuum, weak, vacuum)


def add_counts(left: ByIntensity, right: ByIntensity) -> ByIntensity:
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2])


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    n_bits: int
    planes: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
    """Packed: key bits, low bits and high bits of the intensities."""


class KeyGatherer:
    """Keeps three bits a key bit until the block is complete, then unpacks them once."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self.counts: ByIntensity = (0, 0, 0)

    def add(self, bits: Bits, intensities: npt.NDArray[np.uint8]) -> None:
        self._parts.append(
            _Part(
                bits.size,
                (
                    np.packbits(bits, bitorder="little"),
                    np.packbits(intensities & 1, bitorder="little"),
                    np.packbits(intensities >> 1, bitorder="little"),
                ),
            )
        )
        self.counts = add_counts(self.counts, count_intensities(intensities))

    def finish(
        self, block_no: BlockNo, *, test: ByIntensity, test_errors: ByIntensity
    ) -> SiftedBlock:
        """Hand the block over, and forget it here."""
        key_bits = np.empty(sum(self.counts), np.uint8)
        intensities = np.empty(key_bits.size, np.uint8)
        start = 0
        for part in self._parts:
            here = slice(start, start + part.n_bits)
            bits, low, high = (
                np.unpackbits(plane, count=part.n_bits, bitorder="little") for plane in part.planes
            )
            key_bits[here] = bits
            intensities[here] = low | high << 1
            bits.fill(0)
            start += part.n_bits
        counts = DecoyCounts(key=self.counts, test=test, test_errors=test_errors)
        self.wipe()
        return SiftedBlock(block_no, key_bits, intensities, counts)

    def wipe(self) -> None:
        for part in self._parts:
            for plane in part.planes:
                plane.fill(0)
        self._parts.clear()
