"""From candidate photons to detector clicks: C kernels and their NumPy twins, equal bit for bit.

The caller throws all dice. A click travels as a *key*, ``time_ps << 2 | detector`` in one int64:
keys sort by time, and equal times by detector.
"""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

try:
    from drivers.kernels.native.clicks import ffi as _ffi
    from drivers.kernels.native.clicks import lib as _lib
except ImportError:  # no C compiler where this was installed
    _ffi = _lib = None

Backend: TypeAlias = Literal["c", "numpy"]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

ATTACK_SCALE = 1 << 30
RUNG_SCALE = 1 << 32

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


def split(
    pulses: Ints,
    states: Bytes,
    words: npt.NDArray[np.uint64],
    *,
    rungs: npt.NDArray[np.uint64],
    attacked_below: int,
) -> tuple[Ints, Bytes]:
    """Thin candidates by their intensity and choose the detector of what is left.

    Parameters
    ----------
    pulses : (n,) int64, non-decreasing
        Candidate events; equal numbers are events of one pulse.
    states : (n,) uint8 below 16
        What the transmitter sent in these pulses.
    words : (n,) uint64
        One throw each: the lower half chooses the detector, the upper half of a pulse's first
        word is the eavesdropper's (30 bits whether, 1 bit basis, 1 bit outcome).
    rungs : (16, 4) uint64
        Rising ends of the detectors' ranges, by state, in 1 / RUNG_SCALE.
    attacked_below : int, 0..ATTACK_SCALE
        Attacked share of the pulses, in 1 / ATTACK_SCALE.

    Returns
    -------
    pulses, detectors : (m,) int64, (m,) uint8 0..3
    """
    n = pulses.size
    if not (states.size == words.size == n and rungs.shape == (16, 4)):
        raise ValueError(f"{n} pulses, {states.size} states, {words.size} words, {rungs.shape}")
    if not 0 <= attacked_below <= ATTACK_SCALE:
        raise ValueError(f"attacked_below {attacked_below} is outside 0..{ATTACK_SCALE}")
    if backend() == "numpy":
        return _split_twin(pulses, states, words, rungs, attacked_below)
    out_pulses, out_detectors = np.empty(n, np.int64), np.empty(n, np.uint8)
    view = _ffi.from_buffer
    kept = _lib.clicks_split(
        view("int64_t[]", pulses),
        view("uint8_t[]", states),
        view("uint64_t[]", words),
        n,
        view("uint64_t[]", rungs),
        attacked_below,
        view("int64_t[]", out_pulses, require_writable=True),
        view("uint8_t[]", out_detectors, require_writable=True),
    )
    return out_pulses[:kept], out_detectors[:kept]


def stamp(
    pulses: Ints,
    detectors: Bytes,
    normals: npt.NDArray[np.float32],
    *,
    period_ps: float,
    origin_ps: float,
    sigma_ps: float,
    limit_ps: float,
) -> Ints:
    """Keys of clicks: ``pulse * period + origin + jitter``, to the nearest ps (ties to even).

    ``normals`` (n,) are standard normal; the jitter is cut at ``limit_ps``, so that a bound on how
    early a click can come exists. Times stay below 2**51 ps in magnitude.
    """
    n = pulses.size
    if not detectors.size == normals.size == n:
        raise ValueError(f"{n} pulses, {detectors.size} detectors, {normals.size} normals")
    if backend() == "numpy":
        jitter = np.clip(normals.astype(np.float64) * sigma_ps, -limit_ps, limit_ps)
        times = pulses.astype(np.float64) * period_ps + origin_ps
        return np.rint(times + jitter).astype(np.int64) * 4 + detectors
    keys = np.empty(n, np.int64)
    view = _ffi.from_buffer
    _lib.clicks_stamp(
        view("int64_t[]", pulses),
        view("uint8_t[]", detectors),
        view("float[]", normals),
        n,
        period_ps,
        origin_ps,
        sigma_ps,
        limit_ps,
        view("int64_t[]", keys, require_writable=True),
    )
    return keys


def recover(keys: Ints, last_ps: Ints, *, recovery_ps: int) -> Ints:
    """Keys that live detectors see: each is blind for ``recovery_ps`` after its own clicks.

    ``keys`` (n,) rising; ``last_ps`` (4,) int64 is the last click of each detector, on the same
    time scale and before all keys, and is brought up to date.
    """
    if last_ps.shape != (4,):
        raise ValueError(f"last_ps has shape {last_ps.shape}, not (4,)")
    if backend() == "numpy":
        return _recover_twin(keys, last_ps, recovery_ps)
    out_keys = np.empty(keys.size, np.int64)
    view = _ffi.from_buffer
    kept = _lib.clicks_recover(
        view("int64_t[]", keys),
        keys.size,
        recovery_ps,
        view("int64_t[]", last_ps, require_writable=True),
        view("int64_t[]", out_keys, require_writable=True),
    )
    return out_keys[:kept]


def _split_twin(
    pulses: Ints,
    states: Bytes,
    words: npt.NDArray[np.uint64],
    rungs: npt.NDArray[np.uint64],
    attacked_below: int,
) -> tuple[Ints, Bytes]:
    sent = states & 15
    if attacked_below:
        first = np.ones(pulses.size, bool)
        first[1:] = pulses[1:] != pulses[:-1]
        owner = np.maximum.accumulate(np.where(first, np.arange(pulses.size), 0))
        draw = (words >> 32)[owner]
        attacked = (draw & (ATTACK_SCALE - 1)) < attacked_below
        basis = (draw >> 30 & 1).astype(np.uint8) << 1
        other = (sent & 2) != basis
        resent = (sent & 12) | basis | (draw >> 31).astype(np.uint8)
        sent = np.where(attacked & other, resent, sent)
    darts = words & (RUNG_SCALE - 1)
    detectors = (darts[:, None] >= rungs[sent]).sum(1, dtype=np.uint8)
    kept = detectors < 4
    return pulses[kept], detectors[kept]


def _recover_twin(keys: Ints, last_ps: Ints, recovery_ps: int) -> Ints:
    times, detectors = keys >> 2, keys & 3
    alive = np.ones(keys.size, bool)
    for detector in range(4):
        (where,) = np.nonzero(detectors == detector)
        if not where.size:
            continue
        mine = times[where]
        # an event that follows any earlier one after a full recovery is surely seen; only
        # the others need the order of events
        gaps = np.diff(mine, prepend=last_ps[detector])
        last = int(last_ps[detector])
        seen = np.ones(mine.size, bool)
        for i in np.nonzero(gaps < recovery_ps)[0]:
            if i and seen[i - 1]:
                last = int(mine[i - 1])
            seen[i] = mine[i] - last >= recovery_ps
        alive[where] = seen
        if seen.any():
            last_ps[detector] = mine[seen][-1]
    return keys[alive]
