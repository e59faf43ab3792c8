"""Log-likelihoods in 8 bits, and the decoder's two tables.

Everything here is Bob's own affair: Alice's parities do not depend on it.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log, tanh

import numpy as np
import numpy.typing as npt

from qkdd.kernels.ldpc import LLR_MAX

STEPS_PER_NAT = 12.0
"""127 steps reach 10.6 nats; a cap below 9 leaves an error floor of a few bits."""

PHI_STEPS = 160.0
"""Steps of phi where rows are narrow enough; phi(0.04 nat) is the largest that 255 steps hold."""

FIRST_SUM = 190.0
"""The first pass's sums must stay well inside the 256 entries of the inverse table."""

SURE = LLR_MAX
"""Log-likelihood of a bit that is known."""

QBER_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class Tables:
    """phi(x) = -ln tanh(x/2) by magnitude, and magnitude by sum of phi (phi is its own inverse)."""

    phi: npt.NDArray[np.uint8]
    inverse: npt.NDArray[np.uint8]


def steps(qber: float) -> int:
    """Return ln((1-q)/q) in steps, 0..127."""
    q = min(max(qber, QBER_FLOOR), 0.5)
    return min(LLR_MAX, round(STEPS_PER_NAT * log((1 - q) / q)))


@lru_cache(maxsize=32)
def tables(qber_ppm: int, row_width: int) -> Tables:
    """Return the tables for rows of ``row_width`` bits at a QBER.

    phi's step is chosen so that the first sum (all bits alike) fits, and so that phi of the
    channel's own value is a whole number of steps: its rounding would shift every first sum alike.
    """
    first = phi(steps(qber_ppm * 1e-6) / STEPS_PER_NAT)
    scale = min(PHI_STEPS, FIRST_SUM / ((row_width - 1) * first))
    scale = max(1, int(scale * first)) / first
    x = np.maximum(np.arange(LLR_MAX + 1), 0.25) / STEPS_PER_NAT
    sums = np.maximum(np.arange(256), 0.25) / scale
    magnitude = -np.log(np.tanh(sums / 2)) * STEPS_PER_NAT
    return Tables(
        phi=np.minimum(np.rint(-np.log(np.tanh(x / 2)) * scale), 255).astype(np.uint8),
        inverse=np.minimum(np.rint(magnitude), LLR_MAX).astype(np.uint8),
    )


def phi(x: float) -> float:
    """Return -ln tanh(x/2)."""
    return -log(tanh(max(x, 1e-3) / 2))
