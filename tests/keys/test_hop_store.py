"""Keys by hops in the store: pads count as relayed whatever breaks, copies are given once, gone."""

from uuid import UUID, uuid4

import pytest

from qkdd.base.ids import LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.hop_keys import HopCopies
from qkdd.keys.schema import NEXT_RELAY, RELAY
from tests.keys.pair_of_stores import LINK

MASTER, SLAVE, THIRD = SaeId("sae-a"), SaeId("sae-b"), SaeId("sae-c")
NOW_S = 1_000


def copies(n_keys: int = 2, *slaves: SaeId) -> HopCopies:
    keys = Secret.from_bytes(bytes(range(32 * n_keys)))
    ids = tuple(uuid4() for _ in range(n_keys))
    return HopCopies(ids, keys, 3, MASTER, slaves or (SLAVE,))


def stocked(pair):
    pair.up()
    pair.block(20_000, 1_000)
    pair.pump()
    return pair


def reserve_pads(pair, number: int = 3) -> list[UUID]:
    reservation = pair.alice.store.reserve_keys(
        LINK, number, 256, SaeId(RELAY), [SaeId(NEXT_RELAY)], NOW_S
    )
    pair.alice.say(reservation.announcement)
    return [record.key_id for record in reservation.records]


def test_a_pad_is_the_same_at_both_ends_taken_once_and_counted_as_relayed(pair) -> None:
    stocked(pair)
    ids = reserve_pads(pair)
    pair.pump()
    ours = pair.alice.store.deliver_to_master(LINK, ids)
    theirs = pair.bob.store.take_pads(LINK, ids)
    assert [bytes(one.reveal()) for one in ours] == [bytes(one.reveal()) for one in theirs]
    with pytest.raises(KeyNotFound):
        pair.bob.store.take_pads(LINK, ids)
    pair.alice.say(pair.alice.store.confirmations(LINK))
    pair.pump()
    pair.accounts_are_equal()
    account = pair.bob.store.account(LINK)
    assert (account.relayed, account.delivered) == (3 * 256, 0)


@pytest.mark.parametrize("dies", ["alice", "bob"])
@pytest.mark.parametrize("taken", [False, True])
def test_pads_that_were_used_when_an_end_died_are_relayed_for_both(pair, dies, taken) -> None:
    stocked(pair)
    ids = reserve_pads(pair)
    pair.pump()
    pair.alice.store.deliver_to_master(LINK, ids)
    if taken:
        pair.bob.store.take_pads(LINK, ids)
    pair.cut()
    (pair.alice if dies == "alice" else pair.bob).kill()
    pair.up()
    pair.accounts_are_equal()
    assert pair.alice.store.account(LINK).relayed == 3 * 256


def test_pads_taken_under_a_key_that_its_sender_burned_are_relayed_for_both(pair) -> None:
    stocked(pair)
    ids = reserve_pads(pair)
    pair.pump()
    pair.bob.store.take_pads(LINK, ids)  # the sender dies before it has marked them
    pair.cut()
    pair.alice.kill()
    pair.up()
    pair.accounts_are_equal()
    assert pair.bob.store.account(LINK).relayed == 3 * 256


def test_only_pads_of_the_link_itself_are_taken_as_such(pair) -> None:
    stocked(pair)
    reservation = pair.alice.store.reserve_keys(LINK, 1, 256, MASTER, [SLAVE], NOW_S)
    pair.alice.say(reservation.announcement)
    ids = [record.key_id for record in reservation.records]
    pads = reserve_pads(pair)
    pair.pump()
    with pytest.raises(KeyNotEntitled):
        pair.bob.store.take_pads(LINK, ids)
    with pytest.raises(KeyNotFound):
        pair.bob.store.take_pads(LinkId("another"), pads)
    with pytest.raises(KeyNotEntitled):
        pair.bob.store.fetch_keys(pads, SLAVE, MASTER)


def test_each_slave_gets_a_copy_once_with_the_number_of_relays(pair) -> None:
    store, held = pair.bob.store, copies(2, SLAVE, THIRD)
    store.hold_hop_keys(held, NOW_S)
    for slave in (SLAVE, THIRD):
        found = store.fetch_copies(held.key_ids, slave, MASTER)
        assert [n_relays for _, n_relays in found] == [3, 3]
        text = b"".join(bytes(key.reveal()) for key, _ in found)
        assert text == bytes(held.keys.reveal())
        with pytest.raises(KeyNotFound):
            store.fetch_copies(held.key_ids, slave, MASTER)


def test_a_list_with_a_foreign_or_unknown_key_gives_none_and_uses_none(pair) -> None:
    store, held = pair.bob.store, copies()
    store.hold_hop_keys(held, NOW_S)
    with pytest.raises(KeyNotFound):
        store.fetch_copies([*held.key_ids, uuid4()], SLAVE, MASTER)
    for sae, master in ((THIRD, MASTER), (SLAVE, THIRD)):
        with pytest.raises(KeyNotEntitled):
            store.fetch_copies(held.key_ids, sae, master)
    assert len(store.fetch_copies(held.key_ids, SLAVE, MASTER)) == 2


def test_no_key_that_came_by_hops_takes_the_name_of_one_of_a_link(pair) -> None:
    stocked(pair)
    reservation = pair.alice.store.reserve_keys(LINK, 1, 256, MASTER, [SLAVE], NOW_S)
    pair.alice.say(reservation.announcement)
    pair.pump()
    (key_id,) = (record.key_id for record in reservation.records)
    (ours,) = pair.alice.store.deliver_to_master(LINK, [key_id])
    false = HopCopies((key_id,), Secret(32), 0, MASTER, (SLAVE,))
    with pytest.raises(ValueError, match="held here already"):
        pair.bob.store.hold_hop_keys(false, NOW_S)
    ((theirs, n_relays),) = pair.bob.store.fetch_copies([key_id], SLAVE, MASTER)
    assert (bytes(theirs.reveal()), n_relays) == (bytes(ours.reveal()), 0)


def test_copies_outlive_a_crash_and_no_file_has_what_was_fetched_burned_or_expired(pair) -> None:
    fetched, burned, expired = copies(), copies(), copies()
    for held in (fetched, burned, expired):
        pair.bob.store.hold_hop_keys(held, NOW_S)
    pair.bob.kill()
    store = pair.bob.store
    rows = store._db.all("SELECT sealed FROM hop_keys")
    sealed = [row["sealed"] for row in rows]
    assert all(one in on_disk(pair.bob) for one in sealed)
    assert len(sealed) == 6
    assert bytes(fetched.keys.reveal())[:32] not in on_disk(pair.bob)

    store.fetch_copies(fetched.key_ids, SLAVE, MASTER)
    assert store.burn_hop_keys([*burned.key_ids, uuid4()]) == 2
    ttl_s = store.settings.key_ttl_s
    assert store.expire_hop_keys(NOW_S + ttl_s) == 0
    assert store.expire_hop_keys(NOW_S + ttl_s + 1) == 2
    assert not any(one in on_disk(pair.bob) for one in sealed)


def on_disk(end) -> bytes:
    """Everything in the files of a store."""
    files = sorted(end.path.parent.glob(f"{end.path.name}*"))
    return b"".join(file.read_bytes() for file in files)
