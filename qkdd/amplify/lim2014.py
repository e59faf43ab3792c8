"""Two decoys, fixed length: Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014).

As printed (Hoeffding, eq. 1 to 5) but for bounds of counts clipped at 0 and the sampling term
held at one error. Proves a length that was fixed before the block: accept or abort.
"""

import math

from qkdd.amplify.concentration import hoeffding
from qkdd.amplify.decoy import Estimate, Source, single_photon_errors, two_decoy
from qkdd.amplify.sampling import binary_entropy, printed_gamma
from qkdd.base.counts import DecoyCounts

TERMS = 21
"""eps_sec = 2[2 a1 + a2 + a3] + nu + 10 e1 + 2 e2, all equal (B4)."""


def phase_error(v1_test: float, s1_test: float, s1: float, share: float) -> float:
    """Upper bound of the phase error rate in the key basis by eq. (5), at most 1/2."""
    if s1_test < 1.0 or s1 < 1.0:
        return 0.5
    b = max(v1_test, 1.0) / s1_test
    if b >= 0.5:
        return 0.5
    return min(0.5, b + printed_gamma(b, s1_test, s1, share))


def unknown_bits(s0: float, s1: float, phi: float, n_key: int) -> float:
    """Lower bound of what Eve does not know of the detections, s0 + s1 (1 - h(phi)).

    Counts that contradict the source can give more than was detected; the detections are the cap.
    """
    return min(float(n_key), s0 + s1 * (1.0 - binary_entropy(phi)))


def lim_2014(
    counts: DecoyCounts, source: Source, disclosed_bits: int, *, eps_sec: float, eps_cor: float
) -> Estimate:
    """Length by eq. (1); ``source`` has signal, weak and vacuum, in this order."""
    interval = hoeffding(eps_sec / TERMS)
    s0, s1 = two_decoy(counts.key, source, interval)
    _, s1_test = two_decoy(counts.test, source, interval)
    v1_test = single_photon_errors(counts.test_errors, source, interval)
    phi = phase_error(v1_test, s1_test, s1, eps_sec / TERMS)
    overhead_bits = 6.0 * math.log2(TERMS / eps_sec) + math.log2(2.0 / eps_cor)
    return Estimate(
        s0=s0,
        s1=s1,
        s1_test=s1_test,
        v1_test=v1_test,
        phi=phi,
        overhead_bits=overhead_bits,
        raw_bits=unknown_bits(s0, s1, phi, counts.n_key) - disclosed_bits - overhead_bits,
    )
