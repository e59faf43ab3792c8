"""Errors of calibration segments by basis: their rate, and whether they have become more."""

import math
from dataclasses import dataclass, field

WORSE = 0.01
"""A basis' error rate above that of the last visits by so much ends what was settled."""

WORSE_NATS = math.log(1e4)
"""Evidence for it: by chance once in 10,000 samples at most (Page's test: Lorden 1971, Ann. Math.
Stat. 42, 1897), and then it costs some seconds of wider excursions."""


@dataclass(slots=True)
class Side:
    """What was counted with the sphere turned to one side; by basis."""

    matched: list[int] = field(default_factory=lambda: [0, 0])
    errors: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, matched: tuple[int, int], errors: tuple[int, int]) -> None:
        for basis in range(2):
            self.matched[basis] += matched[basis]
            self.errors[basis] += errors[basis]

    def rate(self, basis: int) -> tuple[float, float]:
        """Return the error rate and the variance of its estimate (Laplace's rule)."""
        n = self.matched[basis] + 2
        rate = (self.errors[basis] + 1) / n
        return rate, rate * (1.0 - rate) / n


class Page:
    """Page's test of one basis: have the errors become more by ``more`` since they were known?

    From a half on, where there is nothing to be known, it is as if they were a half.
    """

    def __init__(self, usual: float, more: float = WORSE) -> None:
        self._usual = min(usual, 0.5)
        self._worse = self._usual + more
        self._nats = 0.0

    def take(self, matched: int, errors: int) -> bool:
        """Take one sample; say whether the evidence is enough."""
        self._nats += errors * math.log(self._worse / self._usual)
        self._nats += (matched - errors) * math.log((1.0 - self._worse) / (1.0 - self._usual))
        self._nats = max(0.0, self._nats)
        return self._nats > WORSE_NATS
