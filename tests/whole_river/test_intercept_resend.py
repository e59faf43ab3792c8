"""Intercept and resend in the fibre: the whole river shows it, as far as the formulas say.

Laser, fibre with Eve, detectors, tagger words, decoder, frames, sifting, reconciliation, length:
both ends in one process, no clock. The prediction shares with the click model only the energy of a
photon and the losses in dB.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.predicted import Prediction, Setup, demo_setup, predict, with_ramp
from benchmarks.river import Distilled, River
from qkdd.amplify.length import SecretLength, secret_length
from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import DecoyCounts

SIGMAS = 5.0  # 40 numbers are compared: one seed in 40,000 would fail; it is fixed
FRAMES = 20
N_DRAWS = 40

Case = tuple[Setup, Distilled, Prediction]


@pytest.fixture(scope="module", params=[0.0, 0.1], ids=["honest", "attacked"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One block of 2 s at 50 km, and what it should count."""
    setup = with_ramp(demo_setup(fraction=request.param), FRAMES)
    river = River(setup, seed=20_261, entropy=np.random.default_rng(7).bytes)
    (block,) = itertools.islice(river.blocks(), 1)
    yield setup, block, predict(setup, setup.plan.payload_pulses(0))
    if block.keys is not None:
        for key in block.keys:
            key.wipe()


def test_the_counts_of_every_basis_and_intensity_are_as_predicted(case: Case) -> None:
    _, block, expected = case
    assert abs(block.n_clicks - expected.clicks) < SIGMAS * math.sqrt(expected.clicks)
    for name in ("key", "test"):
        measured, mean = getattr(block.counts, name), getattr(expected, name)
        for intensity in range(3):
            # one more where few are expected: there a normal sigma is too small
            limit = SIGMAS * math.sqrt(mean[intensity]) + 1.0
            assert abs(measured[intensity] - mean[intensity]) < limit, (name, intensity)


def test_the_error_rate_of_both_bases_is_as_predicted(case: Case) -> None:
    _, block, expected = case
    counts = block.counts
    assert counts.key_errors is not None
    for errors, count, qber in (
        (counts.key_errors, counts.n_key, expected.qber_key),
        (counts.test_errors, counts.n_test, expected.qber_test),
    ):
        sigma = math.sqrt(qber * (1 - qber) / count)
        assert abs(sum(errors) / count - qber) < SIGMAS * sigma


def test_a_tenth_of_the_pulses_adds_a_fortieth_to_both_error_rates() -> None:
    pulses = 10**9
    honest, attacked = (predict(demo_setup(fraction=f), pulses) for f in (0.0, 0.1))
    for name in ("qber_key", "qber_test"):
        q = getattr(honest, name)
        assert getattr(attacked, name) == pytest.approx(q + 0.1 * (0.25 - q / 2), rel=1e-9)
    assert attacked.key == pytest.approx(honest.key, rel=1e-9)


def test_the_secret_length_is_that_of_the_predicted_counts(case: Case) -> None:
    setup, block, expected = case

    def length(counts: DecoyCounts) -> SecretLength:
        return secret_length(
            counts,
            setup.intensities,
            block.ledger.both_ways_bits,
            ProofSettings(),
            n_pulses=setup.plan.payload_pulses(0),
        )

    assert length(block.counts) == block.length
    rng = np.random.default_rng(1)
    sigma = np.std([length(expected.drawn(rng)).raw for _ in range(N_DRAWS)])
    assert abs(block.length.raw - length(expected.rounded()).raw) < SIGMAS * sigma


def test_both_ends_hold_the_same_key_or_none(case: Case) -> None:
    setup, block, _ = case
    if setup.fraction:
        assert block.keys is None
        assert block.length.reason
    else:
        assert block.keys is not None
        assert block.keys[0] == block.keys[1]
        assert 8 * len(block.keys[0]) == block.length.n_out > 0
