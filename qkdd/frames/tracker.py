"""From pulse 0 on: windows of tags become clicks, clicks become frames, and the clock is kept."""

import math
from collections import deque

import numpy as np

from qkdd.base.light import LightPlan
from qkdd.frames.assembly import FrameAssembly
from qkdd.frames.buffer import TagBuffer
from qkdd.frames.calibration import ErrorCount, SlipAlarm, count_errors
from qkdd.frames.clicks import ClickSettler
from qkdd.frames.clock import PhaseLoop, PulseClock, coherent
from qkdd.frames.events import BlockEnded, Event, Lost
from qkdd.frames.settings import FrameSettings
from qkdd.frames.start import CalibrationStates
from qkdd.kernels.assign import NEVER_PS, Assigned, assign

DRIFT_PER_S = 10e-9
LAG_PERIODS = 0.01
MAX_WINDOW_S = 0.05
"""A window costs the same however many clicks it has. It is so long that under such a drift of the
frequency the clock lags this part of a period behind (3 a dt^2: see clock.py): 18 ms at 1 GHz; and
a quarter of the time after which the light counts as gone."""
DARK_PS = 200_000_000_000
"""The light is gone if for 200 ms the clicks do not follow the clock."""
DARK_SIGMA = 5.0


def window_pulses(plan: LightPlan) -> int:
    """Return how many pulses a window has at most."""
    period_s = plan.period_ps * 1e-12
    window_s = min(MAX_WINDOW_S, math.sqrt(LAG_PERIODS * period_s / (3 * DRIFT_PER_S)))
    return round(window_s / period_s)


