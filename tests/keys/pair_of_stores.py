"""Pairs of stores on a wire that the test can cut, and stores that die as after kill -9."""

import random
from collections import deque
from pathlib import Path

from qkdd.base.errors import OutOfKey
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.keys.messages import Message
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore

LINK = LinkId("a-b")
PAD_BYTES = 16


class End:
    """One store, its file, its dice, and what it has said and not yet got through."""

    def __init__(self, folder: Path, name: str, role: str, **limits: int) -> None:
        self.path = folder / f"{name}.db"
        self.name = name
        self.role = role
        self.dice = random.Random(name)
        self.settings = StoreSettings(path=str(self.path), master_key="", **limits)
        self.outbox: deque[Message] = deque()
        self.store = self.open()

    def open(self) -> KeyStore:
        self.store = KeyStore.open(
            self.path,
            Secret.from_bytes(self.name.encode().ljust(32, b"m")),
            NodeId(self.name),
            self.dice.randbytes,
            self.settings,
        )
        return self.store

    def kill(self) -> None:
        """Die without a word: the file is left as it is, as after kill -9."""
        self.store._streams.wipe()
        self.store._db.close()
        self.outbox.clear()
        self.open()

    def say(self, *messages: Message) -> None:
        self.outbox.extend(messages)


class Pair:
    """Alice's and Bob's stores of one link; every message costs a pad, as on the real wire."""

    def __init__(self, folder: Path, **limits: int) -> None:
        limits.setdefault("auth_floor_bytes", 0)
        self.alice = End(folder, "alice", "alice", **limits)
        self.bob = End(folder, "bob", "bob", **limits)
        self.ends = (self.alice, self.bob)
        self.pads_differ = 0
        self.psk = random.Random("psk").randbytes(32 * 1024 + 5)
        for end in self.ends:
            end.store.install_psk(LINK, end.role, Secret.from_bytes(self.psk))
        self.key_dice = random.Random("key")

    def peer(self, end: End) -> End:
        return self.bob if end is self.alice else self.alice

    def connect(self) -> None:
        """Marks in the clear, then the states under authentication; not yet agreed."""
        self.cut()
        marks = [end.store.auth_marks(LINK) for end in self.ends]
        self.alice.say(self.alice.store.begin_session(LINK, marks[1]))
        self.bob.say(self.bob.store.begin_session(LINK, marks[0]))

    def cut(self) -> None:
        for end in self.ends:
            end.outbox.clear()
            end.store.end_session(LINK)

    def pass_one(self, sender: End) -> bool:
        """Carry one message, with its tag's pads, and queue the answers."""
        if not sender.outbox:
            return False
        receiver = self.peer(sender)
        message = sender.outbox.popleft()
        try:
            ready = sender.store.take_ready(LINK, "tx", PAD_BYTES)
            sent = ready if ready is not None else sender.store.take_tx(LINK, PAD_BYTES)
            pads = sent, receiver.store.take_rx(LINK, PAD_BYTES)
        except OutOfKey:
            self.cut()
            return False
        self.pads_differ += pads[0] != pads[1]
        receiver.say(*receiver.store.receive(LINK, message, 1_000))
        return True

    def pump(self) -> None:
        while any([self.pass_one(self.alice), self.pass_one(self.bob)]):
            pass
        assert self.pads_differ == 0

    def up(self) -> "Pair":
        self.connect()
        self.pump()
        return self

    def block(
        self, n_bytes: int, auth_bytes: int, *, ends: tuple[End, ...] = (), lane_bits: int = 0
    ) -> int:
        """Distil a block at both ends, or only at ``ends``."""
        key = self.key_dice.randbytes(n_bytes)
        number = self.alice.store.next_block_no(LINK)
        for end in ends or self.ends:
            end.say(
                *end.store.prepare_block(
                    LINK,
                    number,
                    Secret.from_bytes(key),
                    n_bits=8 * n_bytes,
                    auth_bytes=auth_bytes,
                    lane_bits=lane_bits,
                )
            )
        return number

    def accounts_are_equal(self) -> None:
        assert self.alice.store.account(LINK) == self.bob.store.account(LINK)

    def close(self) -> None:
        for end in self.ends:
            end.store.close()
