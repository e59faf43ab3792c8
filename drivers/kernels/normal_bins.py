"""The normal distribution as a table of equal bins, for throwing by Walker's alias method.

Bins are SIGMA / 64 wide and reach from -8 to 8 sigma; inside a bin the density is taken as even,
which is wrong by 1e-4 of it at 1 sigma, and the probability of each bin is right to 2**-32.
"""

import math

import numpy as np
import numpy.typing as npt

N_BINS = 1024
REACH_SIGMAS = 8
CELL = 1 << 22
"""What a bin would hold if all were alike; the weights of all bins sum to N_BINS * CELL."""


def weights() -> list[int]:
    """Probability of each bin in 1 / (N_BINS * CELL), the rounding's rest in the middle."""
    half = N_BINS // 2
    step = REACH_SIGMAS / half
    above = [0.5 * math.erfc(k * step / math.sqrt(2.0)) for k in range(half + 1)]
    upper = [round((above[k] - above[k + 1]) * N_BINS * CELL) for k in range(half)]
    upper[0] += half * CELL - sum(upper)
    return upper[::-1] + upper


def alias_table() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """For each bin: the throw below CELL that means the bin itself, and what others mean."""
    left = weights()
    own, alias = np.full(N_BINS, CELL, np.uint32), np.arange(N_BINS, dtype=np.uint16)
    small = [i for i, weight in enumerate(left) if weight < CELL]
    large = [i for i, weight in enumerate(left) if weight >= CELL]
    while small:
        i, j = small.pop(), large[-1]
        own[i], alias[i] = left[i], j
        left[j] -= CELL - left[i]
        if left[j] < CELL:
            small.append(large.pop())
    return own, alias


OWN_BELOW, ALIAS = alias_table()
