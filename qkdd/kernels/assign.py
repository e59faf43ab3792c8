"""From time tags to clicks: common dead time, pulse slot, gate and coincidences in one pass.

Rules, in this order:

1. *Slot*: the pulse nearest in time.
2. *Dead time*: an event starts a click only if no event of any detector came less than
   ``dead_time_ps`` before it; dropped and out-of-gate events blind too. Later events in the slot
   of the click belong to the click.
3. *Gate*: a click counts if its first event lies in the gate (a detector that fired before the
   gate was blind in it, the others were not). Its other events count if they lie in the gate.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

try:
    from qkdd.kernels.native.assign import ffi, lib
except ImportError:  # no compiler when this was installed: the twin serves
    ffi = lib = None

Backend: TypeAlias = Literal["avx2", "native", "numpy"]

MAX_WINDOW_SLOTS = 1 << 32
NEVER_PS = -(1 << 62)
"""A ``last_ps`` that blinds nothing."""
NO_DETECTOR = 255


def backends() -> tuple[Backend, ...]:
    """Return what runs on this machine, best first; the twin always does."""
    built: tuple[Backend, ...] = ("avx2", "native") if lib is not None else ()
    return (*(name for name in built if lib.assign_supported(name.encode("ascii"))), "numpy")


_best = backends()[0]
_forced: Backend | None = None


def backend() -> Backend:
    """Name the variant that serves."""
    return _best if _forced is None else _forced


def force(name: Backend | None) -> None:
    """Make one variant serve, or let the best one serve again (None)."""
    global _forced
    if name is not None and name not in backends():
        raise RuntimeError(f"the variant {name!r} of the kernel 'assign' does not run here")
    _forced = name


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """What one window of pulses holds."""

    n_tags: int
    """Tags that belong to this window; the rest is for the next."""

    slots: npt.NDArray[np.uint32]
    """(n_kept,) strictly rising; pulse numbers counted from the window's first."""

    masks: npt.NDArray[np.uint8]
    """(n_kept,) bit d set: detector d fired in the gate."""

    last_ps: int
    """Time of the last event seen, kept or not: it blinds the next window too."""

    n_started: int
    """Clicks that were not dead, in the gate or not."""

    n_near: int
    """Of these: within a quarter of a period of their pulse."""

    sum_residual_ps: int
    """Over the started clicks: arrival minus pulse, each cut to whole ps."""

    n_out_of_gate: int
    n_dead: int


def assign(
    times_ps: npt.NDArray[np.int64],
    detectors: npt.NDArray[np.uint8],
    *,
    anchor_ps: int,
    fraction_ps: float,
    period_ps: float,
    n_slots: int,
    dead_time_ps: int,
    gate_ps: int,
    last_ps: int,
) -> Assigned:
    """Assign tags to the pulses of one window.

    Parameters
    ----------
    times_ps : (n,) int64, non-decreasing, ps
        Nothing earlier than the window; tags after the window are left alone.
    detectors : (n,) uint8, 0..3
    anchor_ps, fraction_ps : int, float
        Their sum is the arrival time of the window's first pulse.
    period_ps : float
        Error of a slot's time: below 1e-3 ps for windows below 1 s.
    n_slots : int
        Pulses of the window.
    dead_time_ps, gate_ps : int
        Common dead time; full width of the gate.
    last_ps : int
        Time of the last event before the window (``NEVER_PS``: none).

    Raises
    ------
    ValueError
        If the arrays do not fit each other or the window is longer than 2^32 pulses.

    Notes
    -----
    The proof needs an efficiency that does not depend on the basis, hence one dead time for all.
    """
    if times_ps.shape != detectors.shape or times_ps.ndim != 1:
        raise ValueError(f"{times_ps.shape} times but {detectors.shape} detectors")
    if not 0 < n_slots <= MAX_WINDOW_SLOTS or not period_ps > 0:
        raise ValueError(f"a window of {n_slots} pulses of {period_ps} ps")
    stop = int(np.searchsorted(times_ps, anchor_ps + int((n_slots + 1) * period_ps)))
    serve = _numpy if backend() == "numpy" else _native
    return serve(
        np.ascontiguousarray(times_ps[:stop]),
        np.ascontiguousarray(detectors[:stop]),
        (anchor_ps, fraction_ps, period_ps, n_slots, dead_time_ps, 0.5 * gate_ps),
        last_ps,
    )


_Numbers: TypeAlias = tuple[int, float, float, int, int, float]


def _native(
    times_ps: npt.NDArray[np.int64],
    detectors: npt.NDArray[np.uint8],
    numbers: _Numbers,
    last_ps: int,
) -> Assigned:
    slots = np.empty(times_ps.size, np.uint32)
    masks = np.empty(times_ps.size, np.uint8)
    sums = np.zeros(7, np.int64)
    sums[0] = last_ps
    n_tags = lib.assign_window(
        backend().encode("ascii"),
        ffi.from_buffer("int64_t[]", times_ps),
        ffi.from_buffer("uint8_t[]", detectors),
        times_ps.size,
        *numbers,
        ffi.from_buffer("uint32_t[]", slots),
        ffi.from_buffer("uint8_t[]", masks),
        ffi.from_buffer("int64_t[]", sums),
    )
    last, n_started, n_near, sum_ps, n_out, n_dead, n_kept = sums.tolist()
    return Assigned(
        n_tags, slots[:n_kept], masks[:n_kept], last, n_started, n_near, sum_ps, n_out, n_dead
    )


