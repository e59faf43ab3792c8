"""The search of Cascade: its public orders, its plan, and what it finds and keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.reconcile.cascade_plan import (
    BATCH_FRAMES,
    SMALLEST_BITS,
    batches,
    budget,
    nearest_power,
    stages,
)
from qkdd.reconcile.cascade_walk import Walk, order, place
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.settings import ReconcileSettings


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(4, 14))
def test_an_order_has_every_bit_once_and_a_place_for_it(pass_no: int, depth: int) -> None:
    bits = order(pass_no, depth)
    assert np.array_equal(np.sort(bits), np.arange(1 << depth))
    assert np.array_equal(bits[place(pass_no, depth)], np.arange(1 << depth))


def test_orders_are_the_same_on_every_machine() -> None:
    """Written down once: a change would part two releases."""
    assert order(0, 16)[:3].tolist() == [0, 1, 2]
    assert order(1, 16)[:4].tolist() == [48281, 64589, 38890, 61220]
    assert order(7, 9)[:4].tolist() == [455, 359, 293, 72]


def test_orders_mix_like_dice() -> None:
    """Pairs that share a block of 64 in one pass share one of the next as often as by chance.

    65,536 bits, 2.06 million pairs, each with chance 63/65535: 1984 expected; six sigma.
    """
    for first, second in ((0, 1), (1, 2), (0, 5), (3, 4)):
        block = place(second, 16)[order(first, 16)] >> 6
        together = sum(
            int(np.sum(block[start : start + 64][:, None] == block[start : start + 64]) - 64)
            for start in range(0, 1 << 16, 64)
        )
        assert abs(together / 2 - 1984) < 6 * 1984**0.5


@settings(max_examples=40, deadline=None)
@given(
    st.integers(6, 11),
    st.integers(1, 3),
    st.floats(0, 0.15),
    st.integers(0, 500),
    st.integers(0, 1000),
)
def test_both_ends_ask_alike_and_only_bobs_bits_change(depth, frames, qber, extra, seed) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (frames, 1 << depth), np.uint8)
    wrong = bits ^ (rng.random(bits.shape) < qber).astype(np.uint8)
    same = {"first_pass": 0, "even": False, "budget": extra}
    plan = ((2,), (3,), (depth - 2, depth - 1))
    alice = Walk(bits, plan, corrects=False, **same)
    bob = Walk(wrong, plan, corrects=True, **same)
    errors = int(np.sum(bits != wrong))
    while alice.n_asked:
        assert alice.n_asked == bob.n_asked
        odd = alice.own() ^ bob.own()
        alice.told(odd)
        bob.told(odd)
    assert bob.n_asked == 0
    assert np.array_equal(alice.bits(), bits)
    left = np.sum(bob.bits() != bits, axis=1)
    stopped = alice._n_told + 2 * frames * (1 << depth) // 4 > bits.size
    assert stopped or not (left % 2).any()  # what no block of any pass shows is even in number
    assert left.sum() <= errors


def test_one_error_is_found_by_halving_its_block() -> None:
    bits = np.zeros((1, 1024), np.uint8)
    wrong = bits.copy()
    wrong[0, 700] = 1
    walks = [
        Walk(each, ((6,),), first_pass=0, even=False, budget=0, corrects=each is wrong)
        for each in (bits, wrong)
    ]
    told = []
    while walks[0].n_asked:
        odd = walks[0].own() ^ walks[1].own()
        told.append(odd.size)
        for walk in walks:
            walk.told(odd)
    assert told == [16, 1, 1, 1, 1, 1, 1]
    assert not walks[1].bits().any()


def test_with_a_budget_the_same_error_takes_one_step_and_more_parities() -> None:
    bits, wrong = np.zeros((1, 1024), np.uint8), np.zeros((1, 1024), np.uint8)
    wrong[0, 700] = 1
    walks = [
        Walk(each, ((6,),), first_pass=0, even=False, budget=63, corrects=each is wrong)
        for each in (bits, wrong)
    ]
    told = []
    while walks[0].n_asked:
        odd = walks[0].own() ^ walks[1].own()
        told.append(odd.size)
        for walk in walks:
            walk.told(odd)
    assert told == [16, 63]
    assert not walks[1].bits().any()


@given(st.integers(0, 10_000_000))
def test_batches_cover_a_block_once(n_bits: int) -> None:
    end = 0
    for batch in batches(n_bits):
        assert batch.start == end
        end += batch.n_frames * batch.frame_bits
        assert batch.n_frames <= BATCH_FRAMES
        if batch.depth:
            assert 1 << (batch.depth - 1) < batch.frame_bits <= 1 << batch.depth
        else:
            assert batch.frame_bits < SMALLEST_BITS
    assert end == n_bits


@given(st.integers(1, 10**7), st.integers(1, 10**6))
def test_the_nearest_power_is_nearest_in_ratio(numerator: int, denominator: int) -> None:
    found = 2.0 ** nearest_power(numerator, denominator)
    ratio = max(numerator / denominator, 2.0)
    assert found / ratio <= 1.42
    assert ratio / found <= 1.42


@pytest.mark.parametrize("point", ["few-rounds", "short"])
@given(st.integers(0, 110_000), st.integers(8, 16))
def test_blocks_grow_from_stage_to_stage_and_fit_the_frame(point, qber_ppm, depth) -> None:
    settings = ReconcileSettings(method="cascade", cascade_point=point)
    (first,), (second,), large = stages(qber_ppm, depth, settings)
    assert 1 <= first <= second < depth
    assert large == (depth - 3, depth - 2, depth - 1)
    assert budget(qber_ppm, FRAME_BITS, settings) >= 0


def test_the_points_at_two_percent_are_the_written_ones() -> None:
    few, short = (
        stages(20_000, 16, ReconcileSettings(method="cascade", cascade_point=point))
        for point in ("few-rounds", "short")
    )
    assert few == ((5,), (6,), (13, 14, 15))
    assert short == ((5,), (7,), (13, 14, 15))
