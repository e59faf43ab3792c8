"""How far the mean of a count can be from the count: Hoeffding and inverse Chernoff.

Given the photon numbers of the detected pulses, the transmitter's intensities are independent
draws, also under a coherent attack, so the number of detections at one intensity is a sum of
independent 0/1 variables. Both bounds speak of such a sum; each side of each interval fails with
probability at most ``epsilon``.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

Interval: TypeAlias = Callable[[int, int], tuple[float, float]]
"""``interval(count, total)``: lower and upper bound of the mean of ``count``, one of several
counts that sum to ``total``; the lower one is never negative."""


def _check(epsilon: float) -> None:
    if not 0.0 < epsilon < 1.0:
        raise ValueError(f"epsilon {epsilon} is not a probability of failure")


def hoeffding_delta(total: int, epsilon: float) -> float:
    """How far a count out of ``total`` strays from its mean: sqrt(total/2 ln(1/epsilon)).

    Source: Lim et al. 2014, after eq. (2); Rusca et al. 2018, eq. (A2).
    """
    _check(epsilon)
    return math.sqrt(total / 2.0 * math.log(1.0 / epsilon))


def hoeffding(epsilon: float) -> Interval:
    """Return count -+ :func:`hoeffding_delta` of the total."""
    _check(epsilon)

    def interval(count: int, total: int) -> tuple[float, float]:
        delta = hoeffding_delta(total, epsilon)
        return max(0.0, count - delta), count + delta

    return interval


def chernoff(epsilon: float) -> Interval:
    """Invert the multiplicative Chernoff bounds; narrow where count is much below total.

    With B = ln(1/epsilon): Pr[X <= M - t] <= exp(-t^2/2M) gives M <= x + B + sqrt(2Bx + B^2);
    Pr[X >= M + t] <= exp(-t^2/(2M + t)) gives M >= x + B/2 - sqrt(2Bx + B^2/4), of which the
    form in print, lower by B, is used.

    Source: Zhang et al., PRA 95, 012333 (2017); the same form in SatQuMA (Sidhu et al. 2022).
    """
    _check(epsilon)
    b = math.log(1.0 / epsilon)

    def interval(count: int, total: int) -> tuple[float, float]:
        lower = count - b / 2.0 - math.sqrt(2.0 * b * count + b * b / 4.0)
        return max(0.0, lower), count + b + math.sqrt(2.0 * b * count + b * b)

    return interval
