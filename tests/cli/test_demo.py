"""The demonstration tells a wrong key, a late key and too short a run for what they are."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import trio

from qkdd.base.errors import OutOfKey
from qkdd.base.secret import Secret
from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B, RelayFiles, write_pki
from qkdd.cli.demo.refresh import Refresher, Refreshes
from qkdd.cli.demo.summary import Watch, summarise
from qkdd.daemon.snapshot import BlockFacts
from qkdd.daemon.status import LinkStatus
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.messages import Status
from qkdd.deliver.request import DecRequest, EncRequest, EpochRequest, StatusRequest
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.settings import StoreSettings
from qkdd.net.delivery import Delivered, Delivery
from qkdd.net.https import HttpsServer, server_context

SETTINGS = DeliverySettings(saes=(Sae(id=SAE_A, node=ALICE), Sae(id=SAE_B, node=BOB)))
LIMITS = StoreSettings(path=Path(), master_key=Path())


class Manager:
    """A relay that has one key for ever."""

    def __init__(self, key: bytes | None) -> None:
        self.key = key

    async def status(self, request: StatusRequest) -> Status:
        raise NotImplementedError

    async def new_keys(self, request: EncRequest) -> Delivered:
        return self._keys(uuid4())

    async def known_keys(self, request: DecRequest) -> Delivered:
        return self._keys(*request.key_ids)

    def _keys(self, *key_ids: UUID) -> Delivered:
        if self.key is None:
            raise OutOfKey("nothing in stock")
        return [DeliveredKey(key_id, Secret.from_bytes(self.key)) for key_id in key_ids]

    async def epoch_keys(self, request: EpochRequest) -> Delivered:
        raise NotImplementedError


@asynccontextmanager
async def refresher(folder: Path, key_a: bytes | None, key_b: bytes) -> AsyncIterator[Refresher]:
    write_pki(folder)
    relays = []
    async with trio.open_nursery() as nursery:
        for name, key in ((ALICE, key_a), (BOB, key_b)):
            server = HttpsServer(
                Delivery(Manager(key), SETTINGS, LIMITS).handle,
                known=SETTINGS.homes,
                max_connections_per_sae=2,
            )
            files = (folder / "pki" / f"{name}.pem", folder / "pki" / f"{name}.key")
            context = server_context(*files, folder / "pki" / "ca.pem")
            listeners = await nursery.start(server.serve, "127.0.0.1", 0, context)
            port = listeners[0].socket.getsockname()[1]
            relays.append(RelayFiles(name, folder / name, port))
        under_test = Refresher(folder, *relays, os.urandom(32))
        yield under_test
        await under_test.close()
        nursery.cancel_scope.cancel()


async def test_equal_keys_are_compared_and_an_unequal_one_fails_the_run(tmp_path: Path) -> None:
    async with refresher(tmp_path / "equal", bytes(32), bytes(32)) as same:
        assert await same.once()
        assert (same.refreshes.compared, same.refreshes.unequal) == (1, 0)
    async with refresher(tmp_path / "unequal", bytes(32), bytes(31) + b"\1") as other:
        assert not await other.once()
        assert (other.refreshes.compared, other.refreshes.unequal) == (1, 1)
        summary = summarise(lit_watch(0), other.refreshes, [], km=1.0, end_s=10.0, reason=None)
    assert not summary.ok
    assert summary.reason == "1 keys differ between the two relays"


async def test_a_relay_without_key_is_a_missed_refresh_with_its_reason(tmp_path: Path) -> None:
    async with refresher(tmp_path, None, bytes(32)) as empty:
        assert not await empty.once()
        assert (empty.refreshes.compared, empty.refreshes.missed) == (0, 1)
        assert "nothing in stock" in empty.refreshes.last_miss


def a_block(block_no: int, pulse_seconds: float, n_secret_bits: int) -> BlockFacts:
    plain = {
        field.name: 0 if field.required else None for field in msgspec.structs.fields(BlockFacts)
    }
    three = ("qber_key_by_intensity", "qber_test_by_intensity")
    counts = ("key", "test", "key_errors", "test_errors")
    plain |= dict.fromkeys(three, (None,) * 3) | dict.fromkeys(counts, (0, 0, 0))
    plain |= {
        "block_no": block_no,
        "pulse_seconds": pulse_seconds,
        "n_secret_bits": n_secret_bits,
        "n_auth_bits": n_secret_bits // 4,
        "correction": "ldpc fast",
        "reason": None,
    }
    return BlockFacts(**plain)


def lit_watch(n_full: int) -> Watch:
    """A first block of 2 s at 10 s, then full ones of 16 s, at both relays."""
    watch = Watch(full_seconds=16.0)
    watch.first_key_s = 11.0
    for number in range(n_full + 1):
        block = a_block(number, 16.0 if number else 2.0, 1600)
        ends = []
        for role in ("transmitter", "receiver"):
            status = LinkStatus(name="a-b", peer="x", role=role)
            status.distilled(block, 10.0 + 16 * number)
            ends.append(
                status.snapshot(
                    10.0 + 16 * number, account={}, auth_left_bits=0, promised_bits_per_s=256.0
                )
            )
        assert watch.see(ends, 10.0 + 16 * number) == block
        assert watch.see(ends, 10.1 + 16 * number) is None
    return watch


def test_the_rate_leaves_out_the_first_block_and_authentication_key() -> None:
    net, gross = lit_watch(4).secret_rates(74.0)
    assert (net, gross) == (4 * 1200 / 64, 4 * 1600 / 64)


def test_fewer_than_four_full_blocks_give_no_rate() -> None:
    assert lit_watch(3).secret_rates(60.0) == (None, None)


@pytest.mark.parametrize("missed", [0, 1])
def test_a_missed_refresh_fails_the_run(missed: int) -> None:
    refreshes = Refreshes(compared=5, missed=missed, last_miss="late")
    summary = summarise(lit_watch(0), refreshes, [], km=1.0, end_s=9.0, reason=None)
    assert summary.ok is (missed == 0)
    assert summary.reason == ("1 refreshes missed, the last: late" if missed else None)
