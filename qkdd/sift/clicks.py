"""The clicks of one block, as Bob keeps them until the block has been sifted.

A click takes two bytes for its slot and one bit each for basis and bit. Slots and bases are kept
in the form in which they will be announced; the bits are raw key and never leave.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkdd.kernels.sifting import split_detectors
from qkdd.sift.gaps import Words, encode_gaps

CHUNK_CLICKS = 1 << 18
"""Clicks of one message: 576 KiB, and 704 KiB at most when the light is faint."""


@dataclass(frozen=True, slots=True, eq=False)
class ClickChunk:
    """Up to ``CHUNK_CLICKS`` consecutive clicks of a block."""

    n_clicks: int
    gaps: Words
    bases: npt.NDArray[np.uint8]
    """Packed, bit 0 first."""
    bits: npt.NDArray[np.uint8]
    """Packed, bit 0 first. Raw key."""

    def wipe(self) -> None:
        for array in (self.gaps, self.bases, self.bits):
            array.fill(0)


def chunk_count(n_clicks: int, chunk_clicks: int = CHUNK_CLICKS) -> int:
    """Return into how many chunks a block's clicks are cut: all full but the last, at least 1."""
    return max(1, -(-n_clicks // chunk_clicks))


class ClickStore:
    """Takes a block's clicks frame by frame, in slot order; gives them back chunk by chunk."""

    def __init__(self, chunk_clicks: int = CHUNK_CLICKS) -> None:
        self._chunk_clicks = chunk_clicks
        self._chunks: list[ClickChunk | None] = []
        self._words: list[Words] = []
        self._detectors = np.zeros(chunk_clicks, np.uint8)
        self._n_open = 0
        self._last_slot = -1
        self._closed = False
        self.n_clicks = 0

    def append(
        self, slots: npt.NDArray[np.uint32], detectors: npt.NDArray[np.uint8], start: int = 0
    ) -> None:
        """Add the clicks of one frame.

        Parameters
        ----------
        slots : (n,) uint32, strictly rising, above all slots so far
            Pulses counted from ``start``.
        detectors : (n,) uint8, 0..3
            basis * 2 + bit.
        start : int
            The frame's first pulse, counted from the start of the block.

        Raises
        ------
        ValueError
            If they are not so; nothing has been added then.
        """
        if self._closed:
            raise RuntimeError("the block has ended: no click can be added")
        if slots.shape != detectors.shape or slots.dtype != np.uint32:
            raise ValueError(f"{slots.dtype}{slots.shape} slots, {detectors.shape} detectors")
        if detectors.size and detectors.max() > 3:
            raise ValueError(f"detector {detectors.max()} is not 0..3")
        before = self._last_slot - start
        if slots.size and (int(slots[0]) <= before or np.any(slots[1:] <= slots[:-1])):
            raise ValueError(f"slots do not rise strictly after slot {self._last_slot}")
        done = 0
        while done < slots.size:
            stop = done + self._chunk_clicks - self._n_open
            done += self._fill(slots[done:stop], detectors[done:stop], start)

    def _fill(
        self, slots: npt.NDArray[np.uint32], detectors: npt.NDArray[np.uint8], start: int
    ) -> int:
        self._words.append(encode_gaps(slots, self._last_slot - start))
        self._detectors[self._n_open : self._n_open + slots.size] = detectors
        self._n_open += slots.size
        self.n_clicks += slots.size
        self._last_slot = start + int(slots[-1])
        if self._n_open == self._chunk_clicks:
            self._seal()
        return slots.size

    def _seal(self) -> None:
        detectors = self._detectors[: self._n_open]
        bases, bits = split_detectors(detectors)
        gaps = np.concatenate(self._words) if self._words else np.empty(0, "<u2")
        self._chunks.append(ClickChunk(self._n_open, gaps, bases, bits))
        detectors.fill(0)
        self._words.clear()
        self._n_open = 0

    def close(self) -> None:
        """Seal the last chunk; the number of clicks is known from now on."""
        if not self._closed:
            if self._n_open or not self._chunks:
                self._seal()
            self._closed = True
            self._detectors = np.zeros(0, np.uint8)
            assert len(self._chunks) == chunk_count(self.n_clicks, self._chunk_clicks)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def n_chunks(self) -> int:
        return len(self._chunks)

    def chunk(self, index: int) -> ClickChunk:
        chunk = self._chunks[index]
        if chunk is None:
            raise RuntimeError(f"chunk {index} has been wiped")
        return chunk

    def __iter__(self) -> Iterator[ClickChunk]:
        return (self.chunk(index) for index in range(len(self._chunks)))

    def wipe_chunk(self, index: int) -> None:
        """Zero one chunk and give its memory back."""
        chunk = self._chunks[index]
        if chunk is not None:
            chunk.wipe()
            self._chunks[index] = None

    def wipe(self) -> None:
        for index in range(len(self._chunks)):
            self.wipe_chunk(index)
        for words in self._words:
            words.fill(0)
        self._detectors.fill(0)
        self._closed = True
