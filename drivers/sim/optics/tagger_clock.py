"""The time tagger's own clock against the time of the lab: an offset and a drift of frequency."""

import numpy as np
import numpy.typing as npt

PARTS = 10**15  # frequencies are whole numbers of 1e-15, so that long times stay exact
PS_PER_S = 10**12


class TaggerClock:
    """Reads ``t + y t + d t^2 / 2`` at ``t`` after the lab's start."""

    def __init__(self, *, offset_ppm: float, drift_ppb_per_s: float) -> None:
        self._offset = round(offset_ppm * 1e-6 * PARTS)
        self._drift_per_s = round(drift_ppb_per_s * 1e-9 * PARTS)

    def reading_ps(self, lab_ps: int) -> int:
        """The clock's reading, exact to a picosecond at any time."""
        offset_ps = lab_ps * self._offset // PARTS
        drift_ps = lab_ps * lab_ps * self._drift_per_s // (2 * PARTS * PS_PER_S)
        return lab_ps + offset_ps + drift_ps

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
        """How fast it is at ``base_ps``, and half of how that changes per ps."""
        drift_per_ps = self._drift_per_s / PARTS / PS_PER_S
        return self._offset / PARTS + drift_per_ps * base_ps, 0.5 * drift_per_ps
