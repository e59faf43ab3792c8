"""Both ends cut a block alike, to the bit, and units are gone once they are wiped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.secret import Secret
from qkdd.relay.cut import (
    STOCK,
    LightSpan,
    PromisedStock,
    Share,
    cut_block,
    take_units,
    units_due,
)
from qkdd.relay.settings import UNIT_BITS, Lane
from tests.relay.disk import some_bytes

SECOND = 1_000_000
NO_STOCK = PromisedStock()


def a_lane(name: str, keys_per_1000_s: int = 1_200, priority: int = 5) -> Lane:
    return Lane(id=name, route=("a", "b", "c"), keys_per_1000_s=keys_per_1000_s, priority=priority)


LANES = st.lists(
    st.builds(
        a_lane,
        st.sampled_from([f"lane-{c}" for c in "abcdef"]),
        st.integers(1, 50_000),
        st.integers(0, 9),
    ),
    max_size=5,
    unique_by=lambda lane: lane.id,
)


@given(
    st.integers(0, 100_000),
    st.integers(0, 2_000),
    LANES,
    st.integers(0, 20),
    st.builds(PromisedStock, st.integers(0, 5_000), st.integers(0, 9)),
)
def test_every_bit_of_a_block_goes_to_one_place(
    n_bits: int, auth_bytes: int, lanes: list[Lane], start_s: int, promised: PromisedStock
) -> None:
    span = LightSpan(start_s * SECOND, (start_s + 16) * SECOND)
    cut = cut_block(n_bits, auth_bytes=auth_bytes, span=span, lanes=lanes, promised=promised)
    assert cut.stock_bits + cut.lane_bits == n_bits
    assert cut.lane_bits == 0 or cut.stock_bits >= 16 * auth_bytes
    at = cut.stock_bits // 8
    for share in cut.shares.values():  # side by side up to the last whole byte
        assert share.offset == at
        at += 32 * share.n_units
    assert at == n_bits // 8
    for lane in lanes:
        got = cut.shares[lane.id].n_units if lane.id in cut.shares else 0
        assert got + cut.short.get(lane.id, 0) == units_due(lane.keys_per_1000_s, span)


@given(LANES, st.randoms(use_true_random=False))
def test_the_order_of_the_lanes_in_the_configuration_does_not_matter(
    lanes: list[Lane], shuffle: object
) -> None:
    span = LightSpan(0, 16 * SECOND)
    cut = cut_block(20_000, auth_bytes=64, span=span, lanes=lanes, promised=NO_STOCK)
    shuffle.shuffle(lanes)
    assert cut == cut_block(20_000, auth_bytes=64, span=span, lanes=lanes, promised=NO_STOCK)


@given(st.integers(1, 10_000_000), st.lists(st.integers(1, 16 * SECOND), max_size=30))
def test_blocks_of_a_run_lose_nothing_to_rounding(
    keys_per_1000_s: int, lengths_us: list[int]
) -> None:
    at = n_units = 0
    for length_us in lengths_us:
        n_units += units_due(keys_per_1000_s, LightSpan(at, at + length_us))
        at += length_us
    assert n_units == keys_per_1000_s * at // 1_000_000_000


@given(st.integers(1, 500), st.binary(min_size=500, max_size=500))
def test_stock_and_units_are_the_blocks_own_bits_and_the_block_is_wiped(
    n_bits: int, data: bytes
) -> None:
    n_bits += 3_000
    key = Secret.from_bytes(data[: -(-n_bits // 8)])
    lanes = [a_lane("x", 500), a_lane("y", 250)]
    span = LightSpan(0, 8 * SECOND)
    cut = cut_block(n_bits, auth_bytes=32, span=span, lanes=lanes, promised=NO_STOCK)
    stock, units = take_units(key, cut, block_no=3, now_s=0.0)
    parts = [
        bytes(units[name].unit(at)) for name in ("x", "y") for at in range(units[name].n_units)
    ]
    whole = n_bits // 8
    rest = data[whole : -(-n_bits // 8)]
    n_stock = whole - cut.lane_bits // 8
    assert [len(units["x"]._units), len(units["y"]._units)] == [4 * 32, 2 * 32]
    assert bytes(stock.reveal()) == data[:n_stock] + rest
    assert b"".join(parts) == data[n_stock:whole]
    assert len(stock) == -(-cut.stock_bits // 8)
    assert key.wiped


def test_a_short_block_serves_by_priority_then_in_proportion() -> None:
    lanes = [a_lane("a", 2_000, 5), a_lane("b", 1_000, 5), a_lane("c", 1_000, 0)]
    cut = cut_block(
        16 * 100 + 22 * UNIT_BITS + 8,
        auth_bytes=100,
        span=LightSpan(0, 16 * SECOND),
        lanes=lanes,
        promised=PromisedStock(bits_per_s=160, priority=9),
    )
    assert {name: share.n_units for name, share in cut.shares.items()} == {"c": 16, "a": 4, "b": 2}
    assert cut.short == {"a": 28, "b": 14, STOCK: 10}


def test_promised_stock_stands_before_lanes_of_less_priority() -> None:
    cut = cut_block(
        20 * UNIT_BITS,
        auth_bytes=0,
        span=LightSpan(0, 16 * SECOND),
        lanes=[a_lane("a", 1_000, 5)],
        promised=PromisedStock(bits_per_s=160, priority=1),
    )
    assert cut.shares == {"a": Share(10 * 32, 10)}
    assert cut.stock_bits == 10 * UNIT_BITS


def test_a_block_that_only_feeds_authentication_gives_no_units() -> None:
    cut = cut_block(
        5_000,
        auth_bytes=400,
        span=LightSpan(0, 16 * SECOND),
        lanes=[a_lane("a")],
        promised=NO_STOCK,
    )
    assert not cut.shares
    assert cut.stock_bits == 5_000


def test_a_wiped_unit_is_zeros_and_the_last_one_frees_the_buffer() -> None:
    secret = Secret.from_bytes(some_bytes(64, "two units"))
    key = Secret.from_bytes(bytes(16 * 8 + 3 * 32))
    cut = cut_block(
        len(key) * 8,
        auth_bytes=64,
        span=LightSpan(0, 2 * SECOND),
        lanes=[a_lane("a", 1_000)],
        promised=NO_STOCK,
    )
    _, units = take_units(key, cut, block_no=1, now_s=0.0)
    block = units["a"]
    block.unit(0)[:] = secret.reveal()[:32]
    block.wipe_unit(0)
    assert bytes(block._units.reveal()[:32]) == bytes(32)
    with pytest.raises(RuntimeError, match="wiped"):
        block.unit(0)
    block.wipe_unit(1)
    assert block._units.wiped


def test_the_least_urgent_lane_leaves_what_the_key_store_needs_to_commit_a_block() -> None:
    cut = cut_block(
        20 * UNIT_BITS + 120,
        auth_bytes=0,
        span=LightSpan(0, 16 * SECOND),
        lanes=[a_lane("a", 1_000, 3), a_lane("b", 1_000, 4)],
        promised=PromisedStock(priority=9),
    )
    assert {name: share.n_units for name, share in cut.shares.items()} == {"a": 16, "b": 3}
    assert cut.short == {"b": 13}
    assert cut.stock_bits == UNIT_BITS + 120
