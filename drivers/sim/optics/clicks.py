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


def detector_rungs(
    *,
    key_basis_share: float,
    misalignment: float,
    intensities: tuple[float, float, float],
) -> npt.NDArray[np.uint64]:
    """Ranges of the throw that means detector 0..3, for every state.

    Parameters
    ----------
    key_basis_share : float
        Share of the receiver's splitter that goes to the key basis.
    misalignment : float
        Probability of the wrong detector where the bases agree; where they differ it is 1/2.
    intensities : (signal, weak, vacuum)
        Relative to the brightest, for which the candidates are drawn: 0..1 each.

    Returns
    -------
    rungs : (16, 4) uint64
        For state ``bit | basis << 1 | intensity << 2``, cumulative over detectors
        ``basis << 1 | bit``, in 1 / RUNG_SCALE (rounded: 2e-10 of the brightest).
    """
    rungs = np.zeros((16, 4), np.uint64)
    shares = (key_basis_share, 1.0 - key_basis_share)
    for intensity, level in enumerate(intensities):
        for basis in (0, 1):
            for bit in (0, 1):
                chances = [
                    level * shares[seen] * _port_chance(misalignment, seen == basis, out == bit)
                    for seen in (0, 1)
                    for out in (0, 1)
                ]
                ends = np.rint(np.cumsum(chances) * kernel.RUNG_SCALE)
                rungs[bit | basis << 1 | intensity << 2] = ends
    return rungs


def _port_chance(misalignment: float, bases_agree: bool, right_port: bool) -> float:
    if not bases_agree:
        return 0.5
    return 1.0 - misalignment if right_port else misalignment


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
        self._clock = TaggerClock(
            offset_ppm=receiver.clock_offset_ppm, drift_ppb_per_s=receiver.clock_drift_ppb_per_s
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
        self, step_ps: int, *, light_after_ps: int, live: npt.NDArray[np.bool_] = ALL_LIVE
    ) -> Events:
        """Go on by ``step_ps``; light still to be told arrives at ``light_after_ps`` or later.

        Of the four detectors only those that are ``live`` click in this step.
        """
        self._waiting.append(self._darks(step_ps))
        keys = np.concatenate(self._waiting)
        keys.sort(kind="stable")  # two or three rising runs: a merge, not a sort
        horizon_ps = min(step_ps, light_after_ps - self.limit_ps)
        n_ready = int(np.searchsorted(keys, horizon_ps << 2))
        ready = keys[:n_ready]
        if not live.all():
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
        n = int(np.searchsorted(self._darks_ahead, step_ps << 2))
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
        fast, half_drift = self._clock.error_at(self._base_ps)
        times_ps, channels = kernel.tell(
            keys,
            fast=fast,
            half_drift=half_drift,
            base_ps=self._clock.reading_ps(self._base_ps),
            floor_ps=self._reading_ps,  # rounding where two steps meet
        )
        if times_ps.size:
            self._reading_ps = int(times_ps[-1])
        return Events(times_ps, channels)
