"""A key's whole life between two stores."""

from contextlib import suppress
from uuid import uuid4

import pytest

from qkdd.base.errors import LinkLost, OutOfKey, PeerError, StoreError
from qkdd.base.ids import SaeId
from qkdd.base.secret import Secret
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.messages import KeysAnnounced, KeysHeld, Place
from tests.keys.pair_of_stores import LINK, Pair

MASTER, SLAVE, THIRD = SaeId("sae-a"), SaeId("sae-b"), SaeId("sae-c")


def reserve(pair, number=1, size_bits=256, end=None, **more):
    end = end or pair.alice
    reservation = end.store.reserve_keys(LINK, number, size_bits, MASTER, [SLAVE], 1_000, **more)
    end.say(reservation.announcement)
    return [record.key_id for record in reservation.records]


def stocked(pair):
    pair.up()
    pair.block(20_000, 1_000)
    pair.pump()
    return pair


def revealed(secrets):
    return [bytes(secret.reveal()) for secret in secrets]


def test_master_and_slave_get_the_same_fresh_keys_and_the_accounts_stay_equal(pair) -> None:
    stocked(pair)
    ids = reserve(pair, 5)
    pair.pump()
    first = revealed(pair.alice.store.deliver_to_master(LINK, ids))
    second = revealed(pair.bob.store.fetch_keys(ids, SLAVE, MASTER))
    assert first == second
    assert len(set(first)) == 5
    pair.alice.say(pair.alice.store.confirmations(LINK))
    pair.pump()
    pair.accounts_are_equal()
    account = pair.alice.store.account(LINK)
    assert account.delivered == 5 * 256
    assert account.distilled == 160_000
    assert account.stock == 8 * (20_000 - 2_000 - 160)
    assert pair.alice.store.confirmations(LINK) is None


def test_both_ends_allocate_at_once_and_never_the_same_bytes(pair) -> None:
    stocked(pair)
    mine, theirs = reserve(pair, 50), reserve(pair, 50, end=pair.bob)
    pair.pump()
    keys = revealed(pair.alice.store.deliver_to_master(LINK, mine))
    keys += revealed(pair.bob.store.deliver_to_master(LINK, theirs))
    assert len(set(keys)) == 100
    assert keys[:50] == revealed(pair.bob.store.fetch_keys(mine, SLAVE, MASTER))


def test_a_key_is_delivered_at_most_once_to_each_sae(pair) -> None:
    stocked(pair)
    ids = reserve(pair, 2)
    pair.pump()
    pair.alice.store.deliver_to_master(LINK, ids)
    with pytest.raises(KeyNotFound):
        pair.alice.store.deliver_to_master(LINK, ids)
    pair.bob.store.fetch_keys(ids[:1], SLAVE, MASTER)
    for _ in range(2):  # the second of the two is not given away with a used one
        with pytest.raises(KeyNotFound):
            pair.bob.store.fetch_keys(ids, SLAVE, MASTER)
    pair.bob.store.fetch_keys(ids[1:], SLAVE, MASTER)


def test_only_the_named_slave_gets_a_key_and_only_of_its_master(pair) -> None:
    stocked(pair)
    ids = reserve(pair)
    pair.pump()
    pair.alice.store.deliver_to_master(LINK, ids)
    for sae, master in ((THIRD, MASTER), (SLAVE, THIRD), (MASTER, MASTER)):
        with pytest.raises(KeyNotEntitled):
            pair.bob.store.fetch_keys(ids, sae, master)
    with pytest.raises(KeyNotFound):
        pair.bob.store.fetch_keys([uuid4()], SLAVE, MASTER)
    assert pair.bob.store.fetch_keys(ids, SLAVE, MASTER)


def test_a_further_slave_of_the_owners_own_relay_gets_its_copy_after_the_master(pair) -> None:
    stocked(pair)
    ids = reserve(pair, local_slaves=[THIRD])
    with pytest.raises(KeyNotFound):
        pair.alice.store.fetch_keys(ids, THIRD, MASTER)
    pair.pump()
    (key,) = revealed(pair.alice.store.deliver_to_master(LINK, ids))
    assert revealed(pair.alice.store.fetch_keys(ids, THIRD, MASTER)) == [key]
    with pytest.raises(KeyNotFound):
        pair.alice.store.fetch_keys(ids, THIRD, MASTER)


