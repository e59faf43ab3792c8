"""How many secret bits a block holds, by the agreed proof; or, in words, why none."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from qkdd.amplify.certified import Mismatch, certified
from qkdd.amplify.decoy import DOUBT, Estimate, Source
from qkdd.amplify.lim2014 import lim_2014
from qkdd.amplify.rusca2018 import rusca_2018
from qkdd.amplify.settings import ProofSettings
from qkdd.amplify.variable import variable_length
from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensities

ROUNDING_BITS = 1e-3
ROUNDING_SHARE = 2.0**-44
"""Taken off before rounding down: so many bits, and this share of the detections. The proofs'
counts are rounded against us (Source.scaled); what is left is the rounding of the entropy and of
the last sum, some 2^-52 of the detections each (tests/amplify compares with many digits)."""

MIN_BITS = 128
"""A shorter key is none: it would not even pay for the tag that commits it, and the store takes no
block without room for one key."""


@dataclass(frozen=True, slots=True)
class SecretLength:
    """The verdict on one block. ``bits`` is what may be hashed out of it, 0 with a ``reason``."""

    bits: int
    estimate: Estimate
    disclosed_bits: int
    eps_sec: float
    eps_cor: float
    reason: str | None = None

    @property
    def raw(self) -> float:
        """The proof's length before rounding, of any sign."""
        return self.estimate.raw_bits

    @property
    def phi(self) -> float:
        return self.estimate.phi

    @property
    def n_out(self) -> int:
        """``bits`` cut to whole bytes, as the hash makes it and the key store counts it."""
        return self.bits - self.bits % 8


def secret_length(
    counts: DecoyCounts,
    intensities: Intensities,
    disclosed_bits: int,
    settings: ProofSettings,
    *,
    n_pulses: int,
) -> SecretLength:
    """Bound what an eavesdropper can know of a block and return what remains.

    Parameters
    ----------
    counts : DecoyCounts
        Of the whole block, nothing dropped; with ``key_errors`` for "rusca-2018".
    disclosed_bits : int
        Every bit about the key that either end said in public: syndromes, reveals, verdicts,
        check values and error counts.
    n_pulses : int
        Pulses of the block that could make key, fixed before it began.

    Raises
    ------
    ValueError
        If the numbers contradict each other (more detections than pulses, a negative leak, no
        key-basis errors where the proof needs them).
    """
    if n_pulses <= 0 or counts.n_key + counts.n_test > n_pulses:
        raise ValueError(
            f"{counts.n_key} + {counts.n_test} detections cannot come from {n_pulses} pulses"
        )
    if disclosed_bits < 0:
        raise ValueError(f"disclosed_bits is {disclosed_bits}")
    worst = min(
        (
            _estimate(counts, source, disclosed_bits, settings)
            for source in _box(intensities, settings)
        ),
        key=lambda estimate: estimate.raw_bits,
    )
    if not math.isfinite(worst.raw_bits):
        raise ValueError(f"length {worst.raw_bits} from {counts}")
    rounding = ROUNDING_BITS + ROUNDING_SHARE * counts.n_key
    bits = max(0, min(counts.n_key, math.floor(worst.raw_bits - rounding)))
    reason = None
    if bits < MIN_BITS:
        bits, reason = 0, _why_none(counts, worst, disclosed_bits)
    if settings.announced_bits_per_pulse is not None:
        announced = math.floor(settings.announced_bits_per_pulse * n_pulses)
        accepted = bits >= announced >= MIN_BITS
        if not accepted:
            more = f" ({reason})" if reason else ""
            reason = f"{bits} bits proved, {announced} announced: abort{more}"
        bits = announced if accepted else 0
    return SecretLength(
        bits=bits,
        estimate=worst,
        disclosed_bits=disclosed_bits,
        eps_sec=settings.eps_sec,
        eps_cor=settings.eps_cor,
        reason=reason,
    )


def check_source(intensities: Intensities, settings: ProofSettings) -> None:
    """Raise ValueError if no block of such a source could be bounded."""
    for _ in _box(intensities, settings):
        pass


def _box(intensities: Intensities, settings: ProofSettings) -> Iterator[Source]:
    """Sources at the corners of what is believed of the mean photon numbers."""
    spread = settings.mu_uncertainty
    factors = (1.0 - spread, 1.0 + spread) if spread else (1.0,)
    for scale in itertools.product(factors, repeat=3):
        mus = tuple(mu * factor for mu, factor in zip(intensities.mus, scale, strict=True))
        if not (mus[0] > mus[1] + mus[2] and mus[1] > mus[2]):
            raise ValueError(
                f"mu_uncertainty {spread} makes the intensities {intensities.mus} touch"
            )
        yield Source(mus, intensities.probabilities, DOUBT)


def _estimate(
    counts: DecoyCounts, source: Source, disclosed_bits: int, settings: ProofSettings
) -> Estimate:
    if settings.proof == "rusca-2018":
        if counts.key_errors is None:
            raise ValueError("proof rusca-2018 needs the errors of the key basis")
        # The vacuum pulses are left out, as if Eve owned them: what remains is a source with two
        # intensities and their probabilities given that it is not vacuum.
        share = source.probabilities[0] + source.probabilities[1]
        return rusca_2018(
            key=counts.key[:2],
            key_errors=counts.key_errors[:2],
            test=counts.test[:2],
            test_errors=counts.test_errors[:2],
            source=Source(
                source.mus[:2],
                (source.probabilities[0] / share, source.probabilities[1] / share),
                source.doubt,
            ),
            disclosed_bits=disclosed_bits,
            eps_sec=settings.eps_sec,
            eps_cor=settings.eps_cor,
        )
    if settings.proof == "certified":
        assert settings.efficiency_spread is not None
        assert settings.dark_spread is not None
        return certified(
            counts,
            source,
            disclosed_bits,
            Mismatch(settings.efficiency_spread, settings.dark_spread),
            eps_sec=settings.eps_sec,
            eps_cor=settings.eps_cor,
        )
    proof = lim_2014 if settings.proof == "lim-2014" else variable_length
    return proof(counts, source, disclosed_bits, eps_sec=settings.eps_sec, eps_cor=settings.eps_cor)


def _why_none(counts: DecoyCounts, estimate: Estimate, disclosed_bits: int) -> str:
    if counts.n_key == 0:
        return "no detections in the key basis"
    if counts.n_test == 0:
        return "no detections in the test basis"
    if estimate.s1 < 1.0:
        return f"no single photons proved among {counts.n_key} key-basis detections"
    if estimate.s1_test < 1.0:
        return f"no single photons proved among {counts.n_test} test-basis detections"
    if estimate.phi >= 0.5:
        return (
            f"no bound on the phase error: {estimate.v1_test:.0f} errors in "
            f"{estimate.s1_test:.0f} single-photon tests (test QBER {counts.qber_test:.3f})"
        )
    if estimate.raw_bits >= 0.0:
        return f"{math.floor(estimate.raw_bits)} bits left, fewer than {MIN_BITS} are no key"
    return (
        f"{estimate.raw_bits:.0f} bits left: {disclosed_bits} disclosed and "
        f"{estimate.overhead_bits:.0f} for the epsilons exceed {estimate.s1:.0f} single photons "
        f"with phase error {estimate.phi:.4f}"
    )
