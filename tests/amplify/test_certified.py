"""The bound for detectors that are not alike: against its paper, and against the default."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from benchmarks.keyrate import Link
from qkdd.amplify.certified import Mismatch, certified, phase_error
from qkdd.amplify.decoy import Source
from qkdd.amplify.sampling import binary_entropy
from qkdd.amplify.settings import MAX_SPREAD, ProofSettings
from qkdd.base.agreement import agreement, check_agreement
from qkdd.base.counts import DecoyCounts
from qkdd.base.errors import PeerError

ALIKE = ProofSettings(proof="certified", efficiency_spread=0.0, dark_spread=0.0)
spreads = st.floats(0, MAX_SPREAD)


def authors_deltas(eta_spread: float, dark_spread: float, dark: float) -> tuple[float, float]:
    with mp.workdps(50):
        one, two = in_many_digits(mpf(eta_spread), mpf(dark_spread), mpf(dark))
        return float(one), float(two)


def in_many_digits(eta_spread: mpf, dark_spread: mpf, dark: mpf) -> tuple[mpf, mpf]:
    """delta1 and delta2 as computeDeltaOne.m and computeDeltaTwo.m of the authors have them.

    Source: Optical-Quantum-Communication-Theory/Phase-error-rate-estimation-in-QKD-with-imperfect-
    detectors, without random swapping of the detectors.
    """
    low, high = dark * (1 - dark_spread), dark * (1 + dark_spread)
    ratio = (1 - eta_spread) / (1 + eta_spread)
    missing = 1 - (1 - (1 - low) ** 2) / (1 - (1 - high) ** 2)
    none = missing * high * (2 - low) / (1 - (1 - low) ** 2)
    some = 4 * (1 - mp.sqrt(1 - (1 - low) ** 2 * (1 - ratio)))
    return max(none, some), max(missing, (1 - low) ** 2 * (1 - ratio))


def authors_length(counts: DecoyCounts, source: Source, leak: int, spread: float) -> float:
    """BB84WCPDecoyEURKeyRateFunc.m: Hoeffding and Serfling, all shares equal, eps_sec 1e-12."""
    eps_at = 1e-12 / 3
    each = eps_at / math.sqrt(12)  # nine pairs of decoy bounds and three others, squared, add up

    def delta(n: int) -> float:
        return math.sqrt(n / 2 * (math.log(2) - 2 * math.log(each)))

    def scaled(n: tuple[int, ...]) -> list[tuple[float, float]]:
        return [
            (math.exp(mu) / p * (one - delta(sum(n))), math.exp(mu) / p * (one + delta(sum(n))))
            for mu, p, one in zip(source.mus, source.probabilities, n, strict=True)
        ]

    m1, m2, m3 = source.mus
    tau0 = sum(p * math.exp(-m) for m, p in zip(source.mus, source.probabilities, strict=True))
    tau1 = sum(p * m * math.exp(-m) for m, p in zip(source.mus, source.probabilities, strict=True))

    def single(n: tuple[int, ...]) -> float:
        one, two, three = scaled(n)
        zero = max(0.0, tau0 * (m2 * three[0] - m3 * two[1]) / (m2 - m3))
        top = two[0] - three[1] - (m2**2 - m3**2) / m1**2 * (one[1] - zero / tau0)
        return tau1 * m1 * top / (m1 * (m2 - m3) - m2**2 + m3**2)

    def binomial(n: float, d: float) -> float:  # their choice where eps^2 < 1e-16
        return math.sqrt(-math.log(each) / n)

    key, test = single(counts.key), single(counts.test)
    _, two, three = scaled(counts.test_errors)
    errors = tau1 * (two[1] - three[0]) / (m2 - m3)
    serfling = math.sqrt(-math.log(each) / (key * test**2 / ((key + test) * (test + 1))))
    d1, d2 = authors_deltas(spread, spread, 1e-6)
    phi = (errors / test + serfling + d1 + binomial(key, d1)) / (1 - binomial(key, d2) - d2)
    cost = 2 * math.log2(3 / 2e-12) + math.log2(2e15)
    return key * (1 - binary_entropy(min(0.5, phi))) - leak - cost


def length(spread: float, counts: DecoyCounts, source: Source, leak: int) -> float:
    mismatch = Mismatch(spread, spread)
    return certified(counts, source, leak, mismatch, eps_sec=1e-12, eps_cor=1e-15).raw_bits


@settings(deadline=None)
@given(spreads, spreads, st.floats(1e-9, 0.1))
def test_deltas_are_the_authors_own_at_their_largest(eta, dark, dark_chance) -> None:
    """Ours need no dark count rate: they are what the authors' tend to as it goes to nothing."""
    mismatch = Mismatch(eta, dark)
    one, two = authors_deltas(eta, dark, dark_chance)
    assert mismatch.delta1 >= one - 1e-9
    assert mismatch.delta2 >= two - 1e-9
    limit_one, limit_two = authors_deltas(eta, dark, 1e-9)
    assert mismatch.delta1 == pytest.approx(limit_one, abs=1e-6)
    assert mismatch.delta2 == pytest.approx(limit_two, abs=1e-6)


