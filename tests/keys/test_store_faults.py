"""Disks that fill, rot, are locked, swapped, rolled back: the store says so and lies to nobody."""

import random
import shutil
import sqlite3

import pytest

from qkdd.base.errors import OutOfKey, PeerError, SecurityAlarm, StoreError
from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.digest import read_digests
from qkdd.keys.errors import DamagedBlock, KeyNotFound
from qkdd.keys.layout import Region, chunk_id
from qkdd.keys.messages import BlockBurned
from qkdd.keys.schema import SCHEMA_VERSION
from qkdd.keys.store import KeyStore
from tests.keys.pair_of_stores import LINK, Pair

MASTER, SLAVE = SaeId("sae-a"), SaeId("sae-b")


def stocked(pair, n_bytes=40_000):
    pair.up()
    pair.block(n_bytes, 1_000)
    pair.pump()
    return pair


def reserve(end, number=1):
    reservation = end.store.reserve_keys(LINK, number, 256, MASTER, [SLAVE], 1_000)
    end.say(reservation.announcement)
    return [record.key_id for record in reservation.records]


def master_key(end):
    return Secret.from_bytes(end.name.encode().ljust(32, b"m"))


def rot(end, block_no, region, number) -> None:
    """Flip one bit of a sealed chunk on disk."""
    row = end.store._db.one("SELECT id FROM segments WHERE block_no = ?", block_no)
    chunk = chunk_id(row["id"], region, number)
    data = bytearray(end.store._db.one("SELECT data FROM sealed WHERE id = ?", chunk)["data"])
    data[100] ^= 1
    end.store._db.run("UPDATE sealed SET data = ? WHERE id = ?", bytes(data), chunk)


def test_another_master_key_or_node_name_is_refused_by_name(pair) -> None:
    pair.alice.store.close()
    for key, node in ((bytes(32), "alice"), (b"alice".ljust(32, b"m"), "bob")):
        with pytest.raises(StoreError, match="master key or the node name"):
            KeyStore.open(
                pair.alice.path, Secret.from_bytes(key), NodeId(node), pair.alice.dice.randbytes
            )
    with pytest.raises(StoreError, match="not 32"):
        KeyStore.open(pair.alice.path, Secret(31), NodeId("alice"), pair.alice.dice.randbytes)
    pair.alice.open()


def test_a_store_whose_maker_died_before_its_first_word_is_made_whole(tmp_path) -> None:
    path = tmp_path / "keys.db"
    Database(path).close()  # its tables are there, and no seal that tells whose it is

    def open_it(key: bytes) -> KeyStore:
        return KeyStore.open(path, Secret.from_bytes(key), NodeId("alice"), random.randbytes)

    store = open_it(b"m" * 32)
    store.install_psk(LINK, "alice", Secret.from_bytes(random.randbytes(32 * 1024)))
    store.close()
    with pytest.raises(StoreError, match="master key or the node name"):
        open_it(b"n" * 32)
    database = Database(path)
    database.run("DELETE FROM meta")
    database.close()
    with pytest.raises(StoreError, match="master key or the node name"):
        open_it(b"n" * 32)  # it has a link: no seal may be made for somebody else's key


def test_a_second_process_is_locked_out(pair) -> None:
    with pytest.raises(StoreError, match="another process"):
        pair.alice.open()


