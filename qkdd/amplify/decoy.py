"""Counts by intensity to counts by photon number: the two-decoy estimators of Lim et al. 2014."""

import math
from dataclasses import dataclass
from typing import TypeAlias

from qkdd.amplify.concentration import Interval
from qkdd.base.counts import ByIntensity

Span: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Source:
    """Mean photon numbers and probabilities, strongest first; Poissonian, phase randomised."""

    mus: tuple[float, ...]
    probabilities: tuple[float, ...]

    def tau(self, n: int) -> float:
        """Return the probability that a pulse of the source has n photons."""
        return math.fsum(
            p * math.exp(-mu) * mu**n / math.factorial(n)
            for mu, p in zip(self.mus, self.probabilities, strict=True)
        )

    def scaled(self, counts: tuple[int, ...], interval: Interval) -> tuple[Span, ...]:
        """Bounds of (e^mu/p) times the mean of each count: n^- and n^+ of the papers."""
        total = sum(counts)
        spans = []
        for mu, p, count in zip(self.mus, self.probabilities, counts, strict=True):
            low, high = interval(count, total)
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
    multi = (mu2**2 - mu3**2) / mu1**2 * (high1 - s0 / tau0)
    s1 = tau1 * mu1 * (low2 - high3 - multi) / (mu1 * (mu2 - mu3) - mu2**2 + mu3**2)
    n = sum(counts)
    return min(s0, n), min(max(0.0, s1), n)


def single_photon_errors(errors: ByIntensity, source: Source, interval: Interval) -> float:
    """Upper bound of the errors caused by single-photon pulses; 2 epsilons: m2+, m3-.

    Source: Lim et al. 2014, eq. (4).
    """
    _, (_, high2), (low3, _) = source.scaled(errors, interval)
    _, mu2, mu3 = source.mus
    return max(0.0, source.tau(1) * (high2 - low3) / (mu2 - mu3))
