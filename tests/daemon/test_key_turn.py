"""A turn of the key desk: many messages in one commit, and keys for nobody are wiped."""

from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import trio

from qkdd.base.errors import LinkLost, PeerError
from qkdd.base.ids import SaeId
from qkdd.base.secret import Secret
from qkdd.daemon.key_turn import Wanted, answered_ids, take_turn
from qkdd.keys.cutting import Order
from qkdd.keys.delivery import Reservation
from qkdd.keys.errors import KeyNotFound
from qkdd.keys.messages import KeysHeld
from qkdd.keys.store import KeyStore
from tests.daemon.desk_pair import LINK, DeskEnd, desk_pair


async def reserve(end: DeskEnd, number: int = 1) -> Reservation:
    def operation(store: KeyStore) -> Reservation:
        return store.reserve_keys(LINK, number, 256, SaeId("alpha"), [SaeId("beta")], 0)

    return await end.service.do(operation)


def wanted_of(reservation: Reservation) -> Wanted:
    return wanted_keys([record.key_id for record in reservation.records])


def wanted_keys(key_ids: list[UUID]) -> Wanted:
    wanted = Wanted(Order(len(key_ids), 32, "alpha", ("beta",)))
    wanted.reserved(key_ids)
    return wanted


def held(key_ids: list[bytes]) -> KeysHeld:
    return KeysHeld(held=b"".join(key_ids), refused=b"")


async def test_one_turn_holds_for_many_requests_and_delivers_them(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        reservations = [await reserve(pair.alice, number) for number in (1, 3, 2)]
        told = await pair.bob.service.do(
            lambda store: take_turn(store, LINK, [r.announcement for r in reservations], [], 0)
        )
        assert [type(answer) for answer in told.answers] == [KeysHeld] * 3
        ready = [wanted_of(reservation) for reservation in reservations]
        turn = await pair.alice.service.do(
            lambda store: take_turn(store, LINK, told.answers, ready, 0)
        )
        assert turn.error is None
        counts = [len(keys) for _, keys in turn.delivered if isinstance(keys, list)]
        assert counts == [1, 3, 2]


async def test_what_came_before_an_illegal_message_is_carried_out_and_nothing_after_it(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        one, two = await reserve(pair.alice), await reserve(pair.alice)
        wrong = msgspec.structs.replace(one.announcement, key_ids=bytes(15))
        turn = await pair.bob.service.do(
            lambda store: take_turn(
                store, LINK, [one.announcement, wrong, two.announcement], [wanted_of(one)], 0
            )
        )
        assert isinstance(turn.error, PeerError)
        assert turn.answers == [held([one.records[0].key_id.bytes])]
        assert turn.delivered == []


async def test_a_request_that_cannot_be_delivered_leaves_the_others_their_keys(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    async with desk_pair(tmp_path) as pair, pair.session():
        await pair.block()
        kept, burned = await reserve(pair.alice), await reserve(pair.alice)
        burned_id = burned.records[0].key_id
        await pair.alice.service.do(lambda store: store.burn_keys(LINK, [burned_id]))
        answer = held([burned_id.bytes, kept.records[0].key_id.bytes])
        ready = [wanted_of(burned), wanted_of(kept)]
        turn = await pair.alice.service.do(lambda store: take_turn(store, LINK, [answer], ready, 0))
        (_, first), (_, second) = turn.delivered
        assert isinstance(first, KeyNotFound)
        assert isinstance(second, list)


async def test_a_request_is_in_work_once_the_peer_answered_for_its_last_key() -> None:
    ids = [uuid4() for _ in range(3)]
    wanted = wanted_keys(ids)
    order = (ids[2], ids[0], ids[0], ids[1], ids[1])
    answers = [wanted.peer_answered(one.bytes, held=one is not ids[0]) for one in order]
    assert answers == [False, False, False, True, False]
    assert wanted.in_work
    assert wanted.refused == {ids[0].bytes}


async def test_keys_that_come_after_the_request_was_given_up_are_wiped() -> None:
    wanted, key = wanted_keys([uuid4()]), Secret(32)
    wanted.give_up()
    wanted.finish([key])
    assert key.wiped


async def test_the_first_word_on_a_delivery_counts() -> None:
    key = Secret(32)
    wanted = wanted_keys([uuid4()])
    wanted.finish([key])
    wanted.finish(LinkLost("too late"))
    assert await wanted.result() == [key]
    refused = wanted_keys([uuid4()])
    refused.finish(LinkLost("no peer"))
    with pytest.raises(LinkLost, match="no peer"):
        await refused.result()


def test_malformed_answers_answer_for_nobody() -> None:
    name = UUID(int=7).bytes
    assert answered_ids([KeysHeld(held=name + b"x", refused=b"")]) == []
    assert answered_ids([KeysHeld(held=b"", refused=name)]) == [(name, False)]
    assert answered_ids([KeysHeld(held=name, refused=b"")]) == [(name, True)]
