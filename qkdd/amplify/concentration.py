"""How far a count can be from its mean, and the mean from the count: Hoeffding and Chernoff.

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


def binomial_excess(n: int, p: float, epsilon: float) -> float:
    """Return c with Pr[more than n (p + c) of ``n`` draws with chance ``p``] <= ``epsilon``.

    From Pr[X >= M + t] <= exp(-t^2/(2M + t)), M = n p, the same bound as in :func:`chernoff`. Falls
    with n, so that a lower bound may stand for n. 0 where nothing can exceed: p = 0.
    """
    _check(epsilon)
    if n < 1 or not 0.0 <= p <= 1.0:
        raise ValueError(f"{n} draws with chance {p}")
    if p == 0.0:
        return 0.0
    b = math.log(1.0 / epsilon) / n
    return b / 2.0 + math.sqrt(b * b / 4.0 + 2.0 * p * b)
