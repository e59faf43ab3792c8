"""Two key desks and their offices: keys reach both ends once, and a lost peer costs only keys."""

import sqlite3
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from qkdd.base.errors import LinkLost, StoreError
from qkdd.daemon import ahead
from qkdd.daemon.ahead import MOST_BYTES, SCARCE
from qkdd.daemon.order_desk import HELD_TIMEOUT_S
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.errors import HttpError
from qkdd.deliver.request import DecRequest, EncRequest, StatusRequest
from qkdd.keys.account import Account
from qkdd.keys.messages import KeysAnnounced, KeysConfirmed, KeysHeld, split_ids
from tests.daemon.desk_pair import DELIVERY, LINK, DeskEnd, DeskPair, desk_pair, lose

ASKED = EncRequest("alpha", ("beta",), 2, 256)
ONE = EncRequest("alpha", ("beta",), 1, 256)
AMPLE_BYTES = 2 * SCARCE * MOST_BYTES
"""A block of which no order cut ahead is too much of our half."""
OFTEN = 20
"""Requests one after another, on a clock that hardly moves: a high rate."""


async def fetch(end: DeskEnd, keys: list[DeliveredKey]) -> list[bytes]:
    asked = DecRequest("alpha", "beta", tuple(one.key_id for one in keys))
    return [bytes(one.key.reveal()) for one in await end.office.known_keys(asked)]


async def account(end: DeskEnd) -> Account:
    """Ask for the account when it is the question's turn, not in the middle of a commit."""
    return await end.service.do(lambda store: store.account(LINK))


async def settled(pair: DeskPair) -> Account:
    """Wait until both accounts are equal, and return them."""
    with trio.fail_after(5):
        while (ours := await account(pair.alice)) != await account(pair.bob):  # noqa: ASYNC110
            await trio.sleep(1.0)
    return ours