class Tracker:
    """Walks through the run window by window; no window crosses the edge of a segment.

    Segments: the preamble; of each frame, its calibration pulses and its payload.
    """

    def __init__(
        self,
        plan: LightPlan,
        settings: FrameSettings,
        states: CalibrationStates,
        settler: ClickSettler,
        buffer: TagBuffer,
        clock: PulseClock,
        *,
        armed: bool = True,
    ) -> None:
        """``armed``: errors mean slips from the first frame on, see :class:`SlipAlarm`."""
        self._plan = plan
        self._settings = settings
        self._states = states
        self._settler = settler
        self._buffer = buffer
        self._clock = clock
        """Anchored where the next window begins."""
        self._last_ps = NEVER_PS
        self._window_pulses = window_pulses(plan)
        self._loop = PhaseLoop(min(self._window_pulses, plan.frame_pulses))
        self._slip = SlipAlarm(settings.max_calibration_qber, armed=armed)
        self._recent: deque[tuple[int, int, int]] = deque()
        """Pulses, clicks, clicks near their pulse: of the windows of the last 200 ms."""
        self._recent_pulses = 0
        self._frame = FrameAssembly(plan, settler)
        self._skip_early_tags()

    def advance(self, until_ps: int) -> list[Event]:
        """Go on with all tags before ``until_ps`` in the buffer; stops after a Lost."""
        events: list[Event] = []
        while True:
            stop = self._window_stop()
            # A pulse's slot ends half a period behind it; a whole one more is the margin.
            if until_ps < self._clock.at(stop).anchor_ps + 2 * self._clock.period_ps:
                return events
            events += self._window(stop)
            if events and isinstance(events[-1], Lost):
                return events

    def is_being_turned(self, now: bool) -> None:
        """Take errors for no slip until this is over and they have been few."""
        self._slip.suspend(now)

    def wipe(self) -> None:
        """Zero the clicks of the frame in hand."""
        self._frame.wipe()

    def _frame_of(self, pulse: int) -> int:
        """Return the frame of a pulse; -1 in the preamble."""
        return max(-1, (pulse - self._plan.preamble_pulses) // self._plan.frame_pulses)

    def _skip_early_tags(self) -> None:
        """Forget what came before the first pulse; it blinds all the same."""
        early = self._buffer.before(self._clock.anchor_ps - int(self._clock.period_ps / 2))
        if early:
            self._last_ps = int(self._buffer.times_ps[early - 1])
            self._buffer.drop(early)

    def _window_stop(self) -> int:
        """Return the pulse behind the next window."""
        pulse, plan = self._clock.pulse, self._plan
        if pulse < plan.preamble_pulses:
            end = plan.preamble_pulses
        else:
            span = plan.frame_span(self._frame_of(pulse))
            payload = span.start + plan.calibration_pulses
            end = payload if pulse < payload else span.stop
        return min(pulse + self._window_pulses, end)

    def _window(self, stop: int) -> list[Event]:
        begin = self._clock
        n_pulses = stop - begin.pulse
        assigned = assign(
            self._buffer.times_ps,
            self._buffer.detectors,
            anchor_ps=begin.anchor_ps,
            fraction_ps=begin.fraction_ps,
            period_ps=begin.period_ps,
            n_slots=n_pulses,
            dead_time_ps=self._settings.dead_time_ps,
            gate_ps=self._settings.gate_ps,
            last_ps=self._last_ps,
        )
        self._buffer.drop(assigned.n_tags)
        self._last_ps = assigned.last_ps
        self._clock = self._loop.measured(
            begin.at(stop),
            n_pulses=n_pulses,
            n_clicks=assigned.n_started,
            n_near=assigned.n_near,
            sum_ps=assigned.sum_residual_ps,
        )
        dark = self._dark(n_pulses, assigned.n_started, assigned.n_near)
        events = self._clicks(begin.pulse, stop, assigned)
        if dark and not (events and isinstance(events[-1], Lost)):
            events.append(Lost(dark))
        return events

    def _clicks(self, begin: int, stop: int, assigned: Assigned) -> list[Event]:
        """Sort one window's clicks into calibration and payload; end what it ends."""
        frame = self._frame_of(begin)
        if frame < 0:
            return []
        span = self._plan.frame_span(frame)
        payload = span.start + self._plan.calibration_pulses
        if begin < payload:
            codes = self._states(assigned.slots.astype(np.int64) + begin)
            settled = self._settler.settle(assigned.masks)
            assigned.masks.fill(0)
            self._frame.calibrate(count_errors(codes, settled.detectors), codes.size)
            return self._calibrated(frame) if stop == payload else []
        self._frame.add(begin, frame, assigned)
        if stop < span.stop:
            return []
        block = self._plan.block_of_frame(frame)
        events: list[Event] = [self._frame.ended(frame)]
        if self._plan.block_span(block).stop == stop:
            events.append(BlockEnded(block))
        return events

    def _calibrated(self, frame: int) -> list[Event]:
        """End a calibration segment: tell its errors, and whether they mean a slip."""
        measured = self._frame.calibrated(frame)
        if not self._slip.slipped(ErrorCount(measured.matched, measured.errors)):
            return [measured]
        reason = (
            f"QBER of the calibration segments over {self._settings.max_calibration_qber:.3f}: "
            f"{sum(measured.errors)} errors in {sum(measured.matched)} bits of frame {frame}; "
            "pulse numbers have slipped, or the light is of no use"
        )
        return [measured, Lost(reason)]

    def _dark(self, n_pulses: int, n_clicks: int, n_near: int) -> str | None:
        """Take in one window; say why the light counts as gone, if it does."""
        self._recent.append((n_pulses, n_clicks, n_near))
        span_pulses = DARK_PS / self._clock.period_ps
        self._recent_pulses += n_pulses
        while self._recent_pulses - self._recent[0][0] >= span_pulses:
            self._recent_pulses -= self._recent.popleft()[0]
        if self._recent_pulses < span_pulses:
            return None
        clicks = sum(window[1] for window in self._recent)
        near = sum(window[2] for window in self._recent)
        if coherent(clicks, near, DARK_SIGMA):
            return None
        seconds = self._recent_pulses * self._clock.period_ps * 1e-12
        return f"no light for {seconds:.1f} s: {near} of {clicks} clicks lie near a pulse"
