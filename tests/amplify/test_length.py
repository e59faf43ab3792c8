"""The length of a block's key: what it promises for any counts, and what the default link gives."""

import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.keyrate import Link
from qkdd.amplify.length import MIN_BITS, secret_length
from qkdd.amplify.settings import MIN_EPS_SEC, ProofSettings
from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensities

LIGHT = Intensities()
VARIABLE = ProofSettings()
PROOFS = (
    VARIABLE,
    ProofSettings(mu_uncertainty=0.005),
    ProofSettings(proof="lim-2014", announced_bits_per_pulse=1e-6),
    ProofSettings(proof="rusca-2018", announced_bits_per_pulse=1e-6),
)
N_PULSES = 1_600_000_000


@st.composite
def block_counts(draw: st.DrawFn) -> DecoyCounts:
    """Anything that arithmetic allows, near and far from an honest link."""
    if draw(st.booleans()):
        link = Link(loss_db=draw(st.floats(5, 35)), misalignment=draw(st.floats(0, 0.2)))
        return link.counts(draw(st.sampled_from([1e6, 1e8, 1.6e9])))
    counts = st.tuples(*[st.integers(0, 10**7)] * 3)
    key, test = draw(counts), draw(counts)
    errors = [tuple(draw(st.integers(0, n)) for n in basis) for basis in (key, test)]
    return DecoyCounts(key=key, test=test, key_errors=errors[0], test_errors=errors[1])


def with_more(counts: DecoyCounts, **changes: tuple[int, int, int]) -> DecoyCounts:
    fields = {name: getattr(counts, name) for name in ("key", "test", "test_errors", "key_errors")}
    return DecoyCounts(**fields | changes)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.proof)
@given(counts=block_counts(), leak=st.integers(0, 10**7))
@example(  # empty and single photons together more than all detections
    counts=DecoyCounts(
        key=(0, 1308, 292), test=(0, 104, 0), test_errors=(0, 0, 0), key_errors=(0, 0, 0)
    ),
    leak=1,
)
def test_any_counts_give_a_sane_length_or_a_reason(proof, counts, leak) -> None:
    length = secret_length(counts, LIGHT, leak, proof, n_pulses=N_PULSES)
    assert 0 <= length.bits <= max(0, counts.n_key - leak)
    assert math.isfinite(length.raw)
    assert length.bits < length.raw or length.bits == 0
    assert (length.bits == 0) == (length.reason is not None)
    assert 0.0 <= length.phi <= 0.5
    assert length.n_out % 8 == 0
    assert length.bits - 8 < length.n_out <= length.bits
    assert (length.eps_sec, length.eps_cor) == (proof.eps_sec, proof.eps_cor)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.proof)
@given(counts=block_counts(), leak=st.integers(0, 10**6), more=st.integers(1, 10**5))
def test_length_never_grows_with_leak_or_with_weak_or_signal_errors(
    proof, counts, leak, more
) -> None:
    def raw(counts: DecoyCounts, leak: int) -> float:
        return secret_length(counts, LIGHT, leak, proof, n_pulses=N_PULSES).raw

    base = raw(counts, leak)
    assert raw(counts, leak + more) == pytest.approx(base - more, abs=1e-6)
    for at in (0, 1):
        errors = list(counts.test_errors)
        errors[at] = min(counts.test[at], errors[at] + more)
        worse = with_more(counts, test_errors=tuple(errors))
        if proof.proof == "rusca-2018" and at == 1:
            continue  # there the decoy's errors are subtracted: v1 = tau1 (m1+ - m2-)/(mu1 - mu2)
        assert raw(worse, leak) <= base + 1e-6


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.proof)
@given(counts=block_counts(), log10_eps=st.floats(-30, -4), smaller=st.floats(0.1, 5))
@example(  # more empty pulses than the source can have sent
    counts=DecoyCounts(
        key=(0, 8274, 997), test=(0, 1212, 87), test_errors=(0, 0, 0), key_errors=(0, 0, 0)
    ),
    log10_eps=-4.0,
    smaller=1.0,
)
def test_length_never_grows_as_the_epsilons_shrink(proof, counts, log10_eps, smaller) -> None:
    def raw(eps_sec: float, eps_cor: float) -> float:
        demand = msgspec.structs.replace(proof, eps_sec=eps_sec, eps_cor=eps_cor)
        return secret_length(counts, LIGHT, 1000, demand, n_pulses=N_PULSES).raw

    base = raw(10**log10_eps, 1e-10)
    assert raw(10 ** (log10_eps - smaller), 1e-10) <= base + 1e-6
    assert raw(10**log10_eps, 1e-11) < base


