"""A store's state of any length crosses in messages that fit, and comes back whole."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from qkdd.base.errors import PeerError
from qkdd.keys.messages import LiveBlock, PendingBlock, StoreState
from qkdd.keys.state_parts import MAX_PARTS, PART_ITEMS, StateGatherer, cut_state
from qkdd.net.codec import encode_message

TOP = 2**62


def state(n_pending: int, n_live: int, n_delivered: int, n_fetched: int) -> StoreState:
    return StoreState(
        next_block=TOP,
        last_block=TOP,
        auth_end=TOP,
        tx_spent=TOP,
        rx_spent=TOP,
        pending=tuple(
            PendingBlock(block_no=TOP - n, n_bits=TOP, auth_bytes=TOP) for n in range(n_pending)
        ),
        live=tuple(
            LiveBlock(
                block_no=TOP - n,
                n_bits=TOP,
                auth_bytes=TOP,
                alice_used=TOP,
                bob_used=TOP,
                burned=False,
            )
            for n in range(n_live)
        ),
        delivered=random.Random(1).randbytes(16 * n_delivered),
        fetched=random.Random(2).randbytes(16 * n_fetched),
    )


COUNTS = st.integers(0, 20)


@given(counts=st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), part_items=st.integers(1, 25))
def test_parts_make_the_state_again(counts: tuple[int, int, int, int], part_items: int) -> None:
    whole = state(*counts)
    gatherer = StateGatherer()
    *early, last = [gatherer.receive(part) for part in cut_state(whole, part_items)]
    assert early == [None] * len(early)
    assert last == whole


def test_the_largest_part_fits_a_message() -> None:
    parts = list(cut_state(state(*[PART_ITEMS + 1] * 4)))
    assert [part.more for part in parts] == [True, False]
    for part in parts:
        encode_message(part)


def test_parts_of_two_states_are_the_peers_fault() -> None:
    first, second = cut_state(state(0, 2, 0, 0), 1)
    gatherer = StateGatherer()
    gatherer.receive(first)
    with pytest.raises(PeerError, match="differs"):
        gatherer.receive(replace(second, tx_spent=1))


def test_parts_without_end_are_the_peers_fault() -> None:
    gatherer = StateGatherer()
    part = replace(state(0, 1, 0, 0), more=True)
    for _ in range(MAX_PARTS):
        gatherer.receive(part)
    with pytest.raises(PeerError, match=f"over {MAX_PARTS}"):
        gatherer.receive(part)
