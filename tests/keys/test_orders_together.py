"""Many requests in one operation of the store: each is answered as if it had come alone."""

from uuid import UUID, uuid4

import pytest

from qkdd.base.errors import OutOfKey
from qkdd.base.ids import SaeId
from qkdd.keys.copies import Fetch
from qkdd.keys.cutting import Order
from qkdd.keys.errors import DamagedBlock, KeyNotEntitled, KeyNotFound
from qkdd.keys.layout import Region
from tests.keys.pair_of_stores import LINK
from tests.keys.test_store_faults import rot

MASTER, SLAVE, THIRD = SaeId("sae-a"), SaeId("sae-b"), SaeId("sae-c")


def stocked(pair, *blocks):
    pair.up()
    for n_bytes in blocks or (40_000,):
        pair.block(n_bytes, 0)
        pair.pump()
    return pair


def order(number=1, n_bytes=32, master=MASTER, slave=SLAVE, local=()):
    return Order(number, n_bytes, master, (slave,), local)


def reserve(pair, *orders) -> list[list[UUID]]:
    """Reserve at alice, have bob hold; the IDs of each order."""
    reserved = pair.alice.store.reserve_orders(LINK, orders, 1_000)
    pair.alice.say(*reserved.announcements)
    pair.pump()
    return [[record.key_id for record in records] for records in reserved.records]


def plain(outcome) -> list[bytes]:
    return [bytes(one[0].reveal() if isinstance(one, tuple) else one.reveal()) for one in outcome]


def test_every_order_gets_its_own_keys_and_both_ends_the_same(pair) -> None:
    stocked(pair)
    orders = [order(2), order(3, 64), order(1, master=THIRD), order(4), order(2, 64)]
    ids = reserve(pair, *orders)
    assert [len(one) for one in ids] == [2, 3, 1, 4, 2]
    mine = pair.alice.store.deliver_all(LINK, ids)
    asked = [Fetch(tuple(some), SLAVE, o.master) for some, o in zip(ids, orders, strict=True)]
    theirs = pair.bob.store.fetch_all(asked)
    assert [plain(one) for one in mine] == [plain(one) for one in theirs]
    assert [len(key) for one in mine for key in plain(one)] == [32] * 2 + [64] * 3 + [32] * 5 + [
        64
    ] * 2
    assert len({key for one in mine for key in plain(one)}) == 12
    pair.alice.say(pair.alice.store.confirmations(LINK))
    pair.pump()
    pair.accounts_are_equal()
    assert pair.alice.store.account(LINK).delivered == 8 * (7 * 32 + 5 * 64)


def test_orders_that_the_peer_need_not_tell_apart_are_one_announcement(pair) -> None:
    stocked(pair)
    orders = [order(), order(1, 64), order(5, local=(THIRD,)), order(2), order(2, 64)]
    told = pair.alice.store.reserve_orders(LINK, orders, 1_000).announcements
    assert [(len(one.key_ids) // 16, one.n_bytes) for one in told] == [(8, 32), (3, 64)]
    assert [len(one.places) for one in told] == [1, 1]


def test_keys_that_lie_in_several_blocks_are_told_by_their_places(pair) -> None:
    stocked(pair, 200, 400)  # halves of 100 and 200 bytes
    ids = reserve(pair, order(2), order(2), order(2))
    mine = pair.alice.store.deliver_all(LINK, ids)
    theirs = pair.bob.store.fetch_all([Fetch(tuple(one), SLAVE, MASTER) for one in ids])
    assert [plain(one) for one in mine] == [plain(one) for one in theirs]


def test_an_order_that_the_stock_is_too_short_for_leaves_it_to_the_others(pair) -> None:
    stocked(pair, 400)  # six keys in our half
    found = pair.alice.store.reserve_orders(LINK, [order(4), order(3), order(2)], 1_000)
    assert [len(one) for one in found.records if not isinstance(one, OutOfKey)] == [4, 2]
    assert "2 keys of 256 bits in our half, 3 wanted" in str(found.records[1])
    assert len(found.announcements[0].key_ids) == 16 * 6


def test_open_keys_are_counted_over_all_orders_that_come_together(pair) -> None:
    stocked(pair)
    most = pair.alice.store.settings.max_open_keys
    stocked_for = [order(128, 8) for _ in range(10)]
    pair.alice.store._owner._most_open[LINK] = most - 300  # as if so many had been counted
    found = pair.alice.store.reserve_orders(LINK, stocked_for, 1_000)
    assert all(not isinstance(one, OutOfKey) for one in found.records)  # rows were counted anew
    assert pair.alice.store._owner.open_keys(LINK, 0, 0) == 1_280


def test_a_rotten_chunk_costs_only_those_whose_keys_lie_in_it(pair) -> None:
    stocked(pair)
    ids = reserve(pair, *[order(64) for _ in range(3)])  # 2 KiB each, chunks of 4 KiB
    rot(pair.alice, 1, Region.HALF_ALICE, 0)
    first, second, third = pair.alice.store.deliver_all(LINK, [*ids[:2], [*ids[2], uuid4()]])
    assert isinstance(first, DamagedBlock)
    assert second is first
    assert isinstance(third, KeyNotFound)
    (third,) = pair.alice.store.deliver_all(LINK, ids[2:])
    assert len(third) == 64
    pair.up()
    pair.accounts_are_equal()
    assert pair.alice.store.account(LINK).delivered == 64 * 256


def test_a_copy_is_fetched_once_however_often_it_is_asked_for_at_once(pair) -> None:
    stocked(pair)
    ((key_id, other),) = reserve(pair, order(2))
    pair.alice.store.deliver_to_master(LINK, [key_id, other])
    asked = [
        Fetch((key_id,), SLAVE, MASTER),
        Fetch((key_id, other), SLAVE, MASTER),
        Fetch((other,), THIRD, MASTER),
        Fetch((uuid4(),), SLAVE, MASTER),
        Fetch((other,), SLAVE, MASTER),
    ]
    outcomes = pair.bob.store.fetch_all(asked)
    kinds = [KeyNotFound, KeyNotEntitled, KeyNotFound]
    assert [type(one) for one in outcomes[1:4]] == kinds
    assert [len(outcomes[0]), len(outcomes[4])] == [1, 1]


def test_a_rotten_chunk_at_the_slaves_end_costs_only_those_whose_copies_lie_in_it(pair) -> None:
    stocked(pair)
    ids = reserve(pair, *[order(64) for _ in range(3)])
    pair.alice.store.deliver_all(LINK, ids)
    rot(pair.bob, 1, Region.HALF_ALICE, 0)
    outcomes = pair.bob.store.fetch_all([Fetch(tuple(one), SLAVE, MASTER) for one in ids])
    assert isinstance(outcomes[0], DamagedBlock)
    assert outcomes[1] is outcomes[0]
    assert len(outcomes[2]) == 64


def test_an_order_out_of_limits_is_a_bug_of_the_caller(pair) -> None:
    stocked(pair)
    for wrong in (order(0), order(129), order(1, 4), order(1, 32, slave=MASTER)):
        with pytest.raises(ValueError, match=r"key|SAE"):
            pair.alice.store.reserve_orders(LINK, [order(), wrong], 1_000)