def _numpy(
    times_ps: npt.NDArray[np.int64],
    detectors: npt.NDArray[np.uint8],
    numbers: _Numbers,
    last_ps: int,
) -> Assigned:
    anchor_ps, fraction_ps, period_ps, n_slots, dead_time_ps, half_gate_ps = numbers
    since_ps = (times_ps - anchor_ps).astype(np.float64) - fraction_ps
    place = since_ps * (1.0 / period_ps) + 0.5
    slots = np.where(place > 0.0, place, 0.0).astype(np.int64)
    n_tags = int(np.searchsorted(slots, n_slots))
    times_ps, since_ps, slots = times_ps[:n_tags], since_ps[:n_tags], slots[:n_tags]
    residual_ps = since_ps - slots.astype(np.float64) * period_ps
    size_ps = np.abs(residual_ps)
    in_gate = size_ps <= half_gate_ps

    index = np.arange(n_tags)
    fresh = np.diff(times_ps, prepend=last_ps) >= dead_time_ps
    group = np.maximum.accumulate(np.where(np.diff(slots, prepend=-1) != 0, index, 0))
    newest_fresh = np.maximum.accumulate(np.where(fresh, index, -1))
    live = newest_fresh >= group
    start = live & ~np.concatenate(([False], live[:-1] & (np.diff(slots) == 0)))[:n_tags]

    first = np.flatnonzero(start)
    click_of = np.cumsum(start) - 1
    kept = in_gate[first]
    bits = np.where(live & in_gate, np.left_shift(1, detectors[:n_tags] & 3), 0).astype(np.uint8)
    masks = np.zeros(first.size, np.uint8)
    np.bitwise_or.at(masks, click_of[live], bits[live])
    return Assigned(
        n_tags,
        slots[first][kept].astype(np.uint32),
        masks[kept],
        int(times_ps[-1]) if n_tags else last_ps,
        first.size,
        int(np.count_nonzero(size_ps[first] <= 0.25 * period_ps)),
        int(residual_ps[first].astype(np.int64).sum()),
        int(first.size - np.count_nonzero(kept)),
        int(n_tags - np.count_nonzero(live)),
    )


def detectors_of(
    channels: npt.NDArray[np.uint8], table: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8], int]:
    """Look up the detector of each channel.

    Parameters
    ----------
    channels : (n,) uint8
    table : (256,) uint8
        Channel -> detector, or ``NO_DETECTOR``.

    Returns
    -------
    detectors : (n,) uint8
    n_none : int
        How many channels have no detector.
    """
    if table.shape != (256,):
        raise ValueError(f"a table of {table.shape} channels")
    if backend() == "numpy":
        detectors = table[channels]
        return detectors, int(np.count_nonzero(detectors == NO_DETECTOR))
    detectors = np.empty(channels.size, np.uint8)
    n_none = lib.assign_detectors(
        ffi.from_buffer("uint8_t[]", np.ascontiguousarray(channels)),
        channels.size,
        ffi.from_buffer("uint8_t[]", table),
        NO_DETECTOR,
        ffi.from_buffer("uint8_t[]", detectors),
    )
    return detectors, n_none


def in_order(times_ps: npt.NDArray[np.int64]) -> bool:
    """Tell whether (n,) times do not fall."""
    if backend() == "numpy":
        return not np.any(times_ps[1:] < times_ps[:-1])
    times = ffi.from_buffer("int64_t[]", np.ascontiguousarray(times_ps))
    n_falls: int = lib.assign_falls(times, times_ps.size)
    return n_falls == 0


def single_detectors(
    masks: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the detector of each set of one detector, and where the larger sets are.

    Parameters
    ----------
    masks : (n,) uint8, 1 to 15
        Bit d set: detector d fired.

    Returns
    -------
    detectors : (n,) uint8
        Of no meaning where a set is larger.
    several : (m,) int64
    """
    if backend() == "numpy":
        detectors = (masks >> 1 & 1 | (masks >> 2 & 1) << 1 | (masks >> 3 & 1) * 3).astype(np.uint8)
        return detectors, np.flatnonzero(masks & (masks - 1))
    detectors = np.empty(masks.size, np.uint8)
    several = np.empty(masks.size, np.int64)
    n_several = lib.assign_single(
        ffi.from_buffer("uint8_t[]", np.ascontiguousarray(masks)),
        masks.size,
        ffi.from_buffer("uint8_t[]", detectors),
        ffi.from_buffer("int64_t[]", several),
    )
    return detectors, several[:n_several].copy()
