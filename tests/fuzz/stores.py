"""The key store, which hears the peer about blocks and keys, and reads what a disk has kept."""

import random
import tempfile
from pathlib import Path

import msgspec

from qkdd.base.errors import LinkLost, OutOfKey, PeerError, SecurityAlarm, StoreError
from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys import messages
from qkdd.keys.errors import DamagedBlock, KeyNotEntitled, KeyNotFound
from qkdd.keys.messages import BlockPrepared, StoreAgreed, StoreState
from qkdd.keys.state_parts import StateGatherer, cut_state
from qkdd.keys.store import KeyStore
from tests.fuzz.machines import MALFORMED, word_target
from tests.fuzz.samples import sample_of
from tests.fuzz.scratch import scratch
from tests.fuzz.target import StateChanged, Target
from tests.keys.pair_of_stores import LINK, End, Pair

TABLES = ("links", "segments", "chunks", "keys", "recipients")


class Stocked:
    """A pair of stores with a live block, a pending one and two keys on the way."""

    def __init__(self, *, agreeing: bool) -> None:
        self._folder = scratch(self)
        self._agreeing = agreeing
        self._pair: Pair | None = None
        self._before: object = None
        self.words: list[msgspec.Struct] = []
        """What Bob would hear next, and what he has heard."""

    def bob(self) -> End:
        if self._pair is None:
            self._pair = self._make()
            self._before = self._all()
        return self._pair.bob

    def _make(self) -> Pair:
        for old in self._folder.iterdir():
            old.unlink()
        pair = Pair(self._folder).up()
        pair.block(4_000, 300, lane_bits=2_560)
        pair.pump()
        pair.block(4_000, 300, ends=(pair.bob,))
        reserved = pair.alice.store.reserve_keys(LINK, 2, 256, SaeId("m"), [SaeId("s")], 1)
        answer = pair.bob.store.receive(LINK, reserved.announcement, 1)
        self.words = [reserved.announcement, *answer, *pair.bob.outbox]
        if self._agreeing:
            pair.connect()
            self.words += pair.alice.outbox
        return pair

    def _all(self) -> object:
        assert self._pair is not None
        db, session = self._pair.bob.store._db, self._pair.bob.store._links.session(LINK)
        rows = [[tuple(row) for row in db.all(f"SELECT * FROM {name}")] for name in TABLES]
        return rows, session.phase

    def refused(self) -> None:
        if self._all() != self._before:
            self.changed()
            raise StateChanged("a refused word has changed the store")

    def changed(self) -> None:
        if self._pair is not None:
            self._pair.close()
        self._pair = None


def store_words(*, agreeing: bool) -> Target:
    stocked = Stocked(agreeing=agreeing)
    stocked.bob()
    numbers = [one for one in stocked.words if not isinstance(one, StoreAgreed)]
    others = [sample_of(kind) for kind in messages.Message.__args__]
    decoder = msgspec.msgpack.Decoder(messages.Message)

    def feed(data: bytes) -> bool:
        try:
            word = decoder.decode(data)
        except MALFORMED:
            return False
        bob = stocked.bob()
        try:
            bob.store.receive(LINK, word, 1)
        except PeerError:
            if isinstance(word, BlockPrepared):  # a block of unequal lengths is burned
                stocked.changed()
            else:
                stocked.refused()
            return False
        except SecurityAlarm:
            bob.store.account(LINK)
            stocked.changed()
            return False
        except BaseException:
            stocked.changed()
            raise
        bob.store.account(LINK)  # raises if it does not add up
        stocked.changed()
        return True

    seeds = tuple(msgspec.msgpack.encode(one) for one in numbers + others)
    name = "store-agreeing" if agreeing else "store-words"
    return Target(name, "peer", seeds, feed, "msgpack", slow=True)


def state_parts() -> Target:
    stocked = Stocked(agreeing=True)
    stocked.bob()
    (state,) = (one for one in stocked.words if isinstance(one, StoreState))
    ids = random.Random(1).randbytes(16 * 30)
    parts = list(cut_state(msgspec.structs.replace(state, delivered=ids), 10))

    def after_one() -> StateGatherer:
        gatherer = StateGatherer()
        gatherer.receive(parts[0])
        return gatherer

    return word_target(
        "store-state-parts", StoreState, parts, after_one, lambda one, word: one.receive(word)
    )


def store_rot() -> Target:
    """A file of which some bytes are not what was written: refused, or used and accounted for."""
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder)).up()
        pair.block(4_000, 300)
        pair.pump()
        reserved = pair.alice.store.reserve_keys(LINK, 2, 256, SaeId("m"), [SaeId("s")], 1)
        ids = [record.key_id for record in reserved.records]
        pair.alice.say(reserved.announcement)
        pair.pump()
        pair.close()
        image = pair.bob.path.read_bytes()

    def feed(data: bytes) -> bool:
        for old in folder.iterdir():
            old.unlink()
        path = folder / "bob.db"
        path.write_bytes(data)
        try:
            _use(path, ids)
        except REFUSALS:
            return False
        return True

    folder = scratch(feed)
    return Target("store-rot", "file", (image,), feed, max_bytes=1 << 20, slow=True)


REFUSALS = (
    *(StoreError, DamagedBlock, KeyNotFound, KeyNotEntitled),
    *(OutOfKey, LinkLost, SecurityAlarm, PeerError),
)


def _use(path: Path, ids: list) -> None:
    key = Secret.from_bytes(b"bob".ljust(32, b"m"))
    store = KeyStore.open(path, key, NodeId("bob"), random.Random(1).randbytes)
    try:
        for link in store.links():
            store.account(link)
            store.auth_marks(link)
            store.take_rx(link, 16)
        store.fetch_keys(ids, SaeId("s"), SaeId("m"))
        store.next_block_no(LINK)
    finally:
        store.close()


def targets() -> list[Target]:
    return [store_words(agreeing=False), store_words(agreeing=True), state_parts(), store_rot()]
