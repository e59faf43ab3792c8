"""Two decoys, length taken from each block's own counts: the proof that qkdd uses.

Statement (Tupkary, Nahar, Sinha, Lütkenhaus, Quantum 9, 1937 (2025), arXiv:2408.17349): if for
every attack

    Pr[ s1_true < s1  or  phi_true > phi ] <= eps_at^2

then hashing to s1 (1 - h(phi)) - leak - 2 log2(1/(2 eps_pa)) - log2(2/eps_cor) bits is
(2 eps_at + eps_pa)-secret and eps_cor-correct, length and leak chosen from the data. Here
eps_at = eps_pa = eps_sec/3. Thirteen bounds share eps_at^2: five of two_decoy for each basis, two
of single_photon_errors, one sampling. Empty pulses are given to Eve. The paper's terms delta1 and
delta2 for detectors whose efficiency depends on the basis are zero: equality is assumed. Where it
is not, :mod:`qkdd.amplify.certified`.
"""

import math
from dataclasses import dataclass

from qkdd.amplify.concentration import chernoff
from qkdd.amplify.decoy import Estimate, Source, single_photon_errors, two_decoy
from qkdd.amplify.sampling import binary_entropy, error_rate_outside
from qkdd.base.counts import DecoyCounts

TERMS = 13


@dataclass(frozen=True, slots=True)
class SinglePhotons:
    """Whole numbers, rounded against us: at least ``key`` and ``test``, at most ``wrong``.

    ``s0``: detections in the key basis from empty pulses, for the record.
    """

    key: int
    test: int
    wrong: int
    s0: float

    def error_rate(self, epsilon: float) -> float:
        """Upper bound of the error rate the key basis would have shown in the test basis."""
        if self.key == 0 or self.wrong > self.test:
            return 1.0
        return error_rate_outside(self.wrong, n_test=self.test, n_key=self.key, epsilon=epsilon)


def single_photons(counts: DecoyCounts, source: Source, share: float) -> SinglePhotons:
    """Bound the single photons of both bases and their errors: twelve bounds of ``share`` each."""
    interval = chernoff(share)
    s0, s1 = two_decoy(counts.key, source, interval)
    _, s1_test = two_decoy(counts.test, source, interval)
    v1_test = single_photon_errors(counts.test_errors, source, interval)
    return SinglePhotons(math.floor(s1), math.floor(s1_test), math.ceil(v1_test), s0)


def length_estimate(
    photons: SinglePhotons,
    phi: float,
    disclosed_bits: int,
    *,
    eps_pa: float,
    eps_cor: float,
) -> Estimate:
    """Length of the statement above for a bound ``phi`` of the phase error rate."""
    overhead_bits = 2.0 * math.log2(1.0 / (2.0 * eps_pa)) + math.log2(2.0 / eps_cor)
    return Estimate(
        s0=photons.s0,
        s1=float(photons.key),
        s1_test=float(photons.test),
        v1_test=float(photons.wrong),
        phi=phi,
        overhead_bits=overhead_bits,
        raw_bits=photons.key * (1.0 - binary_entropy(phi)) - disclosed_bits - overhead_bits,
    )


def variable_length(
    counts: DecoyCounts, source: Source, disclosed_bits: int, *, eps_sec: float, eps_cor: float
) -> Estimate:
    """Length of the statement above; ``source`` has signal, weak and vacuum, in this order."""
    eps_at = eps_pa = eps_sec / 3.0
    share = eps_at * eps_at / TERMS
    photons = single_photons(counts, source, share)
    phi = min(0.5, photons.error_rate(share))
    return length_estimate(photons, phi, disclosed_bits, eps_pa=eps_pa, eps_cor=eps_cor)
