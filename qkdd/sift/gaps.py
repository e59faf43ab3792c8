"""Slots of clicks as gaps: two bytes a click, in memory and on the wire.

The gap of a click is its slot minus the slot of the click before (of the block's first click: plus
one). It is written as ``gap // 65535`` escape words of 65535, then one word ``gap % 65535``, so
each list of slots has exactly one form.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qkdd.kernels import gaps

Words: TypeAlias = npt.NDArray[np.uint16]
Slots: TypeAlias = npt.NDArray[np.int64]

ESCAPE = gaps.ESCAPE
MAX_BLOCK_PULSES = 15_000_000_000
"""All the escapes of such a block fit into one message of the wire, beside a chunk of clicks."""

MAX_ESCAPES = MAX_BLOCK_PULSES // ESCAPE
"""A whole block cannot need more: its gaps add up to its length."""


def encode_gaps(slots: npt.NDArray[np.uint32], previous: int) -> Words:
    """Write strictly rising ``slots``, the first above ``previous`` (-1 at the block's start).

    Both count from the same pulse, whichever that is: ``previous`` may lie far before it.

    Raises
    ------
    ValueError
        If they do not rise.
    """
    return gaps.encode(slots, previous)


def decode_gaps(
    words: Words,
    previous: int,
    n_clicks: int,
    frame_pulses: int = MAX_BLOCK_PULSES,
    room: Slots | None = None,
) -> tuple[Slots, int]:
    """Undo :func:`encode_gaps`; return also the lowest place of a slot in its frame.

    The slots rise strictly, and have no upper limit yet. They may come to lie in ``room``.

    Raises
    ------
    ValueError
        If the words are not exactly ``n_clicks`` gaps, or a gap is 0.
    """
    return gaps.decode(words, previous, n_clicks, frame_pulses, room)
