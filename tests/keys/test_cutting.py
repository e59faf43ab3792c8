"""Cutting keys from the stock: contiguous, never twice, as many as there is room for."""

import sqlite3
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from qkdd.keys.cutting import Cutter, Order, announcements, side_by_side

orders = st.builds(
    Order, st.integers(1, 5), st.sampled_from((8, 32)), st.sampled_from(("a", "b")), st.just(("s",))
)


def stock(sizes: list[int]) -> list[sqlite3.Row]:
    rows = [
        {"id": n, "block_no": 100 + n, "used": 16 * n, "rest": size} for n, size in enumerate(sizes)
    ]
    return cast("list[sqlite3.Row]", rows)


@given(st.lists(st.integers(1, 200), max_size=5), st.lists(orders, max_size=8))
def test_the_peer_finds_every_place_where_its_cursor_is(
    sizes: list[int], asked: list[Order]
) -> None:
    cutter = Cutter(iter(stock(sizes)))
    cut, n_cut = [], 0
    for place in side_by_side(asked):
        spots = cutter.cut(asked[place])
        if len(spots) == asked[place].number:
            cut += [(asked[place], bytes([n_cut + n] * 16), spot) for n, spot in enumerate(spots)]
            n_cut += len(spots)
    cursors = {100 + n: 16 * n for n in range(len(sizes))}
    told = announcements(cut)
    for message in told:
        for one in message.places:
            assert one.offset == cursors[one.block_no]
            cursors[one.block_no] += one.count * message.n_bytes
        assert sum(one.count for one in message.places) == len(message.key_ids) // 16
    assert b"".join(message.key_ids for message in told) == b"".join(key for _, key, _ in cut)
    for n, size in enumerate(sizes):
        assert cursors[100 + n] <= 16 * n + size
        assert cutter.cursors.get(n, 16 * n) == cursors[100 + n]


@given(st.lists(orders, max_size=8))
def test_what_is_told_alike_is_told_once(asked: list[Order]) -> None:
    cutter = Cutter(iter(stock([10_000])))
    cut = [
        (asked[place], bytes(16), spot)
        for place in side_by_side(asked)
        for spot in cutter.cut(asked[place])
    ]
    assert len(announcements(cut)) == len({order.told for order in asked})
