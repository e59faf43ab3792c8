"""What a neighbour may say about keys by hops to a relay with a store: a PeerError at worst."""

import os
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import trio

from qkdd.base.errors import PeerError, StoreError
from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.daemon import hop_desk
from qkdd.daemon.hop_desk import MAX_WORDS_WAITING
from qkdd.keys.hop_keys import HopCopies
from qkdd.keys.schema import NEXT_RELAY, RELAY
from qkdd.relay.hop_messages import HopAny, HopBurned, HopFailed, HopKeys
from tests.delivery.relay_row import Row, relay_row


async def pads_from_a(row: Row, number: int) -> list[UUID]:
    """Have relay a announce pads to b, and b hold them."""
    found = []
    for _ in range(number // 128 + 1):
        part = min(128, number - len(found))
        if part:
            desk = row.stations["a"].sessions[NodeId("b")].desk
            pads = await desk.new_keys(part, 64, SaeId(RELAY), [SaeId(NEXT_RELAY)], [])
            found += [pad_id for pad_id, _ in pads]
    return found


def keys_under(pads: list[UUID], **more: object) -> HopKeys:
    n_keys = len(pads)
    message = HopKeys(
        transfer=os.urandom(16),
        route=("a", "b"),
        hop=1,
        n_relays=0,
        master="alpha",
        slaves=("beta",),
        n_bytes=8,
        key_ids=os.urandom(16 * n_keys),
        pads=b"".join(pad.bytes for pad in pads),
        masked=bytes(8 * n_keys),
    )
    return msgspec.structs.replace(message, **more)


async def answer(row: Row, message: HopAny) -> HopAny:
    """Say it to relay b as its neighbour a, and return what b says."""
    said: list[msgspec.Struct] = []
    desk = row.stations["b"].hops
    send, receive = trio.open_memory_channel[msgspec.Struct](8)
    desk._says["a"] = send
    assert isinstance(message, HopKeys)
    for action in desk._say(await desk._keys_came(NodeId("a"), message)):
        await desk._at_the_end(action)
    said.append(receive.receive_nowait())
    (only,) = said
    return only  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"master": "gamma"}, "SAE gamma is not known as one of a"),
        ({"slaves": ("gamma",)}, "SAE gamma has not its home here"),
        ({"slaves": ("nobody",)}, "SAE nobody has not its home here"),
        ({"route": ("a", "b", "x"), "n_relays": 1}, "no link to x"),
    ],
)
async def test_keys_that_cannot_be_taken_are_refused_with_the_reason_and_not_held(
    tmp_path: Path, more: dict[str, object], reason: str
) -> None:
    async with relay_row(tmp_path, nodes="abc") as row:
        said = await answer(row, keys_under(await pads_from_a(row, 1), **more))
        assert isinstance(said, HopFailed)
        assert (said.at, said.reason) == ("b", reason)
        assert row.stations["b"].store._db.one("SELECT 1 FROM hop_keys") is None


async def test_more_keys_than_a_request_may_have_are_refused(tmp_path: Path) -> None:
    async with relay_row(tmp_path, nodes="ab") as row:
        said = await answer(row, keys_under(await pads_from_a(row, 129)))
        assert isinstance(said, HopFailed)
        assert said.reason == "129 keys at once, at most 128"


async def test_a_key_that_is_held_already_is_refused_and_stays(tmp_path: Path) -> None:
    async with relay_row(tmp_path, nodes="ab") as row:
        first = keys_under(await pads_from_a(row, 1))
        assert not isinstance(await answer(row, first), HopFailed)
        again = keys_under(await pads_from_a(row, 1), key_ids=first.key_ids)
        said = await answer(row, again)
        assert isinstance(said, HopFailed)
        assert "is held here already" in said.reason


async def test_pads_that_were_not_announced_or_were_used_are_the_neighbours_fault(
    tmp_path: Path,
) -> None:
    async with relay_row(tmp_path, nodes="ab") as row:
        good = keys_under(await pads_from_a(row, 1))
        desk = row.stations["b"].hops
        long = keys_under(await pads_from_a(row, 1), n_bytes=16, masked=bytes(16))
        with pytest.raises(PeerError, match="a pad of 8 bytes for keys of 16"):
            await desk._keys_came(NodeId("a"), long)
        for pads in (os.urandom(16), good.pads[:15] + b"\0"):
            with pytest.raises(PeerError, match="pads that are not held"):
                await desk._keys_came(NodeId("a"), msgspec.structs.replace(good, pads=pads))
        assert not isinstance(await answer(row, good), HopFailed)
        again = msgspec.structs.replace(good, transfer=os.urandom(16), key_ids=os.urandom(16))
        with pytest.raises(PeerError, match="pads that are not held"):
            await desk._keys_came(NodeId("a"), again)
        burn = HopBurned(transfer=good.transfer, route=good.route, hop=1, key_ids=good.key_ids)
        for action in desk._say(desk._machine.receive("a", burn)):
            await desk._at_the_end(action)
        assert row.stations["b"].store._db.one("SELECT 1 FROM hop_keys") is None


async def test_a_neighbour_that_gives_up_without_end_fills_no_memory(tmp_path: Path) -> None:
    async with relay_row(tmp_path, nodes="abc") as row:
        desk = row.stations["b"].hops
        send, receive = trio.open_memory_channel[msgspec.Struct](float("inf"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(desk._says, "c", send)  # a neighbour that takes nothing
            for _ in range(2 * MAX_WORDS_WAITING):
                word = HopBurned(
                    transfer=os.urandom(16), route=("a", "b", "c"), hop=1, key_ids=os.urandom(16)
                )
                assert not desk._say(desk._machine.receive("a", word))
        assert receive.statistics().current_buffer_used == MAX_WORDS_WAITING


async def test_copies_expire_once_a_store_that_was_in_trouble_is_well_again(tmp_path: Path) -> None:
    async with relay_row(tmp_path, nodes="ab") as row:
        station = row.stations["b"]
        store, held = station.store, uuid4()
        copies = HopCopies((held,), Secret(32), 1, SaeId("alpha"), (SaeId("beta"),))
        await station.service.do(lambda store: store.hold_hop_keys(copies, 0))
        expire, refused = store.expire_hop_keys, []

        def full(_now_s: int) -> int:
            if len(refused) == 3:
                return expire(_now_s)
            refused.append(_now_s)
            raise StoreError("database or disk is full")

        store.expire_hop_keys = full
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hop_desk, "EXPIRE_EVERY_S", 0.01)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(station.hops.expire)
                with trio.fail_after(5):
                    left = [held]
                    while left:
                        await trio.sleep(0.01)
                        left = await station.service.do(
                            lambda store: store._db.all("SELECT key_id FROM hop_keys")
                        )
                nursery.cancel_scope.cancel()
        assert len(refused) == 3
