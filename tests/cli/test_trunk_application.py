"""The applications of a lane tell a wrong, an old, a late and a missing key for what they are."""

import os
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import trio

from qkdd.base.errors import OutOfKey
from qkdd.base.secret import Secret
from qkdd.cli.trunk.application import End, Pair, Refresher, Tally
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.messages import Status, StatusExtension
from qkdd.deliver.request import DecRequest, EncRequest, EpochRequest, StatusRequest
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.settings import StoreSettings
from qkdd.net.delivery import Delivered, Delivery
from qkdd.net.https import HttpsServer, server_context
from tests.cli.pki_folder import make_pki

SETTINGS = DeliverySettings(saes=(Sae(id="first", node="x"), Sae(id="last", node="y")))
LIMITS = StoreSettings(path=Path(), master_key=Path())


class Relays:
    """What both relays answer from: a key for each name, and how the second one spoils it."""

    def __init__(self, *, spoil: bool = False, repeat: bool = False, empty: bool = False) -> None:
        self._keys: dict[UUID, bytes] = {}
        self._spoil, self._repeat, self.empty = spoil, repeat, empty
        self.ahead = 0

    async def status(self, request: StatusRequest) -> Status:
        """A lane that has one epoch more ahead each time that it is looked at."""
        self.ahead += 1
        fields = {field.name: 0 for field in msgspec.structs.fields(Status) if field.required}
        names = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
        extension = StatusExtension(
            qkdd_class="relayed", qkdd_relays_trusted=1, qkdd_epochs_ahead=self.ahead
        )
        filled = fields | dict.fromkeys(names, "x") | {"status_extension": extension}
        return Status(**filled)

    async def new_keys(self, request: EncRequest) -> Delivered:
        if self.empty:
            raise OutOfKey("nothing in stock")
        key_id, key = uuid4(), bytes(32) if self._repeat else os.urandom(32)
        self._keys[key_id] = key
        return [DeliveredKey(key_id, Secret.from_bytes(key))]

    async def known_keys(self, request: DecRequest) -> Delivered:
        (key_id,) = request.key_ids
        key = self._keys[key_id]
        return [DeliveredKey(key_id, Secret.from_bytes(bytes(32) if self._spoil else key))]

    async def epoch_keys(self, request: EpochRequest) -> Delivered:
        raise NotImplementedError


async def refreshed(
    folder: Path, relays: Relays, periods: int, *, empty_from: int = 99, begin_with_s: float = 0.0
) -> Tally:
    """Let the two applications of a lane refresh so often against two servers over ``relays``."""
    make_pki(folder, nodes=("x", "y"), saes=("first", "last"))
    ports = []
    async with trio.open_nursery() as nursery:
        for node in ("x", "y"):
            server = HttpsServer(
                Delivery(relays, SETTINGS, LIMITS).handle,
                known=SETTINGS.homes,
                max_connections_per_sae=2,
            )
            context = server_context(
                folder / f"{node}.pem", folder / f"{node}.key", folder / "ca.pem"
            )
            listeners = await nursery.start(server.serve, "127.0.0.1", 0, context)
            ports.append(listeners[0].socket.getsockname()[1])
        first, last = End(sae="first", port=ports[0]), End(sae="last", port=ports[1])
        pair = Pair(lane="lane", period_s=0.05, begin_with_s=begin_with_s, first=first, last=last)
        refresher = Refresher(pair, folder, os.urandom(32))
        nursery.start_soon(refresher.run)
        while (done := _tried(refresher.tally)) < periods:
            relays.empty |= done >= empty_from
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return refresher.tally


def _tried(tally: Tally) -> int:
    return tally.delivered + tally.missed + tally.unequal


async def test_fresh_equal_keys_are_delivered(tmp_path: Path) -> None:
    tally = await refreshed(tmp_path, Relays(), 3)
    assert tally.delivered >= 3
    assert (tally.unequal, tally.twice) == (0, 0)
    assert len(tally.latencies_s) == tally.delivered
    assert tally.first_key_s is not None


async def test_keys_that_differ_are_unequal_and_not_delivered(tmp_path: Path) -> None:
    tally = await refreshed(tmp_path, Relays(spoil=True), 3)
    assert tally.unequal >= 3
    assert (tally.delivered, tally.first_key_s) == (0, None)


async def test_a_key_that_was_there_before_counts_as_delivered_twice(tmp_path: Path) -> None:
    tally = await refreshed(tmp_path, Relays(repeat=True), 3)
    assert tally.twice >= 2


async def test_a_period_without_key_is_missed_and_says_why(tmp_path: Path) -> None:
    tally = await refreshed(tmp_path, Relays(), 4, empty_from=1)
    assert tally.missed >= 2
    assert "nothing in stock" in tally.last_miss


@pytest.mark.parametrize("seconds", [0.3])
async def test_before_the_first_key_nothing_is_missed(tmp_path: Path, seconds: float) -> None:
    with trio.move_on_after(seconds) as scope:
        await refreshed(tmp_path, Relays(empty=True), 1)
    assert scope.cancelled_caught


async def test_the_first_key_is_asked_for_once_enough_lie_ahead(tmp_path: Path) -> None:
    relays = Relays()
    tally = await refreshed(tmp_path, relays, 2, begin_with_s=0.25)
    assert relays.ahead == 5  # epochs of 0.05 s
    assert tally.delivered >= 2
    assert tally.missed == 0