def test_the_master_gets_nothing_before_the_peer_holds_it(pair) -> None:
    stocked(pair)
    ids = reserve(pair)
    with pytest.raises(KeyNotFound):
        pair.alice.store.deliver_to_master(LINK, ids)
    pair.pump()
    assert pair.alice.store.deliver_to_master(LINK, ids)


def test_nothing_is_reserved_while_the_stores_have_not_agreed(pair) -> None:
    with pytest.raises(LinkLost):
        reserve(pair)
    stocked(pair)
    pair.cut()
    with pytest.raises(LinkLost):
        reserve(pair)


def test_a_half_gives_no_more_than_it_has_and_a_refusal_changes_nothing(pair) -> None:
    pair.up()
    pair.block(2 * 1_000, 0)
    pair.pump()
    before = pair.alice.store.account(LINK)
    with pytest.raises(OutOfKey):
        reserve(pair, 32)
    assert pair.alice.store.account(LINK) == before
    assert pair.alice.store.available_keys(LINK, 256) == 31
    reserve(pair, 31)
    pair.pump()
    account = pair.bob.store.account(LINK)
    assert account.stock == 8 * (1_000 + 8)  # 8 bytes are one more key of 64 bits
    pair.accounts_are_equal()


def test_authentication_below_its_floor_keeps_key_from_going_upward(tmp_path) -> None:
    pair = stocked(Pair(tmp_path, auth_floor_bytes=17_000))
    assert reserve(pair)
    left = pair.alice.store.auth_left(LINK)
    pair.alice.store.take_tx(LINK, left.tx - 16_999).wipe()
    with pytest.raises(OutOfKey, match="floor"):
        reserve(pair)
    pair.close()


def test_a_burned_reservation_is_burned_at_both_ends(pair) -> None:
    stocked(pair)
    ids = reserve(pair, 3)
    pair.pump()
    pair.alice.store.burn_keys(LINK, ids)
    pair.alice.say(pair.alice.store.confirmations(LINK))
    pair.pump()
    pair.accounts_are_equal()
    assert pair.bob.store.account(LINK).burned == 3 * 256
    with pytest.raises(KeyNotFound):
        pair.bob.store.fetch_keys(ids, SLAVE, MASTER)


def test_a_key_that_a_slave_fetched_before_it_was_burned_counts_as_delivered(pair) -> None:
    stocked(pair)
    ids = reserve(pair, 2)
    pair.pump()
    pair.bob.store.fetch_keys(ids[:1], SLAVE, MASTER)
    pair.alice.store.burn_keys(LINK, ids)
    pair.alice.say(pair.alice.store.confirmations(LINK))
    pair.pump()
    pair.accounts_are_equal()
    assert pair.alice.store.account(LINK).delivered == 256


def test_a_group_commit_that_fails_delivers_nothing(pair) -> None:
    stocked(pair)
    ids = reserve(pair)
    pair.pump()
    secrets = []
    with suppress(ZeroDivisionError), pair.alice.store.transaction():
        secrets += pair.alice.store.deliver_to_master(LINK, ids)
        raise ZeroDivisionError
    assert secrets[0].wiped
    assert pair.alice.store.account(LINK).delivered == 0


def test_a_refused_operation_undoes_only_itself_in_a_group_commit(pair) -> None:
    stocked(pair)
    ids = reserve(pair, 2)
    pair.pump()
    with pair.alice.store.transaction():
        pair.alice.store.deliver_to_master(LINK, ids[:1])
        with suppress(KeyNotFound):
            pair.alice.store.deliver_to_master(LINK, [ids[1], uuid4()])
        pair.alice.store.deliver_to_master(LINK, ids[1:])
    assert pair.alice.store.account(LINK).delivered == 512