@pytest.mark.parametrize("pragma", [f"user_version={SCHEMA_VERSION + 1}", "application_id=7"])
def test_a_later_schema_or_another_programs_file_is_refused(pair, pragma) -> None:
    pair.alice.store.close()
    with sqlite3.connect(pair.alice.path) as connection:
        connection.execute(f"PRAGMA {pragma}")
    connection.close()
    with pytest.raises(StoreError, match=r"downgrade|not a key store"):
        pair.alice.open()
    with sqlite3.connect(pair.alice.path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute(f"PRAGMA application_id={0x714B4453}")
    connection.close()
    pair.alice.open()


def test_a_file_that_is_no_database_is_refused(tmp_path) -> None:
    path = tmp_path / "noise.db"
    path.write_bytes(b"noise" * 1_000)
    with pytest.raises(StoreError, match="cannot be"):
        KeyStore.open(path, Secret(32), NodeId("a"), bytes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"lane_peer INTEGER", b"lane_qeer INTEGER"),
        (b"fetched INTEGER", b"f\xf0tched INTEGER"),
        (b"CREATE TABLE keys", b"CREATE TABLE\xb7keys"),
    ],
)
def test_a_table_whose_text_has_rotted_is_named_as_damage(pair, old, new) -> None:
    stocked(pair)
    pair.alice.store.close()
    image = pair.alice.path.read_bytes()
    pair.alice.path.write_bytes(image.replace(old, new))
    assert old in image
    with pytest.raises(StoreError):
        pair.alice.open()
    pair.alice.path.write_bytes(image)
    pair.alice.open()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("links", "incarnation", "one"),
        ("links", "psk_id", 7),
        ("links", "role", "eve"),
        ("segments", "state", 9),
        ("segments", "alice_used", 1 << 40),
        ("keys", "region", 16),
        ("keys", "n_bytes", 1 << 40),
        ("keys", "key_id", b"short"),
    ],
)
def test_a_value_that_no_store_has_written_is_named_as_damage(pair, table, column, value) -> None:
    stocked(pair)
    reserve(pair.alice)
    pair.alice.store._db.run(f"UPDATE {table} SET {column} = ?", value)
    pair.alice.store.close()
    with pytest.raises(StoreError, match=f"damaged: table {table}"):
        pair.alice.open()
    pair.alice.path.unlink()
    pair.alice.open()


def test_a_store_that_has_stopped_is_noticed_by_who_looks_only_after_changes(pair) -> None:
    store = stocked(pair).alice.store
    seen = store.n_changes
    store._db._fault(sqlite3.OperationalError("disk I/O error"))
    assert store.n_changes != seen
    with pytest.raises(StoreError, match="stopped after: disk I/O error"):
        store.account(LINK)


def test_a_full_disk_refuses_and_the_store_recovers_when_there_is_room(pair) -> None:
    stocked(pair)
    db = pair.alice.store._db
    db.run(f"PRAGMA max_page_count = {db.one('PRAGMA page_count')[0]}")
    before = pair.alice.store.account(LINK)
    big = Secret.from_bytes(bytes(1_000_000))
    with pytest.raises(StoreError, match="full"):
        pair.alice.store.prepare_block(LINK, 2, big, n_bits=8_000_000, auth_bytes=0)
    assert pair.alice.store.account(LINK) == before
    db.run("PRAGMA max_page_count = 1000000")
    pair.up()
    pair.alice.say(*pair.alice.store.prepare_block(LINK, 2, big, n_bits=8_000_000, auth_bytes=0))
    pair.bob.say(*pair.bob.store.prepare_block(LINK, 2, big, n_bits=8_000_000, auth_bytes=0))
    pair.pump()
    pair.accounts_are_equal()


def test_a_rotten_chunk_burns_its_block_at_both_ends_and_is_named(pair) -> None:
    stocked(pair)
    ids = reserve(pair.alice, 2)
    pair.pump()
    rot(pair.alice, 1, Region.HALF_ALICE, 0)
    with pytest.raises(DamagedBlock, match="block 1: chunk 0 of HALF_ALICE") as caught:
        pair.alice.store.deliver_to_master(LINK, ids)
    with pytest.raises(KeyNotFound):
        pair.alice.store.deliver_to_master(LINK, ids)
    pair.alice.say(BlockBurned(block_no=caught.value.block_no))
    pair.alice.say(pair.alice.store.confirmations(LINK))
    pair.pump()
    pair.accounts_are_equal()
    assert pair.bob.store.account(LINK).stock == 0
    with pytest.raises(OutOfKey):
        reserve(pair.alice)


def test_a_chunk_rotten_at_the_peer_is_agreed_upon_even_if_the_word_is_lost(pair) -> None:
    stocked(pair)
    ids = reserve(pair.alice, 2)
    pair.pump()
    pair.alice.store.deliver_to_master(LINK, ids)
    rot(pair.bob, 1, Region.HALF_ALICE, 0)
    with pytest.raises(DamagedBlock):
        pair.bob.store.fetch_keys(ids, SLAVE, MASTER)
    late = reserve(pair.alice)  # not knowing
    pair.pump()
    with pytest.raises(KeyNotFound):
        pair.alice.store.deliver_to_master(LINK, late)
    pair.up()
    pair.accounts_are_equal()
    account = pair.alice.store.account(LINK)
    assert (account.stock, account.delivered) == (0, 512)


