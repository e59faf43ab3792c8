"""float64 against 50 digits: how near, and that rounding never makes a key longer.

Each proof is followed step by step. Where a step ends in whole numbers, the next one starts from
the package's own: any of them that is on the safe side of the exact bound is valid. There are no
deadlines: 50 digits take their time.
"""

import math
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from benchmarks.keyrate import Link
from qkdd.amplify import concentration, sampling
from qkdd.amplify.certified import Mismatch, phase_error
from qkdd.amplify.decoy import DOUBT, Source, single_photon_errors, two_decoy
from qkdd.amplify.length import ROUNDING_BITS, ROUNDING_SHARE, secret_length
from qkdd.amplify.settings import ProofSettings
from qkdd.amplify.variable import single_photons
from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensities
from tests.amplify import many_digits as exact

N_PULSES = 10**12
epsilons = st.floats(-90, -2).map(lambda exponent: 10**exponent)
totals = st.integers(0, 10**10)
spreads = st.just(0.0) | st.floats(1e-12, 0.2)  # of smaller ones, 50 digits lose the square root


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    with mp.workdps(exact.DIGITS):
        yield


@st.composite
def lights(draw: st.DrawFn) -> Intensities:
    """Any source that the settings allow, nearly touching intensities among them."""
    weak, vacuum = draw(st.floats(1e-3, 0.9)), draw(st.floats(0, 0.9))
    assume(vacuum < weak)
    gap = draw(st.floats(1e-6, 1.0))
    signal, part = draw(st.floats(0.01, 0.98)), draw(st.floats(0.01, 0.98))
    try:
        return Intensities(
            signal_mu=weak + vacuum + gap,
            weak_mu=weak,
            vacuum_mu=vacuum,
            signal_probability=signal,
            weak_probability=(1 - signal) * part,
        )
    except ValueError:
        assume(False)
        raise


@st.composite
def counts_of_a_block(draw: st.DrawFn) -> DecoyCounts:
    if draw(st.booleans()):
        link = Link(loss_db=draw(st.floats(3, 30)), misalignment=draw(st.floats(0, 0.1)))
        return link.counts(draw(st.sampled_from([1e7, 1e9, 1e11])))
    three = st.tuples(*[totals] * 3)
    key, test = draw(three), draw(three)
    wrong = [tuple(draw(st.integers(0, n)) for n in basis) for basis in (key, test)]
    return DecoyCounts(key=key, test=test, key_errors=wrong[0], test_errors=wrong[1])


def source_of(light: Intensities) -> Source:
    return Source(light.mus, light.probabilities, DOUBT)


@settings(deadline=None)
@given(totals, totals, epsilons)
def test_intervals_are_those_of_many_digits_to_a_few_last_places(count, others, epsilon) -> None:
    total = count + others
    for name in ("hoeffding", "chernoff"):
        low, high = getattr(concentration, name)(epsilon)(count, total)
        exact_low, exact_high = getattr(exact, name)(epsilon)(count, total)
        assert abs(mpf(low) - exact_low) <= 8 * 2.0**-52 * (float(exact_high) + 1)
        assert abs(mpf(high) - exact_high) <= 8 * 2.0**-52 * exact_high


@settings(deadline=None)
@given(st.floats(0, 1))
def test_entropy_errs_by_a_few_last_places_of_one(x) -> None:
    assert abs(mpf(sampling.binary_entropy(x)) - exact.entropy(mpf(x))) <= 4 * 2.0**-53


@settings(deadline=None)
@given(lights(), st.tuples(*[totals] * 3), epsilons)
def test_photon_number_bounds_are_rounded_against_us(light, counts, epsilon) -> None:
    source, printed = source_of(light), exact.Printed(light.mus, light.probabilities)
    interval, bound = concentration.chernoff(epsilon), exact.chernoff(epsilon)
    s0, s1 = two_decoy(counts, source, interval)
    exact_s0, exact_s1 = printed.s0_s1(counts, bound)
    assert mpf(s0) <= exact_s0
    assert mpf(s1) <= exact_s1
    assert mpf(single_photon_errors(counts, source, interval)) >= printed.v1(counts, bound)


