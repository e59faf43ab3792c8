"""Counts by intensity to counts by photon number: the two-decoy estimators of Lim et al. 2014."""

import math
from dataclasses import dataclass
from typing import TypeAlias

from qkdd.amplify.concentration import Interval
from qkdd.base.counts import ByIntensity

Span: TypeAlias = tuple[float, float]


DOUBT = 2.0**-44
"""Relative doubt of a count's bound that covers all rounding of float64 after it; see
:meth:`Source.scaled`. 256 units of the last place: a few bits in 1e14."""


@dataclass(frozen=True, slots=True)
class Source:
    """Mean photon numbers and probabilities, strongest first; Poissonian, phase randomised.

    ``doubt`` is 0 where the printed formula is wanted to its last digit, DOUBT where a key's length
    hangs on it.
    """

    mus: tuple[float, ...]
    probabilities: tuple[float, ...]
    doubt: float = 0.0

    def tau(self, n: int) -> float:
        """Return the probability that a pulse of the source has n photons."""
        return math.fsum(
            p * math.exp(-mu) * mu**n / math.factorial(n)
            for mu, p in zip(self.mus, self.probabilities, strict=True)
        )

    def scaled(self, counts: tuple[int, ...], interval: Interval) -> tuple[Span, ...]:
        """Bounds of (e^mu/p) times the mean of each count: n^- and n^+ of the papers.

        The estimators are sums of these with few rounded operations on each term, and fall as an
        n^- falls or an n^+ grows. Moving every term outwards by ``doubt`` of its size, which is
        far more than the rounding of all that follows, therefore directs the rounding of the sum,
        however much of it cancels.
        """
        total = sum(counts)
        spans = []
        for mu, p, count in zip(self.mus, self.probabilities, counts, strict=True):
            low, high = interval(count, total)
            low, high = max(0.0, low - self.doubt * count), high * (1.0 + self.doubt)
            spans.append((math.exp(mu) / p * low, math.exp(mu) / p * high))
        return tuple(spans)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a proof says of one block, before rounding; counts are of detections.

    ``s0``, ``s1``: lower bounds of those in the key basis from empty and single-photon pulses;
    ``s1_test``, ``v1_test``: single-photon detections (lower) and errors (upper) of the test
    basis; ``phi``: upper bound of the single-photon phase error rate, 1/2 where there is none;
    ``overhead_bits``: what the epsilons cost; ``raw_bits``: the length, any sign.
    """

    s0: float
    s1: float
    s1_test: float
    v1_test: float
    phi: float
    overhead_bits: float
    raw_bits: float


def two_decoy(counts: ByIntensity, source: Source, interval: Interval) -> tuple[float, float]:
    """Lower bounds of the detections caused by empty and by single-photon pulses.

    Fails with at most 5 of the interval's epsilons: n1+, n2-, n2+, n3-, n3+.

    Source: Lim et al. 2014, eq. (2) and (3); negative bounds are clipped to 0.
    """
    mu1, mu2, mu3 = source.mus
    (_, high1), (low2, high2), (low3, high3) = source.scaled(counts, interval)
    tau0, tau1 = source.tau(0), source.tau(1)
    s0 = max(0.0, tau0 * (mu2 * low3 - mu3 * high2) / (mu2 - mu3))
    multi = (mu2 - mu3) * (mu2 + mu3) / mu1**2 * (high1 - s0 / tau0)
    # mu1 (mu2 - mu3) - mu2^2 + mu3^2, in factors: each has one rounding, and none cancels.
    gap = (mu2 - mu3) * math.fsum((mu1, -mu2, -mu3))
    s1 = tau1 * mu1 * (low2 - high3 - multi) / gap
    n = sum(counts)
    return min(s0, n), min(max(0.0, s1), n)


def single_photon_errors(errors: ByIntensity, source: Source, interval: Interval) -> float:
    """Upper bound of the errors caused by single-photon pulses; 2 epsilons: m2+, m3-.

    Source: Lim et al. 2014, eq. (4).
    """
    _, (_, high2), (low3, _) = source.scaled(errors, interval)
    _, mu2, mu3 = source.mus
    return max(0.0, source.tau(1) * (high2 - low3) / (mu2 - mu3))
