"""Cascade over a wire that loses nothing: equal bits, equal ledgers, every bit counted."""

from math import lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.reconcile.cascade_alice import CascadeAlice
from qkdd.reconcile.cascade_plan import BATCH_FRAMES
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.ledger import CHECK_BITS, HASH_BITS, error_count_bits
from qkdd.reconcile.messages import (
    BlockHash,
    BlockVerdict,
    Checks,
    Differences,
    Parities,
    Revealed,
    Verdicts,
)
from qkdd.reconcile.settings import ReconcileSettings
from tests.reconcile.cascade_pair import FEW, SHORT, Pair, hiding_pair


def check(pair: Pair) -> None:
    ours, theirs = pair.alice.result, pair.bob.result
    assert ours is not None
    assert theirs is not None
    assert ours.ok
    assert theirs.ok
    assert np.array_equal(ours.bits, theirs.bits)
    assert ours.ledger == theirs.ledger
    assert ours.key_errors == theirs.key_errors == pair.true_errors
    n, errors = ours.bits.size, sum(pair.true_errors)
    log2_patterns = (lgamma(n + 1) - lgamma(errors + 1) - lgamma(n - errors + 1)) / log(2)
    assert ours.ledger.one_way_bits >= log2_patterns
    assert (ours.ledger.one_way_bits, ours.ledger.both_ways_bits) == disclosed(pair)


def disclosed(pair: Pair) -> tuple[int, int]:
    """Bits on the wire, one way and both, counted from the messages and not from the ledger.

    A message of packed bits can have up to seven bits that say nothing; the two ends' steps give
    the exact number, as long as each parity was answered by one difference.
    """
    n_frames, steps, whole = 0, 0, 0
    for message in pair.said:
        if isinstance(message, Checks):
            n_frames += len(message.checks)
        elif isinstance(message, Parities):
            steps += 8 * len(message.parities)
        elif isinstance(message, Revealed):
            whole += 8 * sum(len(part) for part in message.parts)
    ledger = pair.alice.ledger
    told = ledger.syndrome + ledger.revealed
    assert told <= steps < told + 8 * len(pair.said)
    assert ledger.lost + ledger.remainder <= whole < ledger.lost + ledger.remainder + 8
    one_way = told + ledger.lost + ledger.remainder + CHECK_BITS * n_frames + HASH_BITS
    return one_way, one_way + told + n_frames + 1 + error_count_bits(ledger.n_bits)


@pytest.mark.parametrize("options", [FEW, SHORT], ids=["few-rounds", "short"])
@pytest.mark.parametrize("qber", [0.0, 0.003, 0.01, 0.03, 0.05, 0.08, 0.11])
def test_both_ends_hold_the_same_bits_and_the_same_ledger(qber, options) -> None:
    pair = Pair(2 * FRAME_BITS + 30_000, qber, options=options)
    pair.run()
    check(pair)
    assert pair.alice.ledger.lost == 0


@settings(max_examples=25, deadline=None)
@given(
    n_bits=st.integers(0, FRAME_BITS + 5_000) | st.integers(0, 600),
    qber=st.floats(0, 0.11),
    estimate=st.floats(0, 0.11),
    seed=st.integers(0, 1000),
)
def test_any_block_length_any_qber_and_any_estimate_end_in_equal_bits(
    n_bits, qber, estimate, seed
) -> None:
    pair = Pair(n_bits, qber, estimate=estimate, seed=seed)
    pair.run()
    check(pair)


@pytest.mark.parametrize("n_bits", [0, 1, 7, 100, 255])
def test_a_short_block_is_disclosed_and_counted_whole(n_bits: int) -> None:
    pair = Pair(n_bits, 0.03)
    pair.run()
    check(pair)
    assert pair.alice.ledger.remainder == n_bits
    assert pair.alice.ledger.syndrome == pair.alice.ledger.check == 0


@pytest.mark.parametrize("qber", [0.01, 0.02, 0.03, 0.05])
@pytest.mark.parametrize(
    ("options", "f_most", "trips_most"),
    [(FEW, 1.15, 60), (SHORT, 1.07, 250)],
    ids=["few-rounds", "short"],
)
def test_a_full_batch_keeps_the_promise_of_its_point(qber, options, f_most, trips_most) -> None:
    """Measured over two million bits; f counts everything that Alice says, checks and hash too."""
    pair = Pair(BATCH_FRAMES * FRAME_BITS, qber, seed=9, options=options)
    pair.run()
    check(pair)
    ledger = pair.alice.ledger
    actual = sum(pair.true_errors) / ledger.n_bits
    assert ledger.lost == 0
    assert ledger.f_one_way(actual) <= f_most
    assert pair.round_trips <= trips_most


def test_what_bob_says_is_counted_like_what_alice_says() -> None:
    pair = Pair(FRAME_BITS, 0.02)
    pair.run()
    ledger = pair.alice.ledger
    assert ledger.verdict == ledger.syndrome + ledger.revealed + 1 + 1  # its frame, the block
    assert ledger.f_both_ways(0.02) > 1.9 * ledger.f_one_way(0.02)


def test_a_frame_that_fails_its_check_is_searched_again_and_ends_equal() -> None:
    hidden = hiding_pair(12, 20_000, FEW)
    pair = Pair(4096, 0.0, estimate=0.02, wrong_at=hidden)
    pair.run()
    check(pair)
    assert sum(isinstance(message, Checks) for message in pair.said) == 2
    assert pair.alice.ledger.revealed > 0
    assert pair.alice.ledger.lost == 0


def test_without_closing_searches_a_frame_that_fails_is_disclosed_and_counted() -> None:
    options = ReconcileSettings(method="cascade", max_rounds=0)
    hidden = hiding_pair(12, 20_000, options)
    pair = Pair(4096, 0.0, estimate=0.02, wrong_at=hidden, options=options)
    pair.run()
    check(pair)
    assert pair.alice.ledger.lost == 4096
    assert pair.alice.ledger.revealed == 0


def test_alice_never_says_a_parity_before_bob_has_answered_the_last() -> None:
    pair = Pair(3_000, 0.03)
    pair.run()
    talk = [type(message) for message in pair.said]
    assert talk[-2:] == [BlockHash, BlockVerdict]
    for said, answered in zip(talk[::2], talk[1::2], strict=True):
        assert (said, answered) in {
            (Parities, Differences),
            (Checks, Verdicts),
            (BlockHash, BlockVerdict),
        }


def test_the_wrong_use_of_a_machine_is_a_bug() -> None:
    bits = np.zeros(10, np.uint8)
    with pytest.raises(ValueError, match="intensities"):
        CascadeAlice(7, bits, bits[:9], 0.01, FEW, bytes)
    with pytest.raises(ValueError, match="QBER"):
        CascadeAlice(7, bits, bits, 0.2, FEW, bytes)
    alice = CascadeAlice(7, bits, bits, 0.01, FEW, bytes)
    list(alice.start())
    with pytest.raises(RuntimeError, match="before"):
        list(alice.start())
