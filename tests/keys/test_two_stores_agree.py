"""Two stores under random work, cuts and kills: nothing twice, and equal after reconnecting."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from qkdd.base.errors import LinkLost, OutOfKey, PeerError
from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.digest import read_digests
from qkdd.keys.errors import DamagedBlock, KeyNotFound
from qkdd.keys.lane_bits import LaneBits
from qkdd.keys.layout import Region, chunk_id
from qkdd.keys.links import Phase
from qkdd.keys.messages import BlockBurned
from tests.keys.pair_of_stores import LINK, End, Pair

MASTER, LOCAL, SLAVE, SECOND = (SaeId(name) for name in ("m", "local", "s1", "s2"))
WHICH = st.integers(0, 1)


class TwoStores(RuleBasedStateMachine):
    """The model: who was handed which bytes, and where each key's bytes came from."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.pair = Pair(Path(self.folder.name), auth_stride_bytes=64).up()
        self.pair.block(9_000, 100)
        self.pair.pump()
        self.reserved: list[tuple[Any, int]] = []  # key ID, owner
        self.copies: dict[tuple[Any, str], bytes] = {}
        self.rotten = False

    def teardown(self) -> None:
        try:
            self.heal()
        finally:
            self.pair.close()
            self.folder.cleanup()

    def end(self, which: int) -> End:
        return self.pair.ends[which]

    def is_up(self, which: int) -> bool:
        return self.end(which).store._links.session(LINK).phase is Phase.UP

    def hand(self, key_id: Any, sae: str, secret: Secret) -> None:
        """Note a delivery; the same SAE never gets a key again, and all get the same bytes."""
        assert (key_id, sae) not in self.copies
        key = bytes(secret.reveal())
        for (other, _), copy in self.copies.items():
            assert (other == key_id) == (copy[:16] == key[:16])
        self.copies[key_id, sae] = key

    @rule(
        n_bytes=st.integers(16, 9_000),
        auth=st.integers(0, 200),
        ends=st.integers(0, 3),
        n_units=st.integers(0, 20),
    )
    def distil(self, n_bytes: int, auth: int, ends: int, n_units: int) -> None:
        """At both ends, at one, or at none (a number is lost)."""
        if not (self.is_up(0) and self.is_up(1)):
            return
        number = max(end.store.next_block_no(LINK) for end in self.pair.ends)
        key = self.pair.key_dice.randbytes(n_bytes)
        for which in (0, 1):
            if ends != 1 + which:
                self.end(which).say(
                    *self.end(which).store.prepare_block(
                        LINK,
                        number,
                        Secret.from_bytes(key),
                        n_bits=8 * n_bytes,
                        auth_bytes=auth,
                        lane_bits=256 * n_units,
                    )
                )

    def units(self, which: int) -> LaneBits:
        row = self.end(which).store._links.row(LINK)
        relayed, burned = row["lane_relayed"], row["lane_burned"]
        return LaneBits(relayed, burned, row["lane_cut"] - relayed - burned)

    @rule(which=WHICH, n_units=st.integers(1, 20), relayed=st.booleans())
    def settle_units(self, which: int, n_units: int, relayed: bool) -> None:
        """One end hears of the fate of units; the other may have died, or hear of it later."""
        n_bits = min(256 * n_units, self.units(which).under_way)
        relayed = relayed and self.may_be_relayed(which, n_bits)
        self.end(which).store.settle_lane_bits(
            LINK, n_bits if relayed else 0, 0 if relayed else n_bits
        )

    def may_be_relayed(self, which: int, n_bits: int) -> bool:
        """A unit is relayed for both ends or for none, but for what a dead one forgot."""
        other = self.units(1 - which)
        return self.units(which).relayed + n_bits <= other.relayed + other.under_way

    def settle_all(self) -> None:
        """Every unit that is under way is relayed if the other end has it as relayed or may yet."""
        for which in (0, 1):
            more = self.units(1 - which).relayed - self.units(which).relayed
            n_bits = self.units(which).under_way
            relayed = max(0, min(n_bits, more))
            self.end(which).store.settle_lane_bits(LINK, relayed, n_bits - relayed)
        for end in self.pair.ends:
            word = end.store.lane_bits_relayed(LINK)
            if word is not None:
                end.say(word)
        self.pair.pump()

    @rule(which=WHICH, number=st.integers(1, 9), size=st.sampled_from([64, 128, 256, 4_096]))
    def reserve(self, which: int, number: int, size: int) -> None:
        size = max(size, 128)
        try:
            reservation = self.end(which).store.reserve_keys(
                LINK, number, size, MASTER, [SLAVE, SECOND], 0, local_slaves=[LOCAL]
            )
        except (OutOfKey, LinkLost):
            return
        self.end(which).say(reservation.announcement)
        self.reserved += [(record.key_id, which) for record in reservation.records]

    @rule(which=WHICH)
    def hold_one(self, which: int) -> None:
        """The usual beginning of a key, so that much happens to keys that are held."""
        self.pair.pump()
        self.reserve(which, 1, 256)
        self.pair.pass_one(self.end(which))

    @rule(data=st.data(), sae=st.sampled_from([MASTER, LOCAL, SLAVE, SECOND]))
    def deliver(self, data: st.DataObject, sae: SaeId) -> None:
        """Master and local slave ask the owner, the others its peer, whatever was promised."""
        if not self.reserved:
            return
        key_id, owner = data.draw(st.sampled_from(self.reserved))
        place = owner if sae in (MASTER, LOCAL) else 1 - owner
        store = self.end(place).store

        def ask() -> list[Secret]:
            if sae == MASTER:
                return store.deliver_to_master(LINK, [key_id])
            return store.fetch_keys([key_id], sae, MASTER)

        try:
            (key,) = ask()
        except (KeyNotFound, LinkLost):
            return
        except DamagedBlock as damaged:
            assert self.rotten
            if self.is_up(place):
                self.end(place).say(BlockBurned(block_no=damaged.block_no))
            return
        self.hand(key_id, sae, key)
        with pytest.raises((KeyNotFound, LinkLost)):
            ask()

    @rule(which=WHICH)
    def confirm(self, which: int) -> None:
        if self.is_up(which):
            message = self.end(which).store.confirmations(LINK)
            if message is not None:
                self.end(which).say(message)

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A master went away: its key is burned, unless it has it."""
        if self.reserved:
            key_id, owner = data.draw(st.sampled_from(self.reserved))
            self.end(owner).store.burn_keys(LINK, [key_id])

    @rule(which=WHICH, count=st.integers(1, 6))
    def carry(self, which: int, count: int) -> None:
        for _ in range(count):
            self.pair.pass_one(self.end(which))

    @rule()
    def carry_all(self) -> None:
        self.pair.pump()

    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        self.end(which).kill()
        self.pair.cut()

    @rule()
    def cut(self) -> None:
        self.pair.cut()

    @rule()
    def connect(self) -> None:
        """Only begun: what follows may cut it at any message of the agreement."""
        self.pair.connect()

    @precondition(lambda self: not self.rotten)
    @rule(which=WHICH, region=st.sampled_from([Region.HALF_ALICE, Region.HALF_BOB]))
    def rot(self, which: int, region: Region) -> None:
        db = self.end(which).store._db
        row = db.one("SELECT id FROM segments WHERE block_no > 0 AND state = 1 LIMIT 1")
        if row is not None:
            chunk = chunk_id(row["id"], region, 0)
            db.run("UPDATE sealed SET data = zeroblob(50) WHERE id = ?", chunk)
            self.rotten = True

    @rule()
    def heal(self) -> None:
        """Reconnect and compare: accounts to the bit, and what is left to the byte."""
        self.pair.up()
        assert self.is_up(0)
        assert self.is_up(1)
        self.settle_all()
        self.pair.accounts_are_equal()
        assert self.units(0).under_way == self.units(1).under_way == 0
        for end in self.pair.ends:
            open_keys = end.store._db.all("SELECT * FROM keys WHERE settled = 0")
            assert open_keys == []
        digests = [
            read_digests(e.path, Secret.from_bytes(e.name.encode().ljust(32, b"m")), NodeId(e.name))
            for e in self.pair.ends
        ]
        if not self.rotten:
            assert digests[0] == digests[1]
        self.pair.accounts_are_equal()
        delivered = {key_id for key_id, _ in self.copies}
        n_bits = sum(
            8 * next(len(c) for (k, _), c in self.copies.items() if k == key_id)
            for key_id in delivered
        )
        assert self.pair.alice.store.account(LINK).delivered == n_bits


@pytest.mark.parametrize("n_examples", [20])
def test_two_stores_never_give_a_key_twice_and_agree_after_any_crash(n_examples) -> None:
    run_state_machine_as_test(
        TwoStores,
        settings=settings(
            max_examples=n_examples,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("cut_after", range(5))
def test_a_key_fetched_before_its_owner_died_is_delivered_for_both(pair, cut_after) -> None:
    """Wherever the agreement is cut, the next one comes to the same end."""
    pair.up()
    pair.block(9_000, 100)
    pair.pump()
    reservation = pair.alice.store.reserve_keys(LINK, 2, 256, MASTER, [SLAVE, SECOND], 0)
    pair.alice.say(reservation.announcement)
    pair.pump()
    ids = [record.key_id for record in reservation.records]
    pair.bob.store.fetch_keys(ids[:1], SLAVE, MASTER)
    pair.alice.kill()
    pair.connect()
    for step in range(cut_after):
        pair.pass_one(pair.ends[step % 2])
    pair.bob.kill()
    pair.up()
    pair.accounts_are_equal()
    account = pair.alice.store.account(LINK)
    assert account.delivered == 256
    pair.bob.store.fetch_keys(ids[:1], SECOND, MASTER)
    with pytest.raises(KeyNotFound):
        pair.bob.store.fetch_keys(ids[1:], SLAVE, MASTER)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("n_bytes", [9_000, 205])
def test_a_block_live_at_one_end_and_pending_at_the_other_goes_live(pair, first, n_bytes) -> None:
    pair.up()
    pair.block(n_bytes, 100)
    pair.pass_one(pair.ends[first])
    pair.ends[first].kill()
    pair.up()
    pair.accounts_are_equal()
    assert pair.alice.store.account(LINK).distilled == 8 * n_bytes


def nearly_dry(pair: Pair, left_bytes: int) -> None:
    """Use the pre-shared key up, all but a few pads."""
    pair.up()
    for sender in pair.ends:
        n_bytes = sender.store.auth_left(LINK).tx - left_bytes
        sender.store.take_tx(LINK, n_bytes).wipe()
        pair.peer(sender).store.take_rx(LINK, n_bytes).wipe()


def test_the_last_old_pads_are_not_followed_by_new_ones_that_the_peer_may_not_have(pair) -> None:
    nearly_dry(pair, 64)
    pair.block(9_000, 100)
    pair.pass_one(pair.bob)  # live at Alice, pending at Bob
    pair.alice.store.take_tx(LINK, 64)
    with pytest.raises(OutOfKey):
        pair.alice.store.take_tx(LINK, 16)


def test_marks_do_not_outrun_a_peer_that_dies_with_its_block_pending(tmp_path) -> None:
    pair = Pair(tmp_path, auth_stride_bytes=64)
    nearly_dry(pair, 100)
    pair.block(9_000, 100)
    pair.pass_one(pair.bob)
    pair.alice.store.take_rx(LINK, 48)
    pair.alice.store.take_rx(LINK, 16)  # a whole stride would reach into the new block
    pair.bob.kill()
    pair.alice.kill()
    pair.connect()
    assert pair.bob.store.account(LINK).stock == 0  # pending still, and no alarm
    pair.close()


@pytest.mark.parametrize("above", [0, 100])
def test_a_last_block_that_is_not_below_the_next_is_the_peers_fault(pair, above) -> None:
    pair.connect()
    state = pair.bob.outbox[0]
    lie = replace(state, last_block=state.next_block + above)
    with pytest.raises(PeerError, match="last"):
        pair.alice.store.receive(LINK, lie, 0)
    assert pair.alice.store.receive(LINK, state, 0)
