"""One decoy, fixed length: Rusca et al., Appl. Phys. Lett. 112, 171104 (2018), appendix A.

As printed, with the factor e^mu/p that (A18) lost. Needs the errors of the key basis, which exist
only after reconciliation. Proves a length that was fixed before the block: accept or abort.
"""

import math

from qkdd.amplify.concentration import hoeffding, hoeffding_delta
from qkdd.amplify.decoy import Estimate, Source
from qkdd.amplify.lim2014 import phase_error, unknown_bits

TERMS = 19
"""eps_sec = 2[a1 + 2 a2 + a3] + nu + 6 e1 + 4 e2, all equal (A24)."""

Pair = tuple[int, int]
"""Counts at the signal and at the decoy intensity."""


def single_photons(counts: Pair, errors: Pair, source: Source, epsilon: float) -> float:
    """Lower bound of the detections from single photons, clipped to [0, n] (A16, A17)."""
    mu1, mu2 = source.mus
    interval = hoeffding(epsilon)
    tau0, tau1 = source.tau(0), source.tau(1)
    (_, high1), (low2, _) = source.scaled(counts, interval)
    # The errors of the decoy intensity, fixed beforehand, bound the empty pulses from above.
    delta = hoeffding_delta(sum(counts), epsilon)
    _, wrong2 = interval(errors[1], sum(errors))
    s0_upper = 2.0 * (tau0 * math.exp(mu2) / source.probabilities[1] * wrong2 + delta)
    s0_upper *= 1.0 + source.doubt
    bracket = low2 - mu2**2 / mu1**2 * high1 - (mu1**2 - mu2**2) / mu1**2 * s0_upper / tau0
    return min(max(0.0, tau1 * mu1 / (mu2 * (mu1 - mu2)) * bracket), float(sum(counts)))


def rusca_2018(
    *,
    key: Pair,
    key_errors: Pair,
    test: Pair,
    test_errors: Pair,
    source: Source,
    disclosed_bits: int,
    eps_sec: float,
    eps_cor: float,
) -> Estimate:
    """Length by (A25); ``source`` has signal and decoy, in this order, and no other intensity."""
    share = eps_sec / TERMS
    interval = hoeffding(share)
    mu1, mu2 = source.mus
    (_, high1), (low2, _) = source.scaled(key, interval)
    s0 = source.tau(0) / (mu1 - mu2) * (mu1 * low2 - mu2 * high1)  # (A19)
    s1 = single_photons(key, key_errors, source, share)
    s0 = min(max(0.0, s0), float(sum(key)))
    s1_test = single_photons(test, test_errors, source, share)
    (_, wrong1), (wrong2, _) = source.scaled(test_errors, interval)
    v1_test = max(0.0, source.tau(1) / (mu1 - mu2) * (wrong1 - wrong2))  # (A22)
    phi = phase_error(v1_test, s1_test, s1, share)
    overhead_bits = 6.0 * math.log2(TERMS / eps_sec) + math.log2(2.0 / eps_cor)
    return Estimate(
        s0=s0,
        s1=s1,
        s1_test=s1_test,
        v1_test=v1_test,
        phi=phi,
        overhead_bits=overhead_bits,
        raw_bits=unknown_bits(s0, s1, phi, sum(key)) - disclosed_bits - overhead_bits,
    )
