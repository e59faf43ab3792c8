"""Detectors: where photons of a state go, which clicks are seen, and when."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drivers.kernels import clicks as kernel
from drivers.kernels.normal_bins import REACH_SIGMAS
from drivers.sim.config import Receiver
from drivers.sim.optics.tagger_clock import TaggerClock

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
MANY_DARKS = 256  # drawn at once: a step has few, and a throw costs as much as hundreds
LONG_AGO_PS = -(1 << 60)
ALL_LIVE = np.ones(4, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Detector clicks, in the order of the tagger's clock."""

    times_ps: npt.NDArray[np.int64]
    """(n,) non-decreasing, ps of the tagger's clock."""

    channels: npt.NDArray[np.uint8]
    """(n,) 1 key 0, 2 key 1, 3 test 0, 4 test 1."""


class Detectors:
    """Four detectors and the tagger's clock: dark counts, jitter, recovery, order of time.

    Clicks wait inside until no earlier one can come. All times inside are ps after the time up to
    which :meth:`advance` has gone, so that a lab may run for years.
    """

    def __init__(self, receiver: Receiver, rng: np.random.Generator) -> None:
        self._dark_hz = receiver.dark_hz
        self._recovery_ps = round(receiver.recovery_ns * 1e3)
        self.sigma_ps = receiver.jitter_ps / FWHM_PER_SIGMA
        self.limit_ps = math.ceil(REACH_SIGMAS * self.sigma_ps)
        self.clock = TaggerClock(
            offset_ppm=receiver.clock_offset_ppm,
            drift_ppb_per_s=receiver.clock_drift_ppb_per_s,
            wander_ps_per_sqrt_s=receiver.clock_wander_ps_per_sqrt_s,
        )
        self._rng = rng
        self._waiting: list[npt.NDArray[np.int64]] = []
        self._darks_ahead = np.empty(0, np.int64)
        self._darks_until_ps = 0
        self._last_ps = np.full(4, LONG_AGO_PS, np.int64)
        self._base_ps = 0
        self._reading_ps = 0

    def light(self, keys: npt.NDArray[np.int64]) -> None:
        """Photons absorbed, ``time_ps << 2 | detector``, after the last advance; see Walker."""
        self._waiting.append(keys)

    def advance(
        self,
        step_ps: int,
        *,
        light_after_ps: int,
        live: npt.NDArray[np.bool_] = ALL_LIVE,
        darks_left: float = 1.0,
    ) -> Events:
        """Go on by ``step_ps``; light still to be told arrives at ``light_after_ps`` or later.

        Of the four detectors only those that are ``live`` click in this step, and of their dark
        counts only the share ``darks_left``.
        """
        self.clock.wander_on(step_ps, self._rng)
        darks = self._darks(step_ps)
        if darks_left < 1.0:
            darks = darks[self._rng.random(darks.size) < darks_left]
        self._waiting.append(darks)
        keys = np.concatenate(self._waiting)
        keys.sort(kind="stable")  # two or three rising runs: a merge, not a sort
        horizon_ps = min(step_ps, light_after_ps - self.limit_ps)
        n_ready = int(keys.searchsorted(horizon_ps << 2))
        ready = keys[:n_ready]
        if live is not ALL_LIVE and not live.all():
            ready = ready[live[ready & 3]]
        seen = kernel.recover(ready, self._last_ps, recovery_ps=self._recovery_ps)
        events = self._events(seen)
        self._waiting = [keys[n_ready:] - (step_ps << 2)]
        np.maximum(self._last_ps - step_ps, LONG_AGO_PS, out=self._last_ps)
        self._base_ps += step_ps
        return events

    def _darks(self, step_ps: int) -> npt.NDArray[np.int64]:
        """Dark counts of the next ``step_ps``, from a stock that reaches further."""
        while self._darks_until_ps < step_ps:
            self._draw_darks(step_ps)
        n = int(self._darks_ahead.searchsorted(step_ps << 2))
        darks, rest = self._darks_ahead[:n], self._darks_ahead[n:]
        self._darks_ahead = rest - (step_ps << 2)
        self._darks_until_ps -= step_ps
        return darks

    def _draw_darks(self, step_ps: int) -> None:
        rate_per_ps = 4.0 * self._dark_hz * 1e-12
        span_ps = max(step_ps, round(min(MANY_DARKS / rate_per_ps, 1e12) if rate_per_ps else 1e12))
        n = int(self._rng.poisson(rate_per_ps * span_ps))
        keys = self._rng.integers(0, span_ps << 2, n)  # time and detector in one throw
        keys.sort()
        self._darks_ahead = np.concatenate((self._darks_ahead, keys + (self._darks_until_ps << 2)))
        self._darks_until_ps += span_ps

    def _events(self, keys: npt.NDArray[np.int64]) -> Events:
        fast, half_drift = self.clock.error_at(self._base_ps)
        times_ps, channels = kernel.tell(
            keys,
            fast=fast,
            half_drift=half_drift,
            base_ps=self.clock.reading_ps(self._base_ps),
            floor_ps=self._reading_ps,  # rounding where two steps meet
        )
        if times_ps.size:
            self._reading_ps = int(times_ps[-1])
        return Events(times_ps, channels)