def test_the_default_link_makes_a_quarter_of_a_megabit_a_second() -> None:
    """100 MHz, 15 dB, detectors 80 % and 100 dark/s, 1 % misalignment, 16 s: about 250 kbit/s."""
    link = Link()
    length = link.length(16.0, VARIABLE)
    assert link.counts(1.6e9).n_key / 16 == pytest.approx(0.66e6, rel=0.01)
    assert length.bits / 16 == pytest.approx(250e3, rel=0.03)
    assert 0.015 < length.phi < 0.03


def test_photon_number_splitting_takes_the_key_before_it_shows_as_errors() -> None:
    """Single photons withheld, the rest let through: the ratio of gains gives it away."""
    honest = Link().counts(1.6e9)
    split = with_more(
        honest,
        key=(honest.key[0], honest.key[1] // 2, honest.key[2]),
        test=(honest.test[0], honest.test[1] // 2, honest.test[2]),
        test_errors=(honest.test_errors[0], honest.test_errors[1] // 2, honest.test_errors[2]),
        key_errors=(0, 0, 0),
    )
    length = secret_length(split, LIGHT, 0, VARIABLE, n_pulses=N_PULSES)
    assert length.bits == 0
    assert length.reason is not None
    assert "single photons" in length.reason


def test_doubt_about_the_intensities_costs_key() -> None:
    sure, unsure = (
        Link().length(16.0, ProofSettings(mu_uncertainty=spread)).raw for spread in (0.0, 0.01)
    )
    assert 0.90 < unsure / sure < 0.97


@given(st.tuples(*[st.floats(-0.01, 0.01)] * 3))
def test_the_corners_of_the_box_cover_every_source_inside_it(errors) -> None:
    """Whatever the true intensities within 1 %, the length is not above the one they allow."""
    names = ("signal_mu", "weak_mu", "vacuum_mu")
    true = Intensities(
        **{name: mu * (1 + error) for name, mu, error in zip(names, LIGHT.mus, errors, strict=True)}
    )
    link = Link(intensities=true)
    counts = link.counts(1.6e9)
    leak = link.disclosed_bits(counts)
    allowed = secret_length(counts, true, leak, VARIABLE, n_pulses=N_PULSES)
    careful = ProofSettings(mu_uncertainty=0.01)
    claimed = secret_length(counts, LIGHT, leak, careful, n_pulses=N_PULSES)
    assert 0 < claimed.raw <= allowed.raw


def test_a_fixed_length_proof_gives_the_announced_length_or_nothing() -> None:
    for rate, bits in ((1e-3, 1_600_000), (5e-3, 0)):
        settings = ProofSettings(proof="lim-2014", announced_bits_per_pulse=rate)
        length = Link().length(16.0, settings)
        assert length.bits == bits
        assert (length.reason is None) == bool(bits)
        if length.reason:
            assert "8000000 announced: abort" in length.reason
    nothing = ProofSettings(proof="lim-2014", announced_bits_per_pulse=1e-12)
    assert "0 announced: abort" in str(Link().length(16.0, nothing).reason)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (DecoyCounts(key=(0, 0, 0), test=(9, 9, 9), test_errors=(0, 0, 0)), "key basis"),
        (DecoyCounts(key=(9, 9, 9), test=(0, 0, 0), test_errors=(0, 0, 0)), "test basis"),
        (DecoyCounts(key=(9, 9, 9), test=(9, 9, 9), test_errors=(0, 0, 0)), "single photons"),
    ],
)
def test_an_empty_block_says_why_it_has_no_key(counts: DecoyCounts, reason: str) -> None:
    length = secret_length(counts, LIGHT, 0, VARIABLE, n_pulses=N_PULSES)
    assert length.bits == 0
    assert length.reason is not None
    assert reason in length.reason


def test_a_leak_beyond_the_key_is_said_in_words() -> None:
    counts = Link().counts(1.6e9)
    length = secret_length(counts, LIGHT, 10**8, VARIABLE, n_pulses=N_PULSES)
    assert length.bits == 0
    assert length.reason is not None
    assert "100000000 disclosed" in length.reason


@pytest.mark.parametrize("left", [0, 1, 7, 8, 127, 128, 135, 136])
def test_less_than_128_bits_are_no_key_and_say_so(left: int) -> None:
    counts = Link().counts(1.6e9)
    whole = secret_length(counts, LIGHT, 0, VARIABLE, n_pulses=N_PULSES).bits
    length = secret_length(counts, LIGHT, whole - left, VARIABLE, n_pulses=N_PULSES)
    assert length.bits == (left if left >= MIN_BITS else 0)
    assert (length.n_out == 0) == (length.reason is not None)
    if left < MIN_BITS:
        assert f"{left} bits" in str(length.reason)
    few = ProofSettings(proof="lim-2014", announced_bits_per_pulse=left / N_PULSES + 1e-12)
    fixed = Link().length(16.0, few)
    assert (fixed.bits >= MIN_BITS) == (left >= MIN_BITS)
    assert (fixed.bits == 0) == (fixed.reason is not None)


def test_numbers_that_contradict_each_other_are_refused() -> None:
    counts = Link().counts(1.6e9)
    with pytest.raises(ValueError, match="cannot come from 1000000 pulses"):
        secret_length(counts, LIGHT, 0, VARIABLE, n_pulses=1_000_000)
    with pytest.raises(ValueError, match="disclosed_bits is -1"):
        secret_length(counts, LIGHT, -1, VARIABLE, n_pulses=N_PULSES)
    without = with_more(counts, key_errors=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="errors of the key basis"):
        secret_length(without, LIGHT, 0, PROOFS[3], n_pulses=N_PULSES)
    bad = ProofSettings(mu_uncertainty=0.2)
    close = Intensities(signal_mu=0.5, weak_mu=0.4, vacuum_mu=0.01)
    with pytest.raises(ValueError, match="touch"):
        secret_length(counts, close, 0, bad, n_pulses=N_PULSES)


@pytest.mark.parametrize(
    "fields",
    [
        {"eps_sec": 0.0},
        {"eps_sec": float("nan")},
        {"eps_sec": 1e-170},
        {"eps_cor": 1.0},
        {"eps_cor": 5e-20},
        {"mu_uncertainty": -0.1},
        {"proof": "lim-2014"},
        {"announced_bits_per_pulse": 0.001},
    ],
)
def test_settings_that_would_void_the_proof_are_refused(fields) -> None:
    with pytest.raises(ValueError, match=next(iter(fields)) + r"|announced"):
        ProofSettings(**fields)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, ProofSettings)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.proof)
@given(counts=block_counts())
def test_the_smallest_epsilon_allowed_can_be_computed_with(proof, counts) -> None:
    strict = msgspec.structs.replace(proof, eps_sec=MIN_EPS_SEC)
    strictest = secret_length(counts, LIGHT, 0, strict, n_pulses=N_PULSES)
    assert strictest.raw <= secret_length(counts, LIGHT, 0, proof, n_pulses=N_PULSES).raw
