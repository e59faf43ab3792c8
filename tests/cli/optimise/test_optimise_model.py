"""The forward model against the laboratory's own prediction, and against the decoder."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.predicted import demo_setup, predict
from qkdd.amplify.length import secret_length
from qkdd.amplify.settings import ProofSettings
from qkdd.base.light import Intensities
from qkdd.cli.optimise.model import (
    DISCLOSED,
    Choice,
    Measured,
    disclosed_share,
    expect,
    inside,
    pulses_within,
)
from qkdd.cli.optimise.search import plan_for
from qkdd.frames.settings import FrameSettings
from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.settings import ReconcileSettings


@pytest.mark.parametrize("km", [5, 20, 50, 80, 110])
def test_counts_are_those_of_the_laboratory_within_half_a_percent(km: int) -> None:
    """Two models written apart; `benchmarks.attack` holds whole daemons to the other one."""
    setup = demo_setup(km)
    measured = Measured(setup.fibre.loss_db + 3.0, 0.8, 100.0, 30_000, 50.0, 2_000, 0.01)
    choice = Choice(setup.plan, setup.intensities, setup.frames, setup.receiver.key_basis_share)
    expected = expect(measured, choice, ProofSettings())
    n_pulses = setup.plan.payload_pulses(3)
    other = predict(setup, n_pulses)
    for name in ("key", "test", "key_errors", "test_errors"):
        pairs = zip(getattr(expected.counts, name), getattr(other, name), strict=True)
        assert all(abs(ours - theirs) <= 0.005 * theirs + 1 for ours, theirs in pairs)
    assert expected.clicks == pytest.approx(other.clicks, rel=0.005)
    theirs = secret_length(
        other.rounded(),
        setup.intensities,
        expected.disclosed_bits,
        ProofSettings(),
        n_pulses=n_pulses,
    )
    assert expected.length.raw == pytest.approx(theirs.raw, rel=0.01)


@pytest.mark.parametrize("qber", [0.01, 0.03, 0.08])
def test_disclosed_bits_are_what_reconciliation_discloses_within_two_percent(qber: float) -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2, 8 * FRAME_BITS, np.uint8)
    wrong = bits ^ (rng.random(bits.size) < qber).astype(np.uint8)
    alike = np.zeros(bits.size, np.uint8)
    settings = ReconcileSettings()
    alice = AliceReconciler(1, bits, alike, qber, settings, rng.bytes)
    bob = BobReconciler(1, wrong, alike, settings)
    to_bob = list(alice.start())
    while to_bob:
        answers = [answer for message in to_bob for answer in bob.receive(message)]
        to_bob = [reply for answer in answers for reply in alice.receive(answer)]
    measured = alice.ledger.f_both_ways(qber)
    assert disclosed_share(qber) == pytest.approx(measured, rel=0.02)


def test_disclosed_share_meets_its_table_and_goes_on_beside_it() -> None:
    for qber, f in DISCLOSED:
        assert disclosed_share(qber) == pytest.approx(f)
    assert DISCLOSED[2][1] < disclosed_share(0.008) < DISCLOSED[1][1]
    assert disclosed_share(0.001) == pytest.approx(2 * DISCLOSED[0][1])
    assert disclosed_share(0.3) == DISCLOSED[-1][1]


@given(st.floats(0, 500), st.integers(1, 3000), st.floats(1, 5000), st.floats(0, 5000))
def test_shares_of_a_gate_are_those_of_drawn_times(sigma, tick, width, center) -> None:
    """4000 draws at a fixed seed: five standard deviations."""
    rng = np.random.default_rng(7)
    times = rng.normal(0.0, sigma, 4000) + rng.uniform(-tick / 2, tick / 2, 4000)
    drawn = np.mean((times >= center - width / 2) & (times < center + width / 2))
    share = inside(center, width, sigma, tick)
    assert abs(drawn - share) <= 5 * math.sqrt(max(share * (1 - share), 1e-3) / 4000) + 1e-3


def test_pulses_within_the_dead_time_are_counted_in_ticks() -> None:
    """40 ns at 10 ns a pulse: the fourth is just outside; 34 ns: the third is inside by 2 ticks."""
    assert pulses_within(40_000, 10_000.0, 2_000) == 3.0
    assert pulses_within(34_000, 10_000.0, 2_000) == 3.0
    assert pulses_within(31_000, 10_000.0, 2_000) == 2.5


def test_the_dead_time_is_the_shortest_that_the_proof_allows() -> None:
    assert Measured(10, 0.8, 100, 30_000, 50, 2_000, 0.01).dead_time_ps == 34_000
    assert Measured(10, 0.8, 100, 30_001, 50, 2_000, 0.01).dead_time_ps == 36_000
    assert Measured(10, 0.8, 100, 0, 50, 13, 0.01).dead_time_ps == 26


@pytest.mark.parametrize(
    ("kind", "km", "clicks_per_s", "sifted_per_s", "qber"),
    [
        ("InGaAs", 50, 2.59e6, 1.83e6, 0.0200),
        ("InGaAs", 67, 1.21e6, 8.5e5, 0.0205),
        ("InGaAs", 80, 6.5e5, 4.6e5, 0.0213),
        ("InGaAs", 100, 2.4e5, 1.7e5, 0.0244),
        ("InGaAs", 120, 9.2e4, 6.4e4, 0.0325),
        ("SNSPD", 50, 8.8e6, 6.2e6, 0.0100),
        ("SNSPD", 67, 4.4e6, 3.1e6, 0.0100),
        ("SNSPD", 100, 9.3e5, 6.6e5, 0.0100),
        ("SNSPD", 150, 7.6e4, 5.4e4, 0.0106),
    ],
)
def test_counts_are_those_of_a_link_design_computed_apart(
    kind, km, clicks_per_s, sifted_per_s, qber
) -> None:
    """Expected: an independent computation of the 1.25 GHz link design, in two or three digits."""
    loss_db = 0.22 * km + 1.0 + 3.0
    if kind == "InGaAs":  # gated: 8e-7 dark counts in a gate of 250 ps, 2 % afterpulses
        measured = Measured(loss_db, 0.2, 8e-7 / 250e-12, 60_000, 0.0, 1, 0.01, 0.02)
        gate_ps = 250
    else:
        measured = Measured(loss_db, 0.8, 100.0, 30_000, 0.0, 1, 0.01)
        gate_ps = 320
    frames = FrameSettings(
        gate_ps=gate_ps,
        dead_time_ps=measured.dead_time_ps,
        detector_recovery_ps=measured.recovery_ps,
        tick_ps=1,
    )
    choice = Choice(plan_for(1_250_000_000, 1.0), Intensities(), frames, 0.84)
    expected = expect(measured, choice, ProofSettings())
    # The plan's calibration pulses, one in 200, make clicks and no key.
    payload = 1.0 - 1.0 / 200.0
    assert expected.clicks == pytest.approx(payload * clicks_per_s, rel=0.025)
    assert expected.counts.n_key == pytest.approx(payload * sifted_per_s, rel=0.015)
    assert expected.qber == pytest.approx(qber, abs=2.5e-4)
