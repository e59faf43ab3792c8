"""Pulses at the inputs of a simulated TDC1 to its 32-bit words: C kernel and NumPy twin.

A word is ``tick << 5 | inputs`` in its low 32 bits; a dummy, with bit 4 and no input, comes where
half a wrap of the tick's 27 bits passes without a word, so that no wrap can be missed.
"""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

try:
    from drivers.kernels.native.tdc1_words import ffi as _ffi
    from drivers.kernels.native.tdc1_words import lib as _lib
except ImportError:  # no C compiler where this was installed
    _ffi = _lib = None

Backend: TypeAlias = Literal["c", "numpy"]
Ints: TypeAlias = npt.NDArray[np.int64]

TICK_PS = 2_000
DUMMY = 1 << 4
DUMMY_TICKS = 1 << 26
NEVER = (1 << 63) - 1
PATTERN_OF = np.array([0, 1, 2, 4, 8], np.int64)  # by channel

_forced: Backend | None = None


def backends() -> tuple[Backend, ...]:
    """The variants that this machine can run, the fastest first."""
    return ("numpy",) if _lib is None else ("c", "numpy")


def backend() -> Backend:
    """The variant that serves."""
    return _forced or backends()[0]


def force(name: Backend | None) -> None:
    """Let ``name`` serve; ``None`` returns to the fastest. ValueError if it cannot run here."""
    global _forced
    if name is not None and name not in backends():
        raise ValueError(f"no backend {name!r} here; there are {backends()}")
    _forced = name


def words(
    times_ps: Ints,
    channels: npt.NDArray[np.uint8],
    *,
    start: int,
    stop: int | None,
    until: int,
    last: int,
) -> tuple[npt.NDArray[np.uint32], int]:
    """Words of the pulses in ticks ``start <= tick < stop``, and of the dummies up to ``until``.

    Parameters
    ----------
    times_ps : (n,) int64, >= 0, non-decreasing
    channels : (n,) uint8, 1..4
    start, stop, until, last : int
        Ticks of 2 ns; ``stop`` None: all. ``last`` is that of the last word before; no word is
        told earlier.

    Returns
    -------
    words : (m,) uint32
    last : int
        Tick of the last word.
    """
    if channels.size != times_ps.size:
        raise ValueError(f"{times_ps.size} times, {channels.size} channels")
    if backend() == "numpy":
        return _twin(times_ps, channels, start, stop, until, last)
    latest = max(until, int(times_ps[-1]) // TICK_PS if times_ps.size else 0)
    out = np.empty(times_ps.size + max(0, latest - last) // DUMMY_TICKS + 1, np.uint32)
    last_ = _ffi.new("int64_t *", last)
    n = _lib.tdc1_words(
        _ffi.from_buffer("int64_t[]", times_ps),
        _ffi.from_buffer("uint8_t[]", channels),
        times_ps.size,
        start,
        NEVER if stop is None else stop,
        until,
        last_,
        _ffi.from_buffer("uint32_t[]", out, require_writable=True),
    )
    return out[:n], last_[0]


def merged(times_ps: Ints, channels: npt.NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Ticks, rising, each once, and the pattern of the inputs that were hit in it."""
    ticks = times_ps // TICK_PS
    patterns = PATTERN_OF[channels]
    same = ticks[1:] == ticks[:-1]
    if same.any():
        starts = np.flatnonzero(np.concatenate(([True], ~same)))
        patterns = np.bitwise_or.reduceat(patterns, starts)
        ticks = ticks[starts]
    return ticks, patterns


def between(ticks: Ints, patterns: Ints, start: int, stop: int | None) -> tuple[Ints, Ints]:
    """Those of rising ticks that are in ``start <= tick < stop``."""
    first = int(np.searchsorted(ticks, start))
    end = ticks.size if stop is None else int(np.searchsorted(ticks, stop))
    return ticks[first:end], patterns[first:end]


def _twin(
    times_ps: Ints,
    channels: npt.NDArray[np.uint8],
    start: int,
    stop: int | None,
    until: int,
    last: int,
) -> tuple[npt.NDArray[np.uint32], int]:
    ticks, patterns = between(*merged(times_ps, channels), start, stop)
    ticks = np.maximum(ticks, last)
    end = max(until, last, int(ticks[-1]) if ticks.size else last)
    edges = np.concatenate(([last], ticks, [end]))
    silent = np.flatnonzero(np.diff(edges) >= DUMMY_TICKS)
    for gap in reversed(silent):  # rare: each was half a wrap long
        dummies = np.arange(edges[gap] + DUMMY_TICKS, edges[gap + 1] + 1, DUMMY_TICKS)
        if gap < ticks.size and dummies[-1] == ticks[gap]:  # the event itself will do
            dummies = dummies[:-1]
        ticks = np.insert(ticks, gap, dummies)
        patterns = np.insert(patterns, gap, np.full(dummies.size, DUMMY))
    if not ticks.size:
        return np.empty(0, np.uint32), last
    return (ticks << 5 | patterns).astype(np.uint32), int(ticks[-1])  # 27 bits of the tick stay
