"""Has a counter that wraps lost whole wraps while nobody read it? The host's clock can tell.

If the host does not read for longer than a wrap, a tagger's FIFO may overflow for longer than a
wrap, and its stream then goes on as if nothing had happened, k wraps behind. Once the backlog is
read, the tagger's time lags behind the host's by k wraps more than it did before.
"""

import math

STALL_S = 0.25
"""Shorter than a wrap of the TDC1: with less pause in reading, no wrap can have been lost."""
TRIAL_S = 2.0
"""How long after a stall the lag is watched: a backlog may take its time, on either side."""
TOLERANCE_S = 0.03
FORGET_S_PER_S = 0.02
"""The smallest lag is forgotten so fast: clocks drift, and a machine gets slower."""


class WrapWatch:
    """Fed with both clocks whenever the stream has been read to its end."""

    def __init__(self, *, wrap_s: float) -> None:
        self._wrap_s = wrap_s
        self._usual_lag_s: float | None = None
        self._last_s = 0.0
        self._trial_end_s: float | None = None
        self._trial_lag_s = math.inf

    def stalled(self, host_s: float) -> None:
        """Note that nobody read for longer than `STALL_S`, until now."""
        if self._usual_lag_s is not None:
            self._trial_end_s = host_s + TRIAL_S
            self._trial_lag_s = math.inf

    def caught_up(self, host_s: float, tagger_s: float) -> int:
        """Compare the clocks when nothing was left to read; return the wraps that were lost.

        Whoever hears of lost wraps adds them to the tagger's time from then on.
        """
        lag_s = host_s - tagger_s
        if self._trial_end_s is not None:
            self._trial_lag_s = min(self._trial_lag_s, lag_s)
            return self._judge(host_s) if host_s >= self._trial_end_s else 0
        if self._usual_lag_s is None:
            self._usual_lag_s = lag_s
        else:
            forgotten_s = FORGET_S_PER_S * (host_s - self._last_s)
            self._usual_lag_s = min(self._usual_lag_s + forgotten_s, lag_s)
        self._last_s = host_s
        return 0

    def _judge(self, host_s: float) -> int:
        assert self._usual_lag_s is not None
        excess_s = self._trial_lag_s - self._usual_lag_s
        n_wraps = round(excess_s / self._wrap_s)
        self._trial_end_s = None
        self._last_s = host_s
        if n_wraps >= 1 and abs(excess_s - n_wraps * self._wrap_s) < TOLERANCE_S:
            return n_wraps
        self._usual_lag_s = self._trial_lag_s
        return 0
