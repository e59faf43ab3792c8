"""One frame in the making: windows of clicks come in, the frame's events come out."""

import numpy as np
import numpy.typing as npt

from qkdd.base.light import LightPlan
from qkdd.frames.calibration import ErrorCount
from qkdd.frames.clicks import ClickSettler
from qkdd.frames.events import CalibrationMeasured, DetectedFrame
from qkdd.kernels.assign import Assigned


class FrameAssembly:
    """Gathers the clicks of frame after frame; holds one frame at a time.

    Double clicks are settled for a whole frame: a window has a few, and costs as much.
    """

    def __init__(self, plan: LightPlan, settler: ClickSettler) -> None:
        self._plan = plan
        self._settler = settler
        self._begin()

    def _begin(self) -> None:
        self._slots: list[npt.NDArray[np.uint32]] = []
        self._masks: list[npt.NDArray[np.uint8]] = []
        self._n_out_of_gate = self._n_dead = 0
        self._matched = (0, 0)
        self._errors = (0, 0)
        self._n_calibration = 0

    def calibrate(self, count: ErrorCount, n_clicks: int) -> None:
        """Add one window of the calibration segment."""
        self._matched = _sum(self._matched, count.matched)
        self._errors = _sum(self._errors, count.errors)
        self._n_calibration += n_clicks

    def calibrated(self, frame: int) -> CalibrationMeasured:
        """Return the errors of the whole segment."""
        return CalibrationMeasured(frame, self._matched, self._errors, self._n_calibration)

    def add(self, first_pulse: int, frame: int, assigned: Assigned) -> None:
        """Add one window of payload that begins with ``first_pulse``; keeps the arrays."""
        slots = assigned.slots
        slots += np.uint32(first_pulse - self._plan.frame_span(frame).start)
        self._slots.append(slots)
        self._masks.append(assigned.masks)
        self._n_out_of_gate += assigned.n_out_of_gate
        self._n_dead += assigned.n_dead

    def ended(self, frame: int) -> DetectedFrame:
        """Return the frame, which now belongs to the caller, and begin the next."""
        index = self._plan.block_of_frame(frame)
        masks = np.concatenate(self._masks)
        settled = self._settler.settle(masks)
        masks.fill(0)
        detected = DetectedFrame(
            frame=frame,
            block_index=index,
            start=(frame - self._plan.first_frame(index)) * self._plan.frame_pulses,
            slots=np.concatenate(self._slots),
            detectors=settled.detectors,
            n_double=settled.n_double,
            n_cross=settled.n_cross,
            n_out_of_gate=self._n_out_of_gate,
            n_dead=self._n_dead,
        )
        self.wipe()
        return detected

    def wipe(self) -> None:
        """Zero what was gathered and begin anew."""
        for slots in self._slots:
            slots.fill(0)
        for masks in self._masks:
            masks.fill(0)
        self._begin()


def _sum(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return (a[0] + b[0], a[1] + b[1])
