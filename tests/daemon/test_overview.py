"""A relay's overview: accounts of a store that has its trouble are those of before."""

from pathlib import Path

import pytest
import trio
import trio.testing

from qkdd.base.errors import StoreError
from qkdd.base.ids import LinkId
from qkdd.daemon.overview import LinkAccount, gather
from tests.daemon.desk_pair import LINK, desk_pair


async def test_a_commit_that_fails_for_a_moment_does_not_end_the_relay(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    accounts: dict[LinkId, LinkAccount] = {LINK: LinkAccount({}, 0)}
    async with desk_pair(tmp_path) as pair, trio.open_nursery() as nursery:
        await nursery.start(gather, pair.alice.service, accounts)
        accounts[LINK].bits = {}
        await pair.alice.service.do(lambda store: store.next_block_no(LINK))
        pair.alice.store._db._failed = "a fault"
        await trio.sleep(1.5)
        assert not accounts[LINK].bits
        pair.alice.store._db._failed = None
        await trio.sleep(1.0)
        assert accounts[LINK].bits["pre_shared"] == 8 * 32 * 1024 - 256
        nursery.cancel_scope.cancel()


async def test_a_store_at_rest_is_not_asked_each_second(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    accounts: dict[LinkId, LinkAccount] = {LINK: LinkAccount({}, 0)}
    async with desk_pair(tmp_path) as pair, trio.open_nursery() as nursery:
        alice = pair.alice
        await nursery.start(gather, alice.service, accounts)
        at_rest = accounts[LINK].auth_left_bits
        accounts[LINK].auth_left_bits = 0
        await trio.sleep(4.5)
        assert accounts[LINK].auth_left_bits == 0
        (await alice.service.alone(lambda store: store.take_rx(LINK, 16))).wipe()
        await trio.sleep(1.0)
        assert accounts[LINK].auth_left_bits == at_rest - 8 * 16
        ready = alice.service.pads(LINK, "rx", 32)  # which no commit tells of
        assert ready is not None
        ready.wipe()
        await trio.sleep(1.0)
        assert accounts[LINK].auth_left_bits == at_rest - 8 * 48
        nursery.cancel_scope.cancel()


async def test_a_store_that_cannot_tell_its_account_at_the_start_ends_the_start(
    tmp_path: Path,
) -> None:
    unknown = LinkId("unknown")
    async with desk_pair(tmp_path) as pair, trio.open_nursery() as nursery:
        with pytest.raises(StoreError, match="install one first"):
            await nursery.start(gather, pair.alice.service, {unknown: LinkAccount({}, 0)})
