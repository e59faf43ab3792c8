"""The pulse clock: when pulse number n arrives, and the loop that keeps it true."""

import math
from dataclasses import dataclass, replace

PHASE_GAIN = 0.5
PERIOD_GAIN = 1 / 6
"""Gains of the alpha-beta loop, beta = alpha^2 / (2 - alpha) (Benedict and Bordner 1962): the lag
is 3 a dt^2 under a frequency drift a, which is 3 ps at 10 ppb/s and dt = 10 ms."""

SOFT_CLICKS = 20.0
"""A measurement of so few clicks gets half the gain: their mean wanders by 0.2 ns on 2 ns ticks."""

COHERENCE_SIGMA = 3.0


@dataclass(frozen=True, slots=True)
class PulseClock:
    """Pulse ``pulse`` arrives at ``anchor_ps + fraction_ps`` and each next one a period later.

    The anchor moves on with the light, so that floats only ever span the current window: the
    error of a time stays below 1e-3 ps for ever, and pulse numbers are integers.
    """

    pulse: int
    anchor_ps: int
    fraction_ps: float
    period_ps: float

    def at(self, pulse: int) -> "PulseClock":
        """Return the same clock, anchored at another pulse."""
        n_pulses = pulse - self.pulse
        whole_ps = int(self.period_ps)
        rest_ps = n_pulses * (self.period_ps - whole_ps) + self.fraction_ps
        carry_ps = math.floor(rest_ps)
        anchor_ps = self.anchor_ps + n_pulses * whole_ps + carry_ps
        return PulseClock(pulse, anchor_ps, rest_ps - carry_ps, self.period_ps)

    def moved(self, phase_ps: float, period_ps: float) -> "PulseClock":
        """Return the clock later by ``phase_ps`` at its anchor, its period longer."""
        rest_ps = self.fraction_ps + phase_ps
        carry_ps = math.floor(rest_ps)
        return PulseClock(
            self.pulse, self.anchor_ps + carry_ps, rest_ps - carry_ps, self.period_ps + period_ps
        )

    def renumbered(self, pulse: int) -> "PulseClock":
        """Return the clock with another number for the pulse at its anchor."""
        return replace(self, pulse=pulse)


def coherent(n_clicks: int, n_near: int, sigma: float = COHERENCE_SIGMA) -> bool:
    """Say whether clicks follow the clock.

    Without light, arrivals are uniform over the period: half of them are near (within a quarter
    of a period), so ``2 n_near - n`` has mean 0 and variance n.
    """
    return 2 * n_near - n_clicks > sigma * math.sqrt(n_clicks)


class PhaseLoop:
    """Gathers residuals and corrects the clock once in ``interval_pulses``."""

    def __init__(self, interval_pulses: int) -> None:
        self._interval_pulses = interval_pulses
        self._n_pulses = 0
        self._n_clicks = 0
        self._n_near = 0
        self._sum_ps = 0

    def measured(
        self, clock: PulseClock, *, n_pulses: int, n_clicks: int, n_near: int, sum_ps: int
    ) -> PulseClock:
        """Take in one window that ended at the clock's anchor; return the clock from there on."""
        self._n_pulses += n_pulses
        self._n_clicks += n_clicks
        self._n_near += n_near
        self._sum_ps += sum_ps
        if 2 * self._n_pulses < self._interval_pulses:
            return clock
        if coherent(self._n_clicks, self._n_near):  # else coast: dark counts would push it about
            weight = self._n_clicks / (self._n_clicks + SOFT_CLICKS)
            error_ps = weight * self._sum_ps / self._n_clicks
            clock = clock.moved(PHASE_GAIN * error_ps, PERIOD_GAIN * error_ps / self._n_pulses)
        self._n_pulses = self._n_clicks = self._n_near = self._sum_ps = 0
        return clock
