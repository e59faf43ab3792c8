"""The time tagger's own clock against the time of the lab: offset, drift and wander."""

import numpy as np
import numpy.typing as npt

PARTS = 10**15  # frequencies are whole numbers of 1e-15, so that long times stay exact
PS_PER_S = 10**12


class TaggerClock:
    """Reads ``t + y t + d t^2 / 2 + w(t)`` at ``t`` after the lab's start.

    The wander ``w`` is a random walk in steps of the model, even inside each: white noise of the
    frequency, of ``wander`` sqrt(t) ps after a time t.
    """

    def __init__(
        self, *, offset_ppm: float, drift_ppb_per_s: float, wander_ps_per_sqrt_s: float = 0.0
    ) -> None:
        self._offset = round(offset_ppm * 1e-6 * PARTS)
        self._drift_per_s = round(drift_ppb_per_s * 1e-9 * PARTS)
        self._wander_per_sqrt_s = wander_ps_per_sqrt_s
        self._from_ps, self._to_ps = 0, 0
        self._wander_from, self._wander_to = 0, 0

    def wander_on(self, step_ps: int, rng: np.random.Generator) -> None:
        """Begin the model's next step: the wander at its end is thrown now."""
        self._from_ps, self._to_ps = self._to_ps, self._to_ps + step_ps
        self._wander_from = self._wander_to
        if self._wander_per_sqrt_s:
            deviation_ps = self._wander_per_sqrt_s * (step_ps / PS_PER_S) ** 0.5
            self._wander_to += round(rng.standard_normal() * deviation_ps)

    def reading_ps(self, lab_ps: int) -> int:
        """The clock's reading, exact to a picosecond, of a time in the present step or before.

        Earlier than the step, its wander is that of the step's beginning.
        """
        offset_ps = lab_ps * self._offset // PARTS
        drift_ps = lab_ps * lab_ps * self._drift_per_s // (2 * PARTS * PS_PER_S)
        return lab_ps + offset_ps + drift_ps + self._wander_at(lab_ps)

    def readings_ps(self, base_ps: int, after_ps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Readings at ``base_ps + after_ps``, whatever the size of ``base_ps``.

        Notes
        -----
        The fast or slow part is a float64: exact to 1 ps while ``after_ps`` is below hours.
        """
        fast, half_drift = self.error_at(base_ps)
        extra_ps = after_ps * (fast + after_ps * half_drift)
        return after_ps + (np.rint(extra_ps).astype(np.int64) + self.reading_ps(base_ps))

    def error_at(self, base_ps: int) -> tuple[float, float]:
        """How fast it is at ``base_ps``, with its wander, and half of its drift per ps."""
        drift_per_ps = self._drift_per_s / PARTS / PS_PER_S
        step_ps = self._to_ps - self._from_ps
        wander = (self._wander_to - self._wander_from) / step_ps if step_ps else 0.0
        return self._offset / PARTS + drift_per_ps * base_ps + wander, 0.5 * drift_per_ps

    def _wander_at(self, lab_ps: int) -> int:
        step_ps = self._to_ps - self._from_ps
        gone_ps = min(max(0, lab_ps - self._from_ps), step_ps)
        moved = self._wander_to - self._wander_from
        return self._wander_from + (moved * gone_ps // step_ps if step_ps else moved)
