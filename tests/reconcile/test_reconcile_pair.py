"""Alice and Bob over a wire that loses nothing: equal bits, equal ledgers, honest counts."""

from math import lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.outcome import Reconciled
from qkdd.reconcile.settings import ReconcileSettings
from tests.reconcile.wire import run

DEFAULT = ReconcileSettings()


def dice_bytes(seed: int):
    """Entropy for tests: bytes of a fixed generator."""
    return np.random.default_rng([seed, 1]).bytes


def a_block(n_bits: int, qber: float, seed: int):
    """Alice's bits, Bob's bits and the intensities of one block."""
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, n_bits, np.uint8)
    bob = alice ^ (rng.random(n_bits) < qber).astype(np.uint8)
    intensities = rng.choice(3, n_bits, p=[0.8, 0.18, 0.02]).astype(np.uint8)
    return alice, bob, intensities


def reconcile(n_bits: int, qber: float, *, estimate: float | None = None, seed=1, options=DEFAULT):
    """Run a pair on one block; return both results, and the true errors by intensity."""
    bits, wrong_bits, intensities = a_block(n_bits, qber, seed)
    true_errors = np.bincount(intensities[bits != wrong_bits], minlength=3)
    guess = qber if estimate is None else estimate
    alice = AliceReconciler(7, bits, intensities, guess, options, dice_bytes(seed))
    bob = BobReconciler(7, wrong_bits, intensities, options)
    ours, theirs = run(alice, bob)
    return ours, theirs, tuple(int(n) for n in true_errors)


def check(ours: Reconciled, theirs: Reconciled, true_errors: tuple[int, ...]) -> None:
    assert ours.ok
    assert theirs.ok
    assert np.array_equal(ours.bits, theirs.bits)
    assert ours.ledger == theirs.ledger
    assert ours.key_errors == theirs.key_errors == true_errors
    n, errors = ours.bits.size, sum(true_errors)
    log2_patterns = (lgamma(n + 1) - lgamma(errors + 1) - lgamma(n - errors + 1)) / log(2)
    assert ours.ledger.one_way_bits >= log2_patterns


@pytest.mark.parametrize("qber", [0.003, 0.01, 0.02, 0.03, 0.05, 0.08, 0.11])
def test_both_ends_hold_the_same_bits_and_the_same_ledger(qber: float) -> None:
    check(*reconcile(2 * FRAME_BITS + 30_000, qber))


@settings(max_examples=12, deadline=None)
@given(
    n_bits=st.integers(0, FRAME_BITS + 5_000),
    qber=st.floats(0, 0.11),
    seed=st.integers(0, 1000),
)
def test_any_block_length_and_any_qber_end_in_equal_bits(
    n_bits: int, qber: float, seed: int
) -> None:
    check(*reconcile(n_bits, qber, seed=seed))


@pytest.mark.parametrize("n_bits", [0, 1, 7, 100, 1_000])
def test_a_block_shorter_than_its_syndrome_is_disclosed_and_counted_whole(n_bits: int) -> None:
    ours, theirs, errors = reconcile(n_bits, 0.03)
    check(ours, theirs, errors)
    assert ours.ledger.remainder == n_bits
    assert ours.ledger.syndrome == ours.ledger.check == 0


def test_an_estimate_that_was_too_low_costs_blind_rounds_and_is_counted() -> None:
    ours, theirs, errors = reconcile(2 * FRAME_BITS, 0.022, estimate=0.02)
    check(ours, theirs, errors)
    assert ours.ledger.revealed > 0
    assert ours.ledger.lost == 0


def test_an_estimate_far_too_low_discloses_the_frame_and_counts_all_of_it() -> None:
    options = ReconcileSettings(max_rounds=1, max_iterations=10)
    ours, theirs, errors = reconcile(FRAME_BITS, 0.06, estimate=0.01, options=options)
    check(ours, theirs, errors)
    assert ours.ledger.lost == FRAME_BITS
    assert ours.ledger.verdict == 3  # again, again, and the block's result


def test_without_blind_rounds_a_frame_that_fails_is_disclosed_at_once() -> None:
    options = ReconcileSettings(max_rounds=0, max_iterations=5)
    ours, theirs, errors = reconcile(FRAME_BITS, 0.05, estimate=0.01, options=options)
    check(ours, theirs, errors)
    assert (ours.ledger.lost, ours.ledger.revealed) == (FRAME_BITS, 0)


def test_bobs_own_likelihoods_by_intensity_are_used_and_change_nothing_alice_sees() -> None:
    bits, _, intensities = a_block(FRAME_BITS, 0, 3)
    rng = np.random.default_rng(5)
    qbers = np.array([0.01, 0.02, 0.5])
    wrong = bits ^ (rng.random(bits.size) < qbers[intensities]).astype(np.uint8)
    errors = tuple(int(n) for n in np.bincount(intensities[bits != wrong], minlength=3))
    alice = AliceReconciler(7, bits, intensities, 0.025, DEFAULT, dice_bytes(3))
    bob = BobReconciler(7, wrong, intensities, DEFAULT, qber_by_intensity=(0.01, 0.02, 0.5))
    ours, theirs = run(alice, bob)
    check(ours, theirs, errors)
    assert ours.ledger.revealed == 0


@pytest.mark.parametrize(
    ("qber", "f_most"), [(0.01, 1.25), (0.02, 1.22), (0.03, 1.20), (0.05, 1.18)]
)
def test_disclosure_of_both_ways_stays_below_the_promise(qber: float, f_most: float) -> None:
    ours, theirs, errors = reconcile(24 * FRAME_BITS, qber, seed=11)
    check(ours, theirs, errors)
    assert ours.ledger.lost == 0
    assert ours.ledger.f_both_ways(sum(errors) / ours.bits.size) < f_most
