"""Lim 2014 against the printed formulas in 50-digit decimals, and against published rates."""

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.keyrate import Link
from qkdd.amplify.concentration import chernoff
from qkdd.amplify.decoy import Source, single_photon_errors, two_decoy
from qkdd.amplify.lim2014 import lim_2014
from qkdd.amplify.sampling import binary_entropy, errors_outside
from qkdd.base.counts import DecoyCounts

MUS = (0.5, 0.19, 0.001)
PROBABILITIES = (0.65, 0.29, 0.06)
D = Decimal


def printed_formula(counts: DecoyCounts, leak: int, eps_sec: float, eps_cor: float) -> Decimal:
    """Equations (1) to (5) once more, read apart from the package, in decimals."""
    mu = [D(x) for x in MUS]
    p = [D(x) for x in PROBABILITIES]
    eps = D(eps_sec)
    ln2 = D(2).ln()
    tau0 = sum(q * (-m).exp() for m, q in zip(mu, p, strict=True))
    tau1 = sum(q * m * (-m).exp() for m, q in zip(mu, p, strict=True))

    def n_pm(n: tuple[int, int, int], k: int, sign: int) -> Decimal:
        delta = (D(sum(n)) / 2 * (21 / eps).ln()).sqrt()
        return mu[k].exp() / p[k] * max(D(0), n[k] + sign * delta)

    def s01(n: tuple[int, int, int]) -> tuple[Decimal, Decimal]:
        s0 = tau0 * (mu[1] * n_pm(n, 2, -1) - mu[2] * n_pm(n, 1, 1)) / (mu[1] - mu[2])
        s0 = max(D(0), s0)
        top = n_pm(n, 1, -1) - n_pm(n, 2, 1)
        top -= (mu[1] ** 2 - mu[2] ** 2) / mu[0] ** 2 * (n_pm(n, 0, 1) - s0 / tau0)
        bottom = mu[0] * (mu[1] - mu[2]) - mu[1] ** 2 + mu[2] ** 2
        return s0, tau1 * mu[0] * top / bottom

    s0, s1 = s01(counts.key)
    c = s01(counts.test)[1]
    m = counts.test_errors
    b = tau1 * (n_pm(m, 1, 1) - n_pm(m, 2, -1)) / (mu[1] - mu[2]) / c
    x = (c + s1) / (c * s1 * (1 - b) * b) * (21 / eps) ** 2
    phi = b + ((c + s1) * (1 - b) * b / (c * s1 * ln2) * x.ln() / ln2).sqrt()
    h = -(phi * phi.ln() + (1 - phi) * (1 - phi).ln()) / ln2
    return s0 + s1 * (1 - h) - leak - 6 * (21 / eps).ln() / ln2 - (2 / D(eps_cor)).ln() / ln2


@settings(max_examples=40)
@given(
    st.integers(10**6, 3 * 10**7),
    st.floats(0.001, 0.03),
    st.floats(-12, -6),
    st.integers(0, 10**6),
)
def test_float_and_fifty_digits_agree_to_a_millionth_of_a_bit(n, qber, log10_eps, leak) -> None:
    key = (int(n * 0.85), int(n * 0.1495), int(n * 0.0005))
    test = (key[0] // 30, key[1] // 30, key[2] // 30)
    errors = (int(test[0] * qber), int(test[1] * qber), test[2] // 2)
    counts = DecoyCounts(key=key, test=test, test_errors=errors)
    source = Source(MUS, PROBABILITIES)
    estimate = lim_2014(counts, source, leak, eps_sec=10**log10_eps, eps_cor=1e-15)
    assume(estimate.phi < 0.5 and estimate.v1_test > 1.0)  # elsewhere the print is silent
    with localcontext(prec=50):
        exact = printed_formula(counts, leak, 10**log10_eps, 1e-15)
        assert abs(D(estimate.raw_bits) - exact) < D("1e-6")


@pytest.mark.parametrize(
    ("km", "n_key", "kbit_s"),
    [
        (50, 1e6, 1478), (50, 1e7, 2501), (67, 4e6, 1135), (67, 1e7, 1242), (80, 1e7, 685),
        (100, 1e6, 151), (100, 1e8, 282), (120, 1e7, 94), (150, 1e7, 19),
    ],
)  # fmt: skip
def test_rates_of_the_link_design_are_met(km: int, n_key: float, kbit_s: float) -> None:
    """Lim's estimators with inverse Chernoff and exact sampling, 21 equal epsilons.

    Expected: an independent computation of the 1.25 GHz link design (80 % detectors, 30 ns).
    """
    link = Link(pulse_rate_hz=1.25e9, loss_db=0.22 * km + 4.0, gate_s=0.32e-9)
    seconds = n_key / link.counts(1.25e9).n_key
    counts = link.counts(1.25e9 * seconds)
    source = Source(link.intensities.mus, link.intensities.probabilities)
    epsilon = 1e-12 / 21
    interval = chernoff(epsilon)
    s0, s1 = two_decoy(counts.key, source, interval)
    s1_test = two_decoy(counts.test, source, interval)[1]
    wrong = math.ceil(single_photon_errors(counts.test_errors, source, interval))
    outside = errors_outside(wrong, n_test=int(s1_test), n_key=int(s1), epsilon=epsilon**2)
    raw = s0 + s1 * (1 - binary_entropy(outside / int(s1))) - link.disclosed_bits(counts)
    raw -= 6 * math.log2(1 / epsilon) + math.log2(2e15)
    assert raw / seconds / 1e3 == pytest.approx(kbit_s, rel=0.01, abs=0.6)
