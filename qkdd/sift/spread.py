"""The order of a block's key bits: each stretch of light is spread over the whole block."""

import numpy as np
import numpy.typing as npt

TOGETHER, APART = 8, 1024
"""Bits stay together by eight, moved as one word; the next eight lie a 1024th of the block on."""


def spread(values: npt.NDArray[np.uint8]) -> None:
    """Put the values of a block into this order, in place: every 1024th eight from the first on,
    every 1024th from the second on, and so forth; those behind the last whole 8192 stay.

    Errors come in stretches, where a voltage or a fibre moved. Reconciliation cuts a block into
    frames and buys parities for each by the errors of all: in the order of the light some frames
    would be disclosed whole in a block whose errors are few.
    """
    whole = values[: values.size // (TOGETHER * APART) * (TOGETHER * APART)].view(np.uint64)
    mixed = whole.reshape(-1, APART).T.copy()
    whole[:] = mixed.ravel()
    mixed.fill(0)
