"""When photons come: a Poisson process on a line of pulses, C kernel and NumPy twin.

The caller throws the dice; both variants make the same of them, bit for bit.
"""

import math
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

try:
    from drivers.kernels.native.arrivals import ffi as _ffi
    from drivers.kernels.native.arrivals import lib as _lib
except ImportError:  # no C compiler where this was installed
    _ffi = _lib = None

Backend: TypeAlias = Literal["avx512", "avx2", "c", "numpy"]
Ints: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]

SQRT_HALF_BITS = 0x3FE6A09E00000000  # of a double just below sqrt(1/2)
EXPONENT = ~0 << 52

_KERNELS: tuple[Backend, ...] = ("c", "avx2", "avx512")
_BACKENDS: tuple[Backend, ...] = (
    *(
        name
        for variant, name in reversed([*enumerate(_KERNELS)])
        if _lib is not None and _lib.arrivals_supported(variant)
    ),
    "numpy",
)
_forced: Backend | None = None


def backends() -> tuple[Backend, ...]:
    """The variants that this machine can run, the fastest first."""
    return _BACKENDS


def backend() -> Backend:
    """The variant that serves."""
    return _forced or backends()[0]


def force(name: Backend | None) -> None:
    """Let ``name`` serve; ``None`` returns to the fastest. ValueError if it cannot run here."""
    global _forced
    if name is not None and name not in backends():
        raise ValueError(f"no backend {name!r} here; there are {backends()}")
    _forced = name


def variant() -> int:
    """The number of the compiled variant that serves, for C that calls it; 0 if none does."""
    name = backend()
    return 0 if name == "numpy" else _KERNELS.index(name)


def place(words: Words, *, at: float, per_pulse: float, n_pulses: int) -> tuple[Ints, float]:
    """Pulses of independent Poisson events, ``per_pulse`` > 0 on average in each.

    Parameters
    ----------
    words : (n,) uint64
        One throw for each event to come; the upper 31 bits are the gap before it, the rest is
        free. The gap of the first is in ``at`` already.
    at : float
        Where the first event is, in means: ``per_pulse`` to a pulse.

    Returns
    -------
    pulses : (m,) int64, non-decreasing, 0 <= i < n_pulses, m < n
        One for each event, up to the end of the line, or to the last word but one.
    at : float
        Where the next event is, word ``m``: at or past ``per_pulse * n_pulses`` if words sufficed.

    Notes
    -----
    Gaps are exponential to 1e-10 of themselves, and none is longer than 22 means (2e-10 of all).
    """
    if not (per_pulse > 0.0 and at >= 0.0 and n_pulses >= 0 and words.size):
        raise ValueError(f"{words.size} words, at {at}, {per_pulse} per pulse, {n_pulses} pulses")
    if backend() == "numpy":
        return _twin(words, at, per_pulse, n_pulses)
    pulses = np.empty(words.size - 1, np.int64)
    place_ = _ffi.new("double *", at)
    n = _lib.arrivals_place(
        variant(),
        _ffi.from_buffer("uint64_t[]", words),
        words.size,
        place_,
        per_pulse,
        n_pulses,
        _ffi.from_buffer("int64_t[]", pulses, require_writable=True),
    )
    return pulses[:n], place_[0]


def first_gap(word: int) -> float:
    """The gap that a word stands for, in means."""
    return float(_gaps(np.array([word], np.uint64))[0])


def _twin(words: Words, at: float, per_pulse: float, n_pulses: int) -> tuple[Ints, float]:
    end = per_pulse * n_pulses
    places = np.cumsum(np.concatenate(([at], _gaps(words[1:]))))  # adds one after the other
    n = min(int(np.searchsorted(places, end)), words.size - 1)
    pulses = (places[:n] * (1.0 / per_pulse)).astype(np.int64)
    return np.minimum(pulses, n_pulses - 1), float(places[n])


def _gaps(words: Words) -> npt.NDArray[np.float64]:
    bits = ((words >> np.uint64(33)).astype(np.float64) + 0.5).view(np.int64)
    above = bits - SQRT_HALF_BITS
    power = (above >> 52).astype(np.float64)
    x = (bits - (above & EXPONENT)).view(np.float64)
    s = (x - 1.0) / (x + 1.0)
    z = s * s
    series = np.full(words.size, 1.0 / 11.0)
    for divisor in (9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * z + 1.0 / divisor
    gaps: npt.NDArray[np.float64] = (31.0 - power) * math.log(2.0) - 2.0 * s * series
    return gaps
