"""Two decoys, variable length, detectors that are not alike: the bound to be certified.

Statement (Tupkary, Nahar, Sinha, Lütkenhaus, Quantum 9, 1937 (2025), arXiv:2408.17349; formulas as
in the authors' published program for its figures). The length is that of
:mod:`qkdd.amplify.variable` with

    phi = (e + delta1 + g1) / (1 - delta2 - g2)

e is the sampled error rate with its deviation; g1 and g2 are the deviations of a binomial number of
the key basis' single photons with chance delta1, delta2. Fifteen bounds share eps_at^2: the
thirteen of the default and these two. How it comes about, with a common filter in front of both
bases through which everything passes that either basis could detect: of what passes, the key basis
loses at most the share delta2, and its error operator, wherever it is measured, differs from the
test basis' by at most delta1 in norm.

The two bases' detectors have efficiencies within eta (1 -+ efficiency_spread) and dark counts
within d (1 -+ dark_spread), wherever in these ranges an attacker puts each, pulse by pulse. The
paper has the dark count probability d in delta1 and delta2; they are largest for d = 0, which is
used here. The paper's basis choice is active.
"""

import math
from dataclasses import dataclass

from qkdd.amplify.concentration import binomial_excess
from qkdd.amplify.decoy import Estimate, Source
from qkdd.amplify.variable import length_estimate, single_photons
from qkdd.base.counts import DecoyCounts

TERMS = 15

DOUBT = 2.0**-44
"""Relative: delta1, delta2 and phi are rounded up by it, far more than float64 can err."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """How unlike the detectors are: half-widths of their ranges, relative to the middle."""

    efficiency_spread: float
    dark_spread: float

    @property
    def delta1(self) -> float:
        """Largest difference of the two bases' error operators, in norm.

        Photons: 4 (1 - sqrt(1 - lost)), ``lost`` as in delta2. No photon: the dark counts that the
        basis with fewer lacks, over the fewer.
        """
        lost = _lost(self.efficiency_spread)
        photons = 4.0 * lost / (1.0 + math.sqrt(1.0 - lost))  # the same, and nothing cancels
        dark = 2.0 * self.dark_spread / (1.0 - self.dark_spread)
        return max(photons, dark) * (1.0 + DOUBT)

    @property
    def delta2(self) -> float:
        """Largest share that one basis detects and the other loses."""
        return max(_lost(self.efficiency_spread), _lost(self.dark_spread)) * (1.0 + DOUBT)


def _lost(spread: float) -> float:
    """1 - (1 - spread)/(1 + spread): what the worst detector loses of what the best detects."""
    return 2.0 * spread / (1.0 + spread)


def phase_error(rate: float, n_key: int, mismatch: Mismatch, share: float) -> float:
    """Put the mismatch into the sampled error ``rate``; at most 1/2. Two bounds of ``share``."""
    if n_key == 0:
        return 0.5
    above = rate + mismatch.delta1 + binomial_excess(n_key, mismatch.delta1, share)
    below = 1.0 - mismatch.delta2 - binomial_excess(n_key, mismatch.delta2, share)
    if below <= 0.0:
        return 0.5
    return min(0.5, above / below * (1.0 + DOUBT))


def certified(
    counts: DecoyCounts,
    source: Source,
    disclosed_bits: int,
    mismatch: Mismatch,
    *,
    eps_sec: float,
    eps_cor: float,
) -> Estimate:
    """Length of the statement above; ``source`` has signal, weak and vacuum, in this order."""
    eps_at = eps_pa = eps_sec / 3.0
    share = eps_at * eps_at / TERMS
    photons = single_photons(counts, source, share)
    phi = phase_error(photons.error_rate(share), photons.key, mismatch, share)
    return length_estimate(photons, phi, disclosed_bits, eps_pa=eps_pa, eps_cor=eps_cor)
