"""From darkness to pulse 0: notice the light, find its clock, find where the run began.

Tags are looked at in windows of 10^6 pulse periods on a grid of the tagger's time, so that the
result does not depend on how the tags were handed over.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkdd.base.light import LightPlan
from qkdd.frames.buffer import TagBuffer
from qkdd.frames.clock import PulseClock
from qkdd.frames.events import ClockFound, FrameStartFound, Lost
from qkdd.frames.settings import FrameSettings
from qkdd.frames.spectrum import MIN_TAGS, Line, find_line, sharpen
from qkdd.frames.start import (
    CalibrationStates,
    NoStart,
    Start,
    edge_range_ps,
    find_start,
    find_turned_start,
)

WINDOW_PULSES = 1_000_000
"""10 ms at 100 MHz: at 2e-4 clicks per pulse, 200 tags."""

WINDOWS_AFTER = 3
"""Full windows of light behind the one in which it was noticed: at the faintest click rate the
preamble's first 30 ms hold 600 clicks."""

_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Found:
    """The run's clock, anchored at pulse 0."""

    clock: PulseClock
    clock_found: ClockFound
    start_found: FrameStartFound


class Hunter:
    """Reads a buffer that someone else fills; forgets in it what is older than it needs."""

    def __init__(
        self,
        plan: LightPlan,
        settings: FrameSettings,
        states: CalibrationStates,
        buffer: TagBuffer,
        *,
        any_turn: bool = False,
    ) -> None:
        """``any_turn``: a start under any polarisation will do; somebody will turn it back."""
        self._any_turn = any_turn
        self._plan = plan
        self._settings = settings
        self._states = states
        self._buffer = buffer
        self._window_ps = round(WINDOW_PULSES * plan.period_ps)
        self._window = -1
        self._lit: int | None = None

    def advance(self, until_ps: int) -> Found | tuple[ClockFound | Lost, ...] | None:
        """Go on with all tags before ``until_ps`` in the buffer; None: not yet."""
        if self.is_dark():
            self._pass_over(until_ps // self._window_ps)
        while len(self._buffer):
            if self._lit is None:
                self._window = max(self._window, int(self._buffer.times_ps[0]) // self._window_ps)
            if until_ps < (self._window + 1) * self._window_ps:
                return None
            self._look()
            if self._lit is not None and self._window == self._lit + WINDOWS_AFTER:
                return self._locate(self._lit)
            self._window += 1
        return None

    def is_dark(self, more_ps: npt.NDArray[np.int64] = _NOTHING) -> bool:
        """Tell whether there was no light, and with these tags behind the buffer's no window has
        as many as light would have. To go on then takes no time."""
        if self._lit is not None:
            return False
        times_ps = np.concatenate([self._buffer.times_ps, more_ps])
        few = MIN_TAGS - 1
        spans_ps = times_ps[few:] - times_ps[: max(0, times_ps.size - few)]
        return not np.any(spans_ps < self._window_ps)

    def _pass_over(self, window: int) -> None:
        """Look at no window before this one, of which one is kept, as :meth:`_look` does."""
        if window > self._window:
            self._window = window
            self._buffer.drop(self._buffer.before((window - 1) * self._window_ps))

    def _rows(self, begin_ps: int, last: int) -> slice:
        """Return where the buffer holds ``begin_ps`` to the end of window ``last``."""
        end_ps = (last + 1) * self._window_ps
        return slice(self._buffer.before(begin_ps), self._buffer.before(end_ps))

    def _times(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """Return the tags of windows ``first`` to ``last``, both included."""
        return self._buffer.times_ps[self._rows(first * self._window_ps, last)]

    def _look(self) -> None:
        """Decide whether the newest window has light; a dark one is kept for the edge's sake.

        Light that goes out again was the rest of an older run: the search goes on.
        """
        if self._line(self._window) is None:
            self._lit = None
            self._buffer.drop(self._buffer.before(self._window * self._window_ps))
        elif self._lit is None:
            self._lit = self._window

    def _line(self, window: int) -> Line | None:
        return find_line(
            self._times(window, window),
            nominal_ps=self._plan.period_ps,
            search_ppm=self._settings.clock_search_ppm,
        )

    def _locate(self, lit: int) -> Found | tuple[ClockFound | Lost, ...]:
        line = self._line(lit + 1)
        assert line is not None, "a window without a line starts the search anew"
        clock = line.clock
        for last in range(lit + 1, lit + 1 + WINDOWS_AFTER):
            clock = sharpen(clock, self._times(lit + 1, last))
        click_hz = self._times(lit + 1, lit + 1).size / (self._window_ps * 1e-12)
        early_ps, late_ps = edge_range_ps(self._times(lit - 1, lit), click_hz)
        light = self._rows(late_ps, lit + WINDOWS_AFTER)
        clock = sharpen(clock, self._buffer.times_ps[light])
        found = self._clock_found(clock, line.strength)
        try:
            clock, start = self._start(clock, light, early_ps, late_ps)
        except NoStart as error:
            return (found, Lost(str(error)))
        return Found(clock, found, start)

    def _clock_found(self, clock: PulseClock, strength: float) -> ClockFound:
        offset_ppm = (clock.period_ps / self._plan.period_ps - 1.0) * 1e6
        return ClockFound(clock.period_ps, offset_ppm, strength)

    def _start(
        self, clock: PulseClock, light: slice, early_ps: int, late_ps: int
    ) -> tuple[PulseClock, FrameStartFound]:
        """Match the clicks behind the edge with the preamble; return the clock at pulse 0."""
        since_ps = (self._buffer.times_ps[light] - clock.anchor_ps).astype(
            np.float64
        ) - clock.fraction_ps
        slots = np.rint(since_ps / clock.period_ps)
        in_gate = np.abs(since_ps - slots * clock.period_ps) <= 0.5 * self._settings.gate_ps
        start = self._find(
            slots[in_gate].astype(np.int64),
            self._buffer.detectors[light][in_gate],
            first=math.floor((early_ps - clock.anchor_ps) / clock.period_ps) - 1,
            last=math.ceil((late_ps - clock.anchor_ps) / clock.period_ps) + 1,
        )
        clock = clock.at(start.slot).renumbered(0)
        found = FrameStartFound(
            clock.anchor_ps, start.matched, start.errors, start.runner_up, start.turned
        )
        return clock, found

    def _find(
        self,
        slots: npt.NDArray[np.int64],
        detectors: npt.NDArray[np.uint8],
        *,
        first: int,
        last: int,
    ) -> Start:
        """Search as if the polarisation were right; then, where that will do, under any turn."""
        pulses = self._plan.preamble_pulses
        try:
            return find_start(
                slots,
                detectors,
                first=first,
                last=last,
                preamble_pulses=pulses,
                states=self._states,
                max_qber=self._settings.max_calibration_qber,
            )
        except NoStart:
            if not self._any_turn:
                raise
        return find_turned_start(
            slots,
            detectors,
            first=first,
            last=last,
            preamble_pulses=pulses,
            states=self._states,
        )