async def test_master_and_slave_get_the_same_keys_and_the_accounts_agree(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        keys = list(await pair.alice.office.new_keys(ASKED))
        assert await fetch(pair.bob, keys) == [bytes(one.key.reveal()) for one in keys]
        with pytest.raises(HttpError):
            await fetch(pair.bob, keys)
        await settled(pair)
        assert pair.alice.account().delivered == 2 * 256


async def test_without_a_session_there_is_no_key_and_a_word(tmp_path: Path) -> None:
    async with desk_pair(tmp_path) as pair:
        with pytest.raises(LinkLost, match="not connected"):
            await pair.alice.office.new_keys(ASKED)


async def test_keys_that_the_peer_does_not_confirm_are_burned_at_both_ends(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        pair.bob.meddle = lose(KeysHeld)
        begin_s = trio.current_time()
        with pytest.raises(LinkLost, match="burned"):
            await pair.alice.office.new_keys(ASKED)
        assert trio.current_time() - begin_s == pytest.approx(HELD_TIMEOUT_S)
        await settled(pair)
        assert pair.alice.account().delivered == 0
        pair.bob.meddle = lambda message: message
        assert len(await pair.alice.office.new_keys(ASKED)) == 2


async def test_a_peer_that_is_lost_while_keys_are_asked_for_ends_the_wait_at_once(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, trio.open_nursery() as nursery:
        refused: list[str] = []

        async def ask() -> None:
            with pytest.raises(LinkLost) as caught:
                await pair.alice.office.new_keys(ASKED)
            refused.append(str(caught.value))

        async with pair.session():
            await pair.block()
            pair.alice.meddle = lose(KeysAnnounced)
            nursery.start_soon(ask)
            await trio.sleep(1.0)
            begin_s = trio.current_time()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == begin_s
        pair.alice.meddle = lambda message: message
        async with pair.session():
            await settled(pair)
            assert pair.alice.account().burned >= 2 * 256
            assert len(await pair.alice.office.new_keys(ASKED)) == 2
    assert len(refused) == 1


async def test_keys_that_the_peer_refuses_are_an_error_of_the_link_and_burned(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    def refuse_one(message: msgspec.Struct) -> msgspec.Struct:
        if isinstance(message, KeysHeld):
            return KeysHeld(held=message.held[16:], refused=message.held[:16])
        return message

    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        pair.bob.meddle = refuse_one
        before = pair.alice.account()
        with pytest.raises(LinkLost, match="burned"):
            await pair.alice.office.new_keys(ASKED)
        after = pair.alice.account()
        assert (after.delivered, after.reserved) == (0, before.reserved)
        assert after.burned - before.burned == 2 * 256


async def test_keys_that_are_burned_before_the_peer_confirms_them_are_an_error_of_the_link(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session(), trio.open_nursery() as nursery:
        await pair.block()
        kept: list[KeysHeld] = []

        def keep(message: msgspec.Struct) -> msgspec.Struct | None:
            if isinstance(message, KeysHeld):
                kept.append(message)
                return None
            return message

        async def ask() -> None:
            with pytest.raises(LinkLost, match="burned"):
                await pair.alice.office.new_keys(ASKED)

        pair.bob.meddle = keep
        nursery.start_soon(ask)
        await trio.sleep(1.0)
        key_ids = [UUID(bytes=key_id) for key_id in split_ids(kept[0].held)]
        await pair.alice.service.do(lambda store: store.burn_keys(LINK, key_ids))
        assert pair.alice.mailbox is not None
        await pair.alice.mailbox.put(kept[0])


async def test_a_cut_peer_learns_later_what_became_of_the_keys_it_holds(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair:
        async with pair.session():
            await pair.block()
            pair.alice.meddle = lose(KeysConfirmed)
            keys = list(await pair.alice.office.new_keys(ASKED))
            await trio.sleep(3)
        async with pair.session():
            assert await fetch(pair.bob, keys) == [bytes(one.key.reveal()) for one in keys]
            await settled(pair)
            assert pair.bob.account().delivered == 2 * 256


async def test_more_than_the_stock_is_out_of_key_and_costs_nothing(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block(n_bytes=512)
        before = pair.alice.account()
        with pytest.raises(HttpError, match="the link makes no key now") as caught:
            await pair.alice.office.new_keys(EncRequest("alpha", ("beta",), 128, 4_096))
        assert (caught.value.status, caught.value.retry_after_s) == (503, None)
        assert pair.alice.account() == before


async def test_the_office_refuses_a_master_whose_home_is_another_relay(tmp_path: Path) -> None:
    async with desk_pair(tmp_path) as pair:
        with pytest.raises(HttpError, match="home") as caught:
            await pair.alice.office.new_keys(EncRequest("beta", ("alpha",), 1, 256))
        assert caught.value.status == 401


async def test_the_office_says_which_neighbour_it_has_no_link_to(tmp_path: Path) -> None:
    async with desk_pair(tmp_path) as pair:
        with pytest.raises(LinkLost, match="carol"):
            await pair.alice.office.new_keys(EncRequest("alpha", ("gamma",), 1, 256))
        with pytest.raises(LinkLost, match="carol"):
            await pair.alice.office.new_keys(EncRequest("alpha", ("beta", "gamma"), 1, 256))
        with pytest.raises(LinkLost, match="carol"):
            await pair.alice.office.status(StatusRequest("alpha", "gamma"))


async def test_two_applications_of_one_relay_share_keys_over_any_link(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        keys = list(await pair.alice.office.new_keys(EncRequest("alpha", ("anna",), 1, 256)))
        asked = DecRequest("alpha", "anna", (keys[0].key_id,))
        (copy,) = await pair.alice.office.known_keys(asked)
        assert copy.key == keys[0].key


async def test_unknown_and_foreign_keys_are_told_apart(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        with pytest.raises(HttpError) as unknown:
            await pair.bob.office.known_keys(DecRequest("alpha", "beta", (uuid4(),)))
        keys = list(await pair.alice.office.new_keys(ASKED))
        with pytest.raises(HttpError) as foreign:
            await pair.bob.office.known_keys(DecRequest("beta", "alpha", (keys[0].key_id,)))
        assert (unknown.value.status, foreign.value.status) == (400, 401)


async def test_the_status_counts_the_keys_of_our_half(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        before = await pair.alice.office.status(StatusRequest("alpha", "beta"))
        await pair.alice.office.new_keys(ASKED)
        after = await pair.alice.office.status(StatusRequest("alpha", "beta"))
        assert before.stored_key_count - after.stored_key_count == 2
        assert (after.source_KME_ID, after.target_KME_ID) == ("alice", "bob")


def rot(end: DeskEnd) -> None:
    """Flip a bit of every sealed chunk on disk, as a disk that rots does, and as nobody tells."""
    with sqlite3.connect(end.store._db.path) as disk:
        for number, data in disk.execute("SELECT id, data FROM sealed").fetchall():
            flipped = bytes([data[0] ^ 1]) + data[1:]
            disk.execute("UPDATE sealed SET data = ? WHERE id = ?", (flipped, number))
    disk.close()


async def test_bit_rot_is_an_alarm_costs_its_block_at_both_ends_and_the_next_one_serves(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        rot(pair.alice)
        with capture_logs() as lines, pytest.raises(StoreError, match="does not open; the rest"):
            await pair.alice.office.new_keys(ASKED)
        assert ("block damaged", "error") in [(one["event"], one["log_level"]) for one in lines]
        await settled(pair)
        assert (pair.bob.account().stock, pair.bob.account().delivered) == (0, 0)
        await pair.block()
        keys = list(await pair.alice.office.new_keys(ASKED))
        assert await fetch(pair.bob, keys) == [bytes(one.key.reveal()) for one in keys]
        await settled(pair)


async def ask_often(pair: DeskPair) -> None:
    """Ask one by one, so that keys are cut ahead."""
    for _ in range(OFTEN):
        assert len(await pair.alice.office.new_keys(ONE)) == 1


async def test_for_those_who_ask_often_the_peer_holds_keys_before_they_ask(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block(AMPLE_BYTES)
        await ask_often(pair)
        await settled(pair)
        pair.bob.meddle = lose(KeysHeld)  # whoever asks for his key alone now is kept waiting
        keys = list(await pair.alice.office.new_keys(ONE))
        assert await fetch(pair.bob, keys) == [bytes(one.key.reveal()) for one in keys]
        assert (await account(pair.alice)).delivered == (OFTEN + 1) * 256


async def test_keys_cut_ahead_that_nobody_comes_for_are_burned_at_both_ends(
    tmp_path: Path, patient_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle_s = 2.0
    monkeypatch.setattr(ahead, "IDLE_S", idle_s)
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block(AMPLE_BYTES)
        before = await account(pair.alice)
        await ask_often(pair)
        await trio.sleep(idle_s + 3)
        after = await settled(pair)
        assert after.reserved == before.reserved
        assert 0 < after.burned - before.burned <= 8 * MOST_BYTES
        assert after.delivered == OFTEN * 256


async def test_keys_cut_ahead_are_burned_with_the_session_and_never_given_in_the_next(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair:
        async with pair.session():
            await pair.block(AMPLE_BYTES)
            await ask_often(pair)
        async with pair.session():
            (key,) = await pair.alice.office.new_keys(ONE)
            after = await settled(pair)
            assert after.delivered == (OFTEN + 1) * 256
            assert after.burned > 0
            assert await fetch(pair.bob, [key]) == [bytes(key.key.reveal())]


async def test_a_key_cut_ahead_that_the_peer_refuses_is_given_to_nobody(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    """The peer refuses the last of those that are cut ahead; all that are given are good."""

    def refuse_one(message: msgspec.Struct) -> msgspec.Struct:
        if isinstance(message, KeysHeld) and len(message.held) > 16:
            return KeysHeld(held=message.held[:-16], refused=message.held[-16:])
        return message

    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block(AMPLE_BYTES)
        pair.bob.meddle = refuse_one
        await ask_often(pair)
        await trio.sleep(1.0)
        await ask_often(pair)
        after = await account(pair.alice)
        assert after.delivered == 2 * OFTEN * 256
        assert after.burned > 0


async def test_nothing_is_cut_ahead_of_a_stock_that_is_reserved_for_others(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block(AMPLE_BYTES)
        saes = tuple(
            msgspec.structs.replace(sae, reserved_bits_per_s=1.0 if sae.id == "anna" else 0.0)
            for sae in DELIVERY.saes
        )
        pair.alice.office.take(msgspec.structs.replace(DELIVERY, saes=saes))
        before = await account(pair.alice)
        await ask_often(pair)
        assert (await settled(pair)).reserved == before.reserved


async def test_nothing_is_cut_ahead_of_a_small_stock(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        before = await account(pair.alice)
        await ask_often(pair)
        after = await settled(pair)
        assert (after.reserved, after.burned) == (before.reserved, before.burned)
