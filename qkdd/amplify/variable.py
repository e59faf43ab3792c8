"""Two decoys, length taken from each block's own counts: the proof that qkdd uses.

Statement (Tupkary, Nahar, Sinha, Lütkenhaus, arXiv:2408.17349): if for every attack

    Pr[ s1_true < s1  or  phi_true > phi ] <= eps_at^2

then hashing to s1 (1 - h(phi)) - leak - 2 log2(1/(2 eps_pa)) - log2(2/eps_cor) bits is
(2 eps_at + eps_pa)-secret and eps_cor-correct, length and leak chosen from the data. Here
eps_at = eps_pa = eps_sec/3. Thirteen bounds share eps_at^2: five of two_decoy for each basis, two
of single_photon_errors, one sampling. Empty pulses are given to Eve. The paper's terms delta1 and
delta2 for detectors whose efficiency depends on the basis are zero: equality is assumed.
"""

import math

from qkdd.amplify.concentration import chernoff
from qkdd.amplify.decoy import Estimate, Source, single_photon_errors, two_decoy
from qkdd.amplify.sampling import binary_entropy, errors_outside
from qkdd.base.counts import DecoyCounts

TERMS = 13

DOUBT = 1e-9
"""Relative doubt of a float bound when it is made a whole number; rounding goes against us."""


def variable_length(
    counts: DecoyCounts, source: Source, disclosed_bits: int, *, eps_sec: float, eps_cor: float
) -> Estimate:
    """Length of the statement above; ``source`` has signal, weak and vacuum, in this order."""
    eps_at = eps_pa = eps_sec / 3.0
    share = eps_at * eps_at / TERMS
    interval = chernoff(share)
    s0, s1 = two_decoy(counts.key, source, interval)
    _, s1_test = two_decoy(counts.test, source, interval)
    v1_test = single_photon_errors(counts.test_errors, source, interval)
    n_key = math.floor(s1 * (1.0 - DOUBT))
    n_test = math.floor(s1_test * (1.0 - DOUBT))
    wrong = math.ceil(v1_test * (1.0 + DOUBT))
    phi = 0.5
    if n_key > 0 and wrong <= n_test:
        outside = errors_outside(wrong, n_test=n_test, n_key=n_key, epsilon=share)
        # One more error: n_test and n_key are lower bounds, and in whole numbers the rate need not
        # fall as they grow; it was never seen to rise by as much as one error.
        phi = min(0.5, (outside + 1) / n_key)
    overhead_bits = 2.0 * math.log2(1.0 / (2.0 * eps_pa)) + math.log2(2.0 / eps_cor)
    return Estimate(
        s0=s0,
        s1=float(n_key),
        s1_test=float(n_test),
        v1_test=float(wrong),
        phi=phi,
        overhead_bits=overhead_bits,
        raw_bits=n_key * (1.0 - binary_entropy(phi)) - disclosed_bits - overhead_bits,
    )
