"""A stretch of pulses from the dice to clicks: one pass in C over the other kernels, and its twin.

The kernels of `arrivals`, `expand` and `clicks` do the steps, a piece of the stretch at a time. The
C pass serves where all three have their compiled variants; the twin calls their faces, and so may
mix variants. Both take the same words of the generator in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from drivers.kernels import arrivals, clicks, expand
from drivers.kernels.eve import Eve
from drivers.kernels.normal_bins import ALIAS, OWN_BELOW

try:
    from drivers.kernels.native import arrivals as _arrivals
    from drivers.kernels.native import clicks as _clicks
    from drivers.kernels.native import expand as _expand
    from drivers.kernels.native.walk import ffi as _ffi
    from drivers.kernels.native.walk import lib as _lib
except ImportError:  # no C compiler where this was installed
    _arrivals = _clicks = _expand = _ffi = _lib = None

Backend: TypeAlias = Literal["c", "numpy"]
Ints: TypeAlias = npt.NDArray[np.int64]

MARGIN_SIGMAS = 5.0
PIECE = 1024  # candidates; as in walk.c, since it decides which word is whose

_forced: Backend | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Pulses up to ``stop`` whose states come of one seed."""

    stop: int
    base: int
    """The pulse that the seed counts from; both relative to the stretch."""

    seed: bytes | bytearray
    key_threshold: int
    signal_threshold: int
    weak_threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A stretch of pulses, and what their light meets."""

    n_pulses: int
    per_pulse: float
    """Candidates, on average."""

    rungs: npt.NDArray[np.uint64]
    period_ps: float
    origin_ps: float
    """Arrival of the first pulse."""

    sigma_ps: float
    eve: Eve | None = None


def backends() -> tuple[Backend, ...]:
    """The variants that this machine can run, the fastest first."""
    return ("numpy",) if _lib is None else ("c", "numpy")


def backend() -> Backend:
    """The variant that serves."""
    others = (arrivals.backend(), expand.backend(), clicks.backend())
    return "numpy" if "numpy" in others else _forced or backends()[0]


def force(name: Backend | None) -> None:
    """Let ``name`` serve; ``None`` returns to the fastest. ValueError if it cannot run here."""
    global _forced
    if name is not None and name not in backends():
        raise ValueError(f"no backend {name!r} here; there are {backends()}")
    _forced = name


class Walker:
    """A Poisson process of candidates that goes on from one line to the next, and its clicks.

    What is left of the gap before the next candidate is kept in means, so that the rate may change
    in the middle of a gap.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._dice_key = rng.bytes(32)  # must live as long as the tools point to it
        self._n_thrown = 0
        """Blocks of the dice; two words are one."""
        self._pending = int(self._throw(1)[0])
        """Word of the next candidate; its upper half has been used for the gap before."""
        self._at = arrivals.first_gap(self._pending)
        self._tools = None if _lib is None else _tools(self._dice_key)

    def walk(self, line: Line, segments: Sequence[Segment]) -> Ints:
        """Keys of the clicks of a line, ``time_ps << 2 | detector``, in the order of their pulses.

        The segments follow each other, and the last one reaches the line's end.
        """
        if not (line.per_pulse > 0.0 and line.n_pulses >= 0 and line.rungs.shape == (16, 4)):
            raise ValueError(f"no line: {line.n_pulses} pulses, {line.per_pulse} per pulse")
        if not segments or segments[-1].stop < line.n_pulses:
            raise ValueError(f"the segments end before the line of {line.n_pulses} pulses")
        keys = self._walk_c(line, segments) if backend() == "c" else self._twin(line, segments)
        self._at -= line.per_pulse * line.n_pulses
        return keys

    def _walk_c(self, line: Line, segments: Sequence[Segment]) -> Ints:
        view, end = _ffi.from_buffer, line.per_pulse * line.n_pulses
        seeds = [view("uint8_t[]", one.seed) for one in segments]
        thresholds = [(one.key_threshold, one.signal_threshold, weak_end(one)) for one in segments]
        table = [
            (one.stop, one.base, seed, *ends)
            for one, seed, ends in zip(segments, seeds, thresholds, strict=True)
        ]
        rungs, eve = view("uint64_t[]", line.rungs), line.eve
        light = (line.n_pulses, line.per_pulse, rungs)
        times = (line.period_ps, line.origin_ps, line.sigma_ps)
        hers: tuple[object, ...] = ()
        if eve is not None:
            her_rungs = view("uint64_t[]", eve.rungs)
            hers = (eve.attacked_below, eve.how, her_rungs, eve.shift_ps)
        c_line = _ffi.new("walk_line *", (*light, *times, *hers))
        c_table = _ffi.new("walk_segment[]", table)
        point = _ffi.new("walk_point *", (self._at, self._pending, self._n_thrown))
        parts: list[Ints] = []
        while point.at < end or not parts:
            left = max(0.0, end - point.at)
            keys = np.empty(int(left + MARGIN_SIGMAS * left**0.5) + 2 * PIECE, np.int64)
            room = view("int64_t[]", keys, require_writable=True)
            n = _lib.walk_stretch(
                self._tools,
                arrivals.variant(),
                expand.backend() == "vaes",
                c_line,
                c_table,
                point,
                room,
                keys.size,
            )
            parts.append(keys[:n])
        self._at, self._pending, self._n_thrown = point.at, point.pending, point.n_thrown
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _throw(self, n: int) -> npt.NDArray[np.uint64]:
        """Throw ``n`` words; of an odd number the last block's second word is left out."""
        n_blocks = (n + 1) // 2
        words = expand.dice(self._dice_key, first=self._n_thrown, n_blocks=n_blocks)
        self._n_thrown += n_blocks
        return words[:n]

    def _twin(self, line: Line, segments: Sequence[Segment]) -> Ints:
        end = line.per_pulse * line.n_pulses
        parts = [np.empty(0, np.int64)]
        last_pulse, last_draw, spent = np.int64(-1), np.uint32(0), clicks.UNSPENT
        eve = line.eve if line.eve is not None and line.eve.attacked_below else None
        while self._at < end:
            words = np.concatenate((np.array([self._pending], np.uint64), self._throw(PIECE)))
            pulses, self._at = arrivals.place(
                words, at=self._at, per_pulse=line.per_pulse, n_pulses=line.n_pulses
            )
            self._pending = int(words[pulses.size])
            states = states_of(pulses, segments)
            draws = None
            if eve is not None and pulses.size:
                draws = (self._throw(pulses.size) >> np.uint64(32)).astype(np.uint32)
                if pulses[0] == last_pulse:  # the last piece began it
                    draws[0] = last_draw
                last_pulse = pulses[-1]
                last_draw = draws[np.searchsorted(pulses, last_pulse)]
            pulses, detectors, spent = clicks.split(
                pulses,
                states,
                words[: pulses.size],
                rungs=line.rungs,
                eve=None if draws is None else eve,
                draws=draws,
                spent=spent,
            )
            parts.append(
                clicks.stamp(
                    pulses,
                    detectors,
                    self._throw(pulses.size),
                    period_ps=line.period_ps,
                    origin_ps=line.origin_ps,
                    her_shift_ps=0.0 if eve is None else eve.shift_ps,
                    sigma_ps=line.sigma_ps,
                )
            )
        return np.concatenate(parts)