def announce(pair, **changes):
    reservation = pair.alice.store.reserve_keys(LINK, 2, 256, MASTER, [SLAVE], 1_000)
    message = reservation.announcement
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return KeysAnnounced(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"places": (Place(block_no=1, offset=32, count=2),)},
        {"places": (Place(block_no=1, offset=0, count=3),)},
        {"places": (Place(block_no=9, offset=0, count=2),)},
        {"places": (Place(block_no=0, offset=0, count=2),)},
        {"key_ids": bytes(32)},
        {"key_ids": bytes(31)},
        {"slaves": (MASTER,)},
        {"n_bytes": 8_192},
        {"n_bytes": 1_024, "places": (Place(block_no=1, offset=8_000, count=2),)},
    ],
)
def test_an_illegal_announcement_is_the_peers_fault_and_changes_nothing(pair, changes) -> None:
    stocked(pair)
    before = pair.bob.store.account(LINK)
    message = announce(pair, **changes)
    with pytest.raises(PeerError):
        pair.bob.store.receive(LINK, message, 1_000)
    assert pair.bob.store.account(LINK) == before


def test_the_peer_cannot_speak_of_keys_that_are_not_there(pair) -> None:
    stocked(pair)
    for message in (KeysHeld(held=bytes(16), refused=b""), KeysHeld(held=b"x", refused=b"")):
        with pytest.raises(PeerError):
            pair.alice.store.receive(LINK, message, 1_000)


def test_expired_copies_are_wiped_and_the_account_does_not_move(pair) -> None:
    stocked(pair)
    ids = reserve(pair, 2)
    pair.pump()
    pair.alice.store.deliver_to_master(LINK, ids)
    pair.alice.say(pair.alice.store.confirmations(LINK))
    pair.pump()
    before = pair.bob.store.account(LINK)
    assert pair.bob.store.expire_keys(LINK, 1_000 + 86_400) == 0
    assert pair.bob.store.expire_keys(LINK, 1_001 + 86_400) == 2
    assert pair.bob.store.account(LINK) == before
    with pytest.raises(KeyNotFound):
        pair.bob.store.fetch_keys(ids, SLAVE, MASTER)


def test_a_used_up_block_leaves_no_row_no_chunk_and_no_wrapped_key(pair) -> None:
    pair.up()
    pair.block(2 * 320, 0)
    pair.pump()
    before = pair.alice.store._db.one("SELECT wrapped_key FROM segments WHERE block_no = 1")[0]
    assert before in pair.alice.path.read_bytes() + wal(pair.alice)
    for end in pair.ends:
        ids = reserve(pair, 10, end=end)
        pair.pump()
        end.store.deliver_to_master(LINK, ids)
        pair.peer(end).store.fetch_keys(ids, SLAVE, MASTER)
    for end in pair.ends:
        assert [r["block_no"] for r in end.store._db.all("SELECT * FROM segments")] == [0]
    assert before not in pair.alice.path.read_bytes() + wal(pair.alice)
    for end in pair.ends:
        end.say(end.store.confirmations(LINK))
    pair.pump()
    for end in pair.ends:
        assert end.store._db.all("SELECT * FROM keys") == []
        assert end.store._db.all("SELECT * FROM recipients") == []
    pair.accounts_are_equal()


def wal(end) -> bytes:
    return end.path.with_name(end.path.name + "-wal").read_bytes()


def test_no_key_byte_lies_in_the_clear_on_disk(pair) -> None:
    stocked(pair)
    ids = reserve(pair, 20)
    pair.pump()
    keys = revealed(pair.alice.store.deliver_to_master(LINK, ids))
    keys += revealed([pair.alice.store.take_tx(LINK, 16)])
    for end in pair.ends:
        disk = end.path.read_bytes() + wal(end)
        assert not any(key[:8] in disk for key in keys)


def test_a_secret_that_was_handed_out_never_prints(pair) -> None:
    stocked(pair)
    ids = reserve(pair)
    pair.pump()
    (key,) = pair.alice.store.deliver_to_master(LINK, ids)
    assert bytes(key.reveal()).hex()[:8] not in repr(key)
    assert isinstance(key, Secret)
    with pytest.raises(StoreError):
        pair.alice.open()
