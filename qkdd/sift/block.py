"""A sifted block, and how its key bits are gathered chunk by chunk in little memory."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.ids import BlockNo
from qkdd.kernels.sifting import KeyPlanes
from qkdd.kernels.spread import unpack_spread


@dataclass(frozen=True, slots=True, eq=False)
class SiftedBlock:
    """One end's key-basis bits of a block, in the order of qkdd.kernels.spread; the other end's
    differ by the errors."""

    block_no: BlockNo
    key_bits: Bits
    """(n,) raw key: whoever takes it wipes it."""
    key_intensities: npt.NDArray[np.uint8]
    """(n,) :class:`Intensity` of the pulse behind each key bit."""
    counts: DecoyCounts

    def wipe(self) -> None:
        self.key_bits.fill(0)
        self.key_intensities.fill(0)


def add_counts(left: ByIntensity, right: ByIntensity) -> ByIntensity:
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2])


class KeyGatherer:
    """Keeps three bits a key bit until the block is complete, then unpacks them once."""

    def __init__(self) -> None:
        self._parts: list[KeyPlanes] = []
        self.counts: ByIntensity = (0, 0, 0)

    def add(self, part: KeyPlanes) -> None:
        """Add some bits, which are wiped with the rest."""
        self._parts.append(part)
        self.counts = add_counts(self.counts, part.counts)

    def finish(
        self, block_no: BlockNo, *, test: ByIntensity, test_errors: ByIntensity
    ) -> SiftedBlock:
        """Hand the block over, and forget it here."""
        key_bits, intensities = unpack_spread(self._parts)
        counts = DecoyCounts(key=self.counts, test=test, test_errors=test_errors)
        self.wipe()
        return SiftedBlock(block_no, key_bits, intensities, counts)

    def wipe(self) -> None:
        for part in self._parts:
            for plane in part.planes:
                plane.fill(0)
        self._parts.clear()