def states_of(pulses: Ints, segments: Sequence[Segment]) -> npt.NDArray[np.uint8]:
    """States of rising pulses, each by the seed of its segment."""
    states = np.empty(pulses.size, np.uint8)
    done = 0
    for one in segments:
        upto = int(np.searchsorted(pulses, one.stop))
        states[done:upto] = expand.expand_states(
            one.seed,
            pulses[done:upto] - one.base,
            key_threshold=one.key_threshold,
            signal_threshold=one.signal_threshold,
            weak_threshold=one.weak_threshold,
        )
        done = upto
    return states


def weak_end(segment: Segment) -> int:
    """Where the weak intensity's range of 16-bit numbers ends."""
    return segment.signal_threshold + segment.weak_threshold


def _tools(dice_key: bytes) -> object:
    """The other kernels and the key of the dice, as addresses that walk.c calls."""
    tools = _ffi.new("walk_tools *")
    kernels = {
        "dice": (_expand, "expand_dice"),
        "place": (_arrivals, "arrivals_place"),
        "expand": (_expand, "expand_states"),
        "split": (_clicks, "clicks_split"),
        "stamp": (_clicks, "clicks_stamp"),
    }
    for name, (of, full) in kernels.items():
        pointer = of.ffi.addressof(of.lib, full)
        setattr(tools, name, _ffi.cast(_ffi.typeof(getattr(tools, name)), pointer))
    tools.dice_key = _ffi.from_buffer("uint8_t[]", dice_key)
    tools.own_below = _ffi.from_buffer("uint32_t[]", OWN_BELOW)
    tools.alias = _ffi.from_buffer("uint16_t[]", ALIAS)
    return tools