def test_five_percent_by_hand() -> None:
    """lost = 1 - 0.95/1.05 = 2/21; delta1 = 4 (1 - sqrt(19/21)); dark: 0.1/0.95."""
    mismatch = Mismatch(0.05, 0.0)
    assert mismatch.delta2 == pytest.approx(2 / 21, rel=1e-12)
    assert mismatch.delta1 == pytest.approx(4 * (1 - math.sqrt(19 / 21)), rel=1e-12)
    assert Mismatch(0.0, 0.05).delta1 == pytest.approx(0.1 / 0.95, rel=1e-12)


@pytest.mark.parametrize("spread", [0.0, 0.002, 0.005, 0.01])
def test_it_is_a_little_longer_than_the_authors_looser_concentration_gives(spread: float) -> None:
    link = Link(pulse_rate_hz=1.25e9, loss_db=12.0, gate_s=0.32e-9)
    counts = link.counts(1e11)
    source = Source(link.intensities.mus, link.intensities.probabilities)
    leak = link.disclosed_bits(counts)
    theirs = authors_length(counts, source, leak, spread)
    ours = length(spread, counts, source, leak)
    assert 0 < theirs <= ours <= 1.1 * theirs


@given(st.floats(0, 0.05), st.floats(0, 0.05), st.floats(0.0, 0.05))
def test_less_alike_never_gives_more(eta, dark, more) -> None:
    phis = [
        phase_error(0.02, 10**6, Mismatch(eta + a, dark + b), 1e-26)
        for a, b in ((0, 0), (more, 0), (0, more))
    ]
    assert phis[0] == min(phis)


def test_equal_detectors_cost_no_more_than_two_more_terms() -> None:
    default, alike = (Link().length(16.0, proof).raw for proof in (ProofSettings(), ALIKE))
    assert 0.999 * default < alike < default


def test_unlike_detectors_cost_what_the_documents_say() -> None:
    """docs/decisions/0029: shares of the default's key, default link, blocks of 16 s."""
    default = Link().length(16.0, ProofSettings()).raw
    for spread, share in ((0.001, 0.967), (0.005, 0.850), (0.01, 0.722), (0.05, 0.043)):
        unlike = msgspec.structs.replace(ALIKE, efficiency_spread=spread)
        assert Link().length(16.0, unlike).raw / default == pytest.approx(share, abs=0.002)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"proof": "certified"}, "needs efficiency_spread"),
        ({"proof": "certified", "efficiency_spread": 0.01}, "needs dark_spread"),
        ({"dark_spread": 0.01}, "dark_spread has no meaning with proof variable-length"),
        ({"proof": "certified", "efficiency_spread": 0.3, "dark_spread": 0.0}, "0.2"),
        ({"proof": "certified", "efficiency_spread": math.nan, "dark_spread": 0.0}, "nan|nvalid"),
        (
            {
                "proof": "certified",
                "efficiency_spread": 0.0,
                "dark_spread": 0.0,
                "announced_bits_per_pulse": 0.1,
            },
            "has no meaning with proof certified",
        ),
    ],
)
def test_spreads_are_asked_for_and_held_to_their_limits(fields, said) -> None:
    with pytest.raises(ValueError, match=said):
        ProofSettings(**fields)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, ProofSettings)


def test_two_ends_with_other_spreads_do_not_agree() -> None:
    mine = agreement(proof=ALIKE)
    theirs = agreement(proof=msgspec.structs.replace(ALIKE, efficiency_spread=0.01))
    check_agreement(mine, agreement(proof=ALIKE))
    with pytest.raises(PeerError, match=r"proof\.efficiency_spread is 0\.0 here and '0\.01' there"):
        check_agreement(mine, theirs)
