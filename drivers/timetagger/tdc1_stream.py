"""The TDC1's unframed stream of words, as pure bytes in and tags out.

The stream has no header, no frame and no check. What shows that something is wrong:

- *Silence.* A dummy event comes after about 140 ms without an event, so two words more than
  `SILENCE_TICKS` apart mean that words are missing.
- *A slip.* At high rates two bytes can go missing (S15lib, ``read_timestamps_bin3``). From there
  on every word is made of two halves and time runs hundreds of times too fast. The alignment
  under which it runs slowest, and under which events have inputs, is the true one.

What cannot show: an overflow of the tagger's FIFO that lasts less than a wrap leaves a hole like
any other dark moment, and the times after it are still right. Only ``STATUS?`` tells, and may be
asked only after the acquisition.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from drivers.kernels import tdc1
from drivers.tags import TagBlock

T = TypeVar("T", bound=np.generic)

SILENCE_TICKS = 90_000_000
"""180 ms: the dummy events' "about 140 ms", with room for what "about" may mean."""

PIECE_BYTES = 4 * 16384
"""Decoded at once; at most one slip is repaired in each piece."""

SLIP_MIN_WORDS = 16
SLIP_MIN_TICKS = 2 * tdc1.WRAP_TICKS
SLIP_RATIO = 8
"""Time must run so many times slower under the other alignment to believe in a slip."""
HOLLOW_SHARE = 1 / 64
"""Halves of true words have no input in 1 of 32; this tells a slip from a periodic signal."""


class Tdc1Decoder:
    """Takes bytes cut anywhere; remembers at most three of them."""

    def __init__(self) -> None:
        self._rest = b""
        self._last_tick: int | None = None
        self.n_slips = 0

    @property
    def until_ps(self) -> int:
        """Time of the last word so far."""
        return (self._last_tick or 0) * tdc1.TICK_PS

    def feed(self, data: bytes | bytearray | memoryview) -> TagBlock:
        """Decode what came; a block without tags is a legal answer."""
        stream = np.frombuffer(self._rest + bytes(data), np.uint8)
        parts: list[tdc1.Decoded] = []
        lost = False
        at = 0
        while stream.size - at >= 4:
            piece = stream[at : at + min(PIECE_BYTES, (stream.size - at) & ~3)]
            decoded, n_taken, piece_lost = self._piece(piece)
            parts.append(decoded)
            at += n_taken
            lost |= piece_lost
        self._rest = stream[at:].tobytes()
        return TagBlock(
            times_ps=_joined([part.times_ps for part in parts], np.int64),
            channels=_joined([part.channels for part in parts], np.uint8),
            until_ps=self.until_ps,
            lost=lost,
        )

    def skip_wraps(self, n_wraps: int) -> None:
        """Count wraps that the stream did not show, because its words were lost."""
        self._last_tick = (self._last_tick or 0) + n_wraps * tdc1.WRAP_TICKS

    def _piece(self, piece: npt.NDArray[np.uint8]) -> tuple[tdc1.Decoded, int, bool]:
        """Decode whole words up to a slip; return also the bytes taken, and whether all is well."""
        if self._last_tick is None:
            self._last_tick = int(piece[:4].view("<u4")[0]) >> 5
        decoded = tdc1.decode(piece, self._last_tick)
        n_taken = piece.size
        lost = decoded.longest_step > SILENCE_TICKS
        if decoded.last_tick - self._last_tick >= SLIP_MIN_TICKS:
            slip = find_slip(piece, self._last_tick)
            if slip is not None:
                n_words, n_skipped = slip
                decoded = tdc1.decode(piece[: 4 * n_words], self._last_tick)
                n_taken = 4 * n_words + n_skipped
                self.n_slips += 1
                lost = True
        self._last_tick = decoded.last_tick
        return decoded, n_taken, lost


def find_slip(piece: npt.NDArray[np.uint8], last_tick: int) -> tuple[int, int] | None:
    """Find where whole words end, and how many bytes (1 to 3) to skip there.

    Tries every place and every skip, and takes the pair under which the clock runs slowest in
    all: words before the place as they are, words behind it from the skipped bytes on.

    Parameters
    ----------
    piece : (4 n,) uint8
        Words that are suspected.
    last_tick : int
        Tick of the word before.

    Returns
    -------
    (n_words, n_skipped), or None if no alignment is clearly better than the one we have.
    """
    n_words = piece.size // 4
    if n_words < SLIP_MIN_WORDS:
        return None
    straight = np.cumsum(_steps(piece, last_tick % tdc1.WRAP_TICKS))
    before = np.concatenate([[0], straight[:-1]])
    best: tuple[int, int, int] | None = None
    for skip in (1, 2, 3):
        shifted = np.cumsum(_steps(piece[skip : skip + 4 * (n_words - 1)], None))
        total = before + np.concatenate([shifted[-1] - shifted, [0]])
        place = int(np.argmin(total))
        if best is None or total[place] < best[0]:
            best = (int(total[place]), place, skip)
    assert best is not None
    total_ticks, place, skip = best
    realigned = tdc1.decode(piece[4 * place + skip : piece.size - 4 + skip].copy(), 0)
    n_behind = n_words - 1 - place
    slower = total_ticks - before[place]
    faster = straight[-1] - before[place]
    if (
        n_behind < SLIP_MIN_WORDS
        or slower * SLIP_RATIO > faster
        or realigned.n_hollow > HOLLOW_SHARE * n_behind
    ):
        return None
    return place, skip


def _steps(data: npt.NDArray[np.uint8], last: int | None) -> npt.NDArray[np.int64]:
    """Steps of time between words, in ticks; the first one from ``last``, or 0."""
    times = (np.frombuffer(data.tobytes(), "<u4") >> np.uint32(5)).astype(np.int64)
    return np.diff(times, prepend=times[0] if last is None else last) % tdc1.WRAP_TICKS


def _joined(arrays: list[npt.NDArray[T]], dtype: type[T]) -> npt.NDArray[T]:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
