"""From candidate photons to detector clicks: C kernels and their NumPy twins, equal bit for bit.

The caller throws all dice. A click travels as a *key*, ``time_ps << 2 | detector`` in one int64:
keys sort by time, and equal times by detector.
"""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from drivers.kernels.eve import ATTACK_SCALE, Eve
from drivers.kernels.normal_bins import ALIAS, CELL, OWN_BELOW, REACH_SIGMAS

try:
    from drivers.kernels.native.clicks import ffi as _ffi
    from drivers.kernels.native.clicks import lib as _lib
except ImportError:  # no C compiler where this was installed
    _ffi = _lib = None

Backend: TypeAlias = Literal["c", "numpy"]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]
Draws: TypeAlias = npt.NDArray[np.uint32]

RUNG_SCALE = 1 << 32
UNSPENT = -1

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
    words: Words,
    *,
    rungs: npt.NDArray[np.uint64],
    eve: Eve | None = None,
    draws: Draws | None = None,
    spent: int = UNSPENT,
) -> tuple[Ints, Bytes, int]:
    """Thin candidates by their intensity and choose the detector of what is left.

    Parameters
    ----------
    pulses : (n,) int64, non-decreasing
        Candidate events; equal numbers are events of one pulse.
    states : (n,) uint8 below 16
        What the transmitter sent in these pulses.
    words : (n,) uint64
        One throw each, of which the lower half chooses the detector.
    rungs : (16, 4) uint64
        Rising ends of the detectors' ranges, by state, in 1 / RUNG_SCALE.
    eve, draws : what she does, and (n,) uint32
        The first draw of a pulse is hers: 30 bits whether, basis, outcome.
    spent : int
        The last attacked pulse that had a click.

    Returns
    -------
    pulses, detectors : (m,) int64, (m,) uint8 0..3, and 4 more if attacked
    spent : int
    """
    n = pulses.size
    if not (states.size == words.size == n and rungs.shape == (16, 4)):
        raise ValueError(f"{n} pulses, {states.size} states, {words.size} words, {rungs.shape}")
    if eve is not None and (draws is None or draws.size != n):
        raise ValueError(f"{n} pulses, {0 if draws is None else draws.size} draws of hers")
    if backend() == "numpy":
        return _split_twin(pulses, states, words, rungs, eve, draws, spent)
    out_pulses, out_detectors = np.empty(n, np.int64), np.empty(n, np.uint8)
    view, spent_ = _ffi.from_buffer, _ffi.new("int64_t *", spent)
    kept = _lib.clicks_split(
        view("int64_t[]", pulses),
        view("uint8_t[]", states),
        view("uint64_t[]", words),
        n,
        view("uint64_t[]", rungs),
        _ffi.NULL if eve is None else view("uint32_t[]", draws),
        0 if eve is None else eve.attacked_below,
        0 if eve is None else eve.how,
        view("uint64_t[]", rungs if eve is None else eve.rungs),
        spent_,
        view("int64_t[]", out_pulses, require_writable=True),
        view("uint8_t[]", out_detectors, require_writable=True),
    )
    return out_pulses[:kept], out_detectors[:kept], spent_[0]


def stamp(
    pulses: Ints,
    detectors: Bytes,
    words: Words,
    *,
    period_ps: float,
    origin_ps: float,
    sigma_ps: float,
    her_shift_ps: float = 0.0,
) -> Ints:
    """Keys of clicks: ``pulse * period + origin + jitter``, to the nearest ps (ties to even).

    ``detectors`` are those of `split`; attacked clicks come ``her_shift_ps`` later.

    ``words`` (n,) are one throw each for a normal jitter, which is never beyond REACH_SIGMAS, so
    that a bound on how early a click can come exists. Times stay below 2**51 ps in magnitude.
    """
    n = pulses.size
    if not detectors.size == words.size == n:
        raise ValueError(f"{n} pulses, {detectors.size} detectors, {words.size} words")
    if backend() == "numpy":
        return _stamp_twin(pulses, detectors, words, period_ps, origin_ps, her_shift_ps, sigma_ps)
    keys = np.empty(n, np.int64)
    view = _ffi.from_buffer
    _lib.clicks_stamp(
        view("int64_t[]", pulses),
        view("uint8_t[]", detectors),
        view("uint64_t[]", words),
        n,
        period_ps,
        origin_ps,
        her_shift_ps,
        sigma_ps,
        view("uint32_t[]", OWN_BELOW),
        view("uint16_t[]", ALIAS),
        view("int64_t[]", keys, require_writable=True),
    )
    return keys