def test_rotten_authentication_key_is_skipped_by_both_ends_at_the_next_session(pair) -> None:
    stocked(pair)
    rot(pair.alice, 0, Region.AUTH_ALICE, 1)
    before = pair.alice.store.auth_left(LINK).tx
    marks = pair.alice.store.auth_marks(LINK)
    sound = 4_096 - marks.tx
    for _ in range(sound // 16):
        pair.alice.store.take_tx(LINK, 16)
    with pytest.raises(StoreError, match="block 0: authentication chunk 1"):
        pair.alice.store.take_tx(LINK, 16)
    with pytest.raises(StoreError, match="reconnect"):
        pair.alice.store.take_tx(LINK, 16)
    pair.up()
    pair.accounts_are_equal()
    assert before - 8_192 - 100 < pair.alice.store.auth_left(LINK).tx < before - 4_096


def test_a_rotten_wrapped_key_is_a_damaged_block(pair) -> None:
    stocked(pair)
    ids = reserve(pair.alice)
    pair.pump()
    pair.alice.store._db.run("UPDATE segments SET wrapped_key = zeroblob(60) WHERE block_no = 1")
    with pytest.raises(DamagedBlock):
        pair.alice.store.deliver_to_master(LINK, ids)


def test_a_chunk_moved_to_another_place_does_not_open(pair) -> None:
    stocked(pair)
    ids = reserve(pair.alice)
    pair.pump()
    (row,) = pair.alice.store._db.all("SELECT id FROM segments WHERE block_no = 1")
    there, here = (chunk_id(row["id"], Region.HALF_ALICE, n) for n in (1, 0))
    pair.alice.store._db.run(
        "UPDATE sealed SET data = (SELECT data FROM sealed WHERE id = ?) WHERE id = ?", there, here
    )
    with pytest.raises(DamagedBlock):
        pair.alice.store.deliver_to_master(LINK, ids)


def test_pads_are_never_taken_twice_over_kills_and_both_ends_take_the_same(pair) -> None:
    seen = set()
    for _ in range(5):
        pair.up()
        for _ in range(70):
            pads = (
                pair.alice.store.take_tx(LINK, 16),
                pair.bob.store.take_rx(LINK, 16),
                pair.bob.store.take_tx(LINK, 16),
                pair.alice.store.take_rx(LINK, 16),
            )
            assert pads[0] == pads[1]
            assert pads[2] == pads[3]
            seen |= {bytes(pad.reveal()) for pad in pads}
        pair.alice.kill()
    assert len(seen) == 5 * 70 * 2


def test_a_kill_burns_less_than_two_strides_of_authentication_key(pair) -> None:
    pair.up()
    before = pair.alice.store.auth_left(LINK)
    pair.alice.kill()
    pair.up()
    after = pair.alice.store.auth_left(LINK)
    assert before.tx - after.tx <= 2 * 1_024
    pair.accounts_are_equal()


def test_authentication_key_runs_out_with_a_word_and_to_the_last_byte(pair) -> None:
    left = pair.alice.store.auth_left(LINK).tx
    for _ in range(left // 16):
        pair.alice.store.take_tx(LINK, 16)
    with pytest.raises(OutOfKey):
        pair.alice.store.take_tx(LINK, 16)
    pair.alice.store.take_tx(LINK, left % 16)
    assert pair.alice.store.auth_left(LINK).tx == 0
    assert pair.alice.store.account(LINK).authentication == 8 * left


def roll_back(pair, change):
    """Restore Alice's file as it was before ``change``."""
    pair.alice.store.close()
    image = pair.alice.path.with_suffix(".image")
    shutil.copy(pair.alice.path, image)
    pair.alice.open()
    change()
    pair.alice.store.close()
    shutil.copy(image, pair.alice.path)
    pair.alice.open()


def test_a_store_restored_from_an_old_image_is_found_out_by_its_incarnation(pair) -> None:
    stocked(pair)

    def sessions() -> None:
        pair.up()
        pair.up()

    roll_back(pair, sessions)
    marks = pair.alice.store.auth_marks(LINK)
    pair.bob.store.auth_marks(LINK)
    with pytest.raises(SecurityAlarm, match="incarnation"):
        pair.bob.store.begin_session(LINK, marks)
    account = pair.bob.store.account(LINK)
    assert account.stock == account.reserved == 0
    assert pair.bob.store.auth_left(LINK).tx == 0
    for _ in range(2):
        with pytest.raises(SecurityAlarm, match="re-keyed"):
            pair.bob.store.auth_marks(LINK)


def test_a_store_restored_within_a_session_is_found_out_by_its_pads(pair) -> None:
    stocked(pair)

    def much_traffic() -> None:
        pair.up()
        for _ in range(200):
            pair.alice.store.take_tx(LINK, 16)
            pair.bob.store.take_rx(LINK, 16)

    roll_back(pair, much_traffic)
    pair.alice.store.auth_marks(LINK)
    marks = pair.alice.store.auth_marks(LINK)
    with pytest.raises(SecurityAlarm, match="would send from byte"):
        pair.bob.store.begin_session(LINK, marks)


def test_a_store_restored_from_an_old_image_is_found_out_by_its_reservations(pair) -> None:
    stocked(pair)

    def a_reservation() -> None:
        pair.up()
        reserve(pair.alice)
        pair.pump()

    roll_back(pair, a_reservation)
    pair.alice.store.auth_marks(LINK)
    pair.connect()
    with pytest.raises(SecurityAlarm, match="its own half"):
        pair.pump()


def test_a_re_keyed_link_starts_anew_and_keeps_its_numbers(pair) -> None:
    stocked(pair)
    for end in pair.ends:
        end.store.raise_alarm(LINK, "test")
        end.store.account(LINK)
        psk = Secret.from_bytes(b"other psk".ljust(40_000, b"."))
        with pytest.raises(StoreError):
            end.store.install_psk(LINK, end.role, psk)
        end.store.install_psk(LINK, end.role, psk, rekey=True)
    stocked(pair)
    pair.accounts_are_equal()
    assert pair.alice.store.account(LINK).distilled == 8 * 40_000
    assert pair.alice.store.next_block_no(LINK) == 3


def test_a_pre_shared_key_that_has_been_used_is_not_laid_in_again(pair) -> None:
    def again() -> None:
        pair.alice.store.install_psk(LINK, "alice", Secret.from_bytes(pair.psk), rekey=True)

    again()  # nothing of it is used yet
    pair.up()
    first = pair.alice.store.take_tx(LINK, 32)
    with pytest.raises(StoreError, match="used before"):
        again()
    pair.alice.store.raise_alarm(LINK, "test")
    with pytest.raises(StoreError, match="used before"):
        again()
    assert pair.alice.store.account(LINK).authentication == 8 * len(first)


def test_two_different_pre_shared_keys_are_told_apart_by_name(pair) -> None:
    psk = Secret.from_bytes(b"other psk".ljust(40_000, b"."))
    pair.bob.store.install_psk(LINK, "bob", psk, rekey=True)
    pair.alice.store.auth_marks(LINK)
    with pytest.raises(PeerError, match="pre-shared key"):
        pair.alice.store.begin_session(LINK, pair.bob.store.auth_marks(LINK))


def test_a_short_pre_shared_key_is_refused(tmp_path) -> None:
    pair = Pair(tmp_path)
    with pytest.raises(ValueError, match="32768"):
        pair.alice.store.install_psk("x-y", "alice", Secret(32_767))
    pair.close()


def test_digests_are_equal_at_both_ends_beside_a_running_daemon_and_show_damage(pair) -> None:
    stocked(pair)
    pair.block(20_001, 100)
    reserve(pair.alice, 3)
    pair.pump()
    both = [read_digests(e.path, master_key(e), NodeId(e.name)) for e in pair.ends]
    assert both[0] == both[1]
    assert [(row.block_no, row.offset) for row in both[0]] == [(1, 96), (1, 0), (2, 0), (2, 0)]
    assert len({row.digest for row in both[0]}) == 4
    rot(pair.bob, 2, Region.HALF_BOB, 2)
    states = [r.state for r in read_digests(pair.bob.path, master_key(pair.bob), NodeId("bob"))]
    assert states == ["live", "live", "live", "damaged"]
    with pytest.raises(StoreError, match="master key"):
        read_digests(pair.bob.path, Secret(32), NodeId("bob"))
