"""Log-likelihoods in 8 bits, and the decoder's tables.

Everything here is Bob's own affair: Alice's parities do not depend on it.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np
import numpy.typing as npt

from qkdd.kernels.ldpc import COARSE, FINE, LLR_MAX, NEAR

STEPS_PER_NAT = 12.0
"""127 steps reach 10.6 nats; a cap below 9 leaves an error floor of a few bits."""

PHI_STEPS = 1024.0
"""Steps of phi. The inverse table resolves one step up to phi 0.125, 32 up to phi 4."""

PHI_MAX = 4095
"""phi of the smallest magnitudes, in steps: where the inverse table ends."""

SURE = LLR_MAX
"""Log-likelihood of a bit that is known."""

QBER_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class Tables:
    """phi(x) = -ln tanh(x/2) by magnitude, and magnitude by sum of phi (phi is its own inverse).

    ``near`` is -ln(1 - exp(-x)) by magnitude: a check of magnitude m from which a bit of magnitude
    a is taken out again says m + near(a - m) - near(a + m). ``inverse`` and ``near`` are in half
    steps.
    """

    phi: npt.NDArray[np.uint16]
    inverse: npt.NDArray[np.uint8]
    near: npt.NDArray[np.uint8]


def steps(qber: float) -> int:
    """Return ln((1-q)/q) in steps, 0..127."""
    q = min(max(qber, QBER_FLOOR), 0.5)
    return min(LLR_MAX, round(STEPS_PER_NAT * log((1 - q) / q)))


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Return the decoder's tables (see qkdd.kernels.ldpc.decode); a zero counts as a quarter."""
    x = np.maximum(np.arange(LLR_MAX + 1), 0.25) / STEPS_PER_NAT
    fine = np.maximum(np.arange(FINE), 0.25)
    middle = np.arange(FINE) * COARSE + (COARSE - 1) / 2
    magnitude = _phi(np.concatenate([fine, middle]) / PHI_STEPS) * 2 * STEPS_PER_NAT
    magnitude[-1] = 0  # stands for every larger sum
    near = -np.log1p(-np.exp(-x[:NEAR])) * 2 * STEPS_PER_NAT
    near[0] = 2 * LLR_MAX  # without end
    return Tables(
        phi=np.minimum(np.rint(_phi(x) * PHI_STEPS), PHI_MAX).astype(np.uint16),
        inverse=np.clip(np.rint(magnitude - 0.5), 0, 2 * LLR_MAX).astype(np.uint8),
        near=np.rint(near).astype(np.uint8),
    )


def _phi(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return -np.log(np.tanh(x / 2))