@settings(deadline=None)
@given(st.floats(3, 30), st.sampled_from([1e7, 1e9, 1e11]), epsilons)
def test_photon_number_bounds_of_honest_blocks_lose_nothing_to_rounding(loss, n, epsilon) -> None:
    link = Link(loss_db=loss)
    light, counts = link.intensities, link.counts(n).key
    s1 = two_decoy(counts, source_of(light), concentration.chernoff(epsilon))[1]
    printed = exact.Printed(light.mus, light.probabilities)
    exact_s1 = printed.s0_s1(counts, exact.chernoff(epsilon))[1]
    assert exact_s1 - mpf(s1) <= 1e-11 * sum(counts)


@settings(deadline=None)
@given(st.data(), st.integers(1, 10**9), st.integers(1, 10**10), epsilons)
def test_the_sampling_bound_holds_in_many_digits(data, n_test, n_key, epsilon) -> None:
    x = data.draw(st.integers(0, min(n_test, n_test // 2 + 1)))
    y = sampling.errors_outside(x, n_test=n_test, n_key=n_key, epsilon=epsilon)
    if x < y < n_key:
        tail = exact.log_tail(x, n_test=n_test, n_key=n_key, n_errors=x + y)
        assert tail <= mp.log(mpf(epsilon))
        # 16 last places of lgamma of the population are allowed for: the bound is no looser.
        assert tail >= sampling.log_tail(x, n_test=n_test, n_key=n_key, n_errors=x + y) - 1e-13 * (
            n_test + n_key
        ) * math.log(n_test + n_key + 2)


@settings(deadline=None)
@given(st.integers(1, 10**10), st.floats(0, 1), epsilons)
def test_a_binomial_number_exceeds_its_bound_as_seldom_as_said(n, p, epsilon) -> None:
    c = concentration.binomial_excess(n, p, epsilon)
    if p > 0:
        t, mean = mpf(c) * (1 + mpf(2) ** -50) * n, mpf(p) * n
        assert mp.exp(-(t**2) / (2 * mean + t)) <= mpf(epsilon) * (1 + mpf(10) ** -11)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(1, 10**10), spreads, spreads, epsilons)
def test_the_mismatch_is_rounded_against_us(rate, n, eta, dark, epsilon) -> None:
    phi = phase_error(rate, n, Mismatch(eta, dark), epsilon)
    lost = [2 * mpf(spread) / (1 + mpf(spread)) for spread in (eta, dark)]
    delta1 = max(4 * (1 - mp.sqrt(1 - lost[0])), 2 * mpf(dark) / (1 - mpf(dark)))
    delta2 = max(lost)
    b = mp.log(1 / mpf(epsilon)) / n
    g1, g2 = (b / 2 + mp.sqrt(b**2 / 4 + 2 * d * b) if d else 0 for d in (delta1, delta2))
    below = 1 - delta2 - g2
    wanted = (mpf(rate) + delta1 + g1) / below if below > 0 else mpf("0.5")
    assert mpf(phi) >= min(wanted, mpf("0.5"))
    if wanted < 0.5:
        assert abs(mpf(phi) - wanted) < 1e-12


def lim_length(counts, printed, leak, proof):
    share = mpf(proof.eps_sec) / 21
    bound = exact.hoeffding(share)
    s0, s1 = printed.s0_s1(counts.key, bound)
    c = printed.s0_s1(counts.test, bound)[1]
    phi = exact.printed_phi(printed.v1(counts.test_errors, bound), c, s1, share)
    left = min(mpf(counts.n_key), s0 + s1 * (1 - exact.entropy(phi)))
    return left - leak - 6 * exact.log2(1 / share) - exact.log2(2 / mpf(proof.eps_cor))


def rusca_length(counts, light, leak, proof):
    share = mpf(proof.eps_sec) / 19
    p1, p2 = (mpf(p) for p in light.probabilities[:2])
    printed = exact.Printed(light.mus[:2], (p1 / (p1 + p2), p2 / (p1 + p2)))
    m1, m2 = printed.mu
    bound = exact.hoeffding(share)
    key, test = counts.key[:2], counts.test[:2]
    (_, high1), (low2, _) = printed.scaled(key, bound)
    s0 = printed.tau(0) / (m1 - m2) * (m1 * low2 - m2 * high1)
    s0 = min(max(mpf(0), s0), mpf(sum(key)))
    s1 = printed.one_decoy_s1(key, counts.key_errors[:2], share)
    c = printed.one_decoy_s1(test, counts.test_errors[:2], share)
    (_, wrong1), (wrong2, _) = printed.scaled(counts.test_errors[:2], bound)
    v1 = max(mpf(0), printed.tau(1) / (m1 - m2) * (wrong1 - wrong2))
    phi = exact.printed_phi(v1, c, s1, share)
    left = min(mpf(sum(key)), s0 + s1 * (1 - exact.entropy(phi)))
    return left - leak - 6 * exact.log2(1 / share) - exact.log2(2 / mpf(proof.eps_cor))


def variable_bound(counts, light, leak, proof):
    """The length for the package's own whole numbers, which are checked first."""
    terms = 15 if proof.proof == "certified" else 13
    share = mpf(proof.eps_sec) ** 2 / 9 / terms
    printed = exact.Printed(light.mus, light.probabilities)
    eps = proof.eps_sec / 3.0
    found = single_photons(counts, source_of(light), eps * eps / terms)
    bound = exact.chernoff(share)
    wider = 1 + mpf(2) ** -50  # the shares themselves are rounded
    assert found.key <= printed.s0_s1(counts.key, bound)[1] * wider + mpf("1e-9")
    assert found.test <= printed.s0_s1(counts.test, bound)[1] * wider + mpf("1e-9")
    assert found.wrong >= printed.v1(counts.test_errors, bound) * (2 - wider) - mpf("1e-9")
    phi = mpf("0.5")
    if found.key and found.wrong <= found.test:
        y = sampling.errors_outside(
            found.wrong, n_test=found.test, n_key=found.key, epsilon=eps * eps / terms / 2
        )
        phi = min(phi, mpf(y + 1) / found.key)
        if proof.proof == "certified":
            phi = mpf(
                phase_error(
                    found.error_rate(eps * eps / terms),
                    found.key,
                    Mismatch(proof.efficiency_spread, proof.dark_spread),
                    eps * eps / terms,
                )
            )
    left = found.key * (1 - exact.entropy(phi)) - leak
    return left - 2 * exact.log2(3 / (2 * mpf(proof.eps_sec))) - exact.log2(2 / mpf(proof.eps_cor))


@settings(deadline=None)
@given(lights(), counts_of_a_block(), st.integers(0, 10**8), st.floats(-30, -4))
@pytest.mark.parametrize("name", ["variable-length", "certified", "lim-2014", "rusca-2018"])
def test_rounding_never_lengthens_a_key(name, light, counts, leak, log10_eps) -> None:
    fixed = name in ("lim-2014", "rusca-2018")
    spread = 0.002 if name == "certified" else None
    proof = ProofSettings(
        proof=name,
        eps_sec=10**log10_eps,
        announced_bits_per_pulse=1e-9 if fixed else None,
        efficiency_spread=spread,
        dark_spread=spread,
    )
    length = secret_length(counts, light, leak, proof, n_pulses=N_PULSES)
    if name == "rusca-2018":
        longest = rusca_length(counts, light, leak, proof)
    elif name == "lim-2014":
        printed = exact.Printed(light.mus, light.probabilities)
        longest = lim_length(counts, printed, leak, proof)
    else:
        longest = variable_bound(counts, light, leak, proof)
    rounding = ROUNDING_BITS + ROUNDING_SHARE * counts.n_key
    assert mpf(length.raw) - rounding <= longest
    if not fixed:
        assert length.bits <= max(mpf(0), longest)