def tell(
    keys: Ints, *, fast: float, half_drift: float, base_ps: int, floor_ps: int
) -> tuple[Ints, Bytes]:
    """Clicks as a clock with an error tells them: times in ps, and channels 1..4.

    At ``t`` of the key the clock reads ``base + t + t (fast + t half_drift)``, the last term to the
    nearest ps, and nothing before ``floor``.
    """
    if backend() == "numpy":
        after = (keys >> 2).astype(np.float64)
        extra_ps = np.rint(after * (fast + after * half_drift)).astype(np.int64)
        times = np.maximum((keys >> 2) + (extra_ps + base_ps), floor_ps)
        return times, (keys & 3).astype(np.uint8) + np.uint8(1)
    times_ps, channels = np.empty(keys.size, np.int64), np.empty(keys.size, np.uint8)
    view = _ffi.from_buffer
    _lib.clicks_tell(
        view("int64_t[]", keys),
        keys.size,
        fast,
        half_drift,
        base_ps,
        floor_ps,
        view("int64_t[]", times_ps, require_writable=True),
        view("uint8_t[]", channels, require_writable=True),
    )
    return times_ps, channels


def deal(times_ps: Ints, channels: Bytes) -> tuple[Ints, Ints, Ints, Ints]:
    """Times of the channels 1, 2, 3 and 4, each in the order that they have."""
    n = times_ps.size
    if channels.size != n:
        raise ValueError(f"{n} times, {channels.size} channels")
    if backend() == "numpy":
        one, two, three, four = (times_ps[channels == channel] for channel in (1, 2, 3, 4))
        return one, two, three, four
    dealt, found = np.empty((4, n), np.int64), _ffi.new("int64_t[4]")
    view = _ffi.from_buffer
    _lib.clicks_deal(
        view("int64_t[]", times_ps),
        view("uint8_t[]", channels),
        n,
        view("int64_t[]", dealt, require_writable=True),
        found,
    )
    return dealt[0, : found[0]], dealt[1, : found[1]], dealt[2, : found[2]], dealt[3, : found[3]]


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
    words: Words,
    rungs: npt.NDArray[np.uint64],
    eve: Eve | None,
    draws: Draws | None,
    spent: int,
) -> tuple[Ints, Bytes, int]:
    sent = states & 15
    darts = (words & np.uint64(RUNG_SCALE - 1))[:, None]
    if eve is None or draws is None:
        detectors = (darts >= rungs[sent]).sum(1, dtype=np.uint8)
        seen = detectors < 4
        return pulses[seen], detectors[seen], spent
    first = np.ones(pulses.size, bool)
    first[1:] = pulses[1:] != pulses[:-1]
    draw = draws[np.maximum.accumulate(np.where(first, np.arange(pulses.size), 0))]
    attacked = (draw & (ATTACK_SCALE - 1)) < eve.attacked_below
    if eve.resends:
        basis = (draw >> 30 & 1).astype(np.uint8) << 1
        resent = (sent & 12) | basis | (draw >> 31).astype(np.uint8)
        sent = np.where(attacked & ((sent & 2) != basis), resent, sent)
    tables = np.where(attacked[:, None], eve.rungs[sent], rungs[sent])
    detectors = (darts >= tables).sum(1, dtype=np.uint8)
    seen = detectors < 4
    if eve.one_each:
        (hers,) = np.nonzero(seen & attacked)
        before = np.concatenate(([spent], pulses[hers][:-1]))
        seen[hers[pulses[hers] == before]] = False
        spent = int(pulses[hers[-1]]) if hers.size else spent
    return pulses[seen], (detectors | attacked.astype(np.uint8) << 2)[seen], spent


def _stamp_twin(
    pulses: Ints,
    detectors: Bytes,
    words: Words,
    period_ps: float,
    origin_ps: float,
    her_shift_ps: float,
    sigma_ps: float,
) -> Ints:
    bins = (words >> np.uint64(54)).astype(np.int64)
    darts = words >> np.uint64(32) & np.uint64(CELL - 1)
    bins = np.where(darts < OWN_BELOW[bins], bins, ALIAS[bins])
    places = bins + (words & np.uint64(0xFFFFFFFF)).astype(np.float64) * 2.0**-32
    jitter = (places * 2.0**-6 - REACH_SIGMAS) * sigma_ps
    times = pulses.astype(np.float64) * period_ps + origin_ps
    times += np.where(detectors & 4, her_shift_ps, 0.0)
    return np.rint(times + jitter).astype(np.int64) * 4 + (detectors & 3)


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
