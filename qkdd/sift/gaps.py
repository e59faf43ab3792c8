"""Slots of clicks as gaps: two bytes a click, in memory and on the wire.

The gap of a click is its slot minus the slot of the click before (of the block's first click: plus
one). It is written as ``gap // 65535`` escape words of 65535, then one word ``gap % 65535``, so
each list of slots has exactly one form.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint16]
Slots: TypeAlias = npt.NDArray[np.int64]

ESCAPE = 65_535
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
    if not slots.size:
        return np.empty(0, "<u2")
    gaps = np.empty(slots.size, np.int64)
    gaps[0] = int(slots[0]) - previous
    np.subtract(slots[1:], slots[:-1], out=gaps[1:], dtype=np.int64)
    if gaps.min() < 1:
        raise ValueError(f"slots do not rise strictly after slot {previous}")
    if gaps.max() < ESCAPE:
        return gaps.astype("<u2")
    escapes, rest = np.divmod(gaps, ESCAPE)
    words = np.full(slots.size + int(escapes.sum()), ESCAPE, "<u2")
    words[np.cumsum(escapes + 1) - 1] = rest
    return words


def decode_gaps(words: Words, previous: int, n_clicks: int) -> Slots:
    """Undo :func:`encode_gaps`; the result rises strictly, and has no upper limit yet.

    Raises
    ------
    ValueError
        If the words are not exactly ``n_clicks`` gaps, or a gap is 0.
    """
    slots: Slots = np.cumsum(words, dtype=np.int64)
    slots += previous
    if n_clicks and words.size == n_clicks and words.min() > 0 and words.max() < ESCAPE:
        return slots
    closes = words != ESCAPE
    if words.size and not closes[-1]:
        raise ValueError("the last gap does not end")
    slots = slots[closes]
    if slots.size != n_clicks:
        raise ValueError(f"{slots.size} gaps for {n_clicks} clicks")
    if n_clicks and (slots[0] <= previous or np.any(slots[1:] <= slots[:-1])):
        raise ValueError("a gap is 0")
    return slots
