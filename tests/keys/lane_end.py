"""One end of a lane on its store, with keys whose bytes tell their number."""

import hashlib
import random
from pathlib import Path

from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore

LANE = "lane"
NEAR, ALSO, FAR = SaeId("near"), SaeId("also"), SaeId("far")
N_PAIRS = 40
PSK = random.Random("lane").randbytes(32 + 32 * N_PAIRS + 32)


def key_of(number: int) -> bytes:
    return hashlib.sha256(b"key %d" % number).digest()


def pad_of(pair: int) -> bytes:
    """What the couriered key gave, then renewals."""
    if pair < N_PAIRS:
        return PSK[32 + 32 * pair :][:32]
    return hashlib.sha256(b"pad %d" % pair).digest()


def keys_of(numbers) -> Secret:
    return Secret.from_bytes(b"".join(key_of(number) for number in numbers))


class LaneEnd:
    """A store that can be killed; it spends pairs in order, as the machines do."""

    def __init__(self, folder: Path, generation: int = 0) -> None:
        self.path = folder / "end.db"
        self.dice = random.Random("end")
        self.generation = generation
        self.store = self.open()
        self.store.install_lane_psk(LANE, Secret.from_bytes(PSK))
        self.recall()

    def open(self) -> KeyStore:
        self.store = KeyStore.open(
            self.path,
            Secret.from_bytes(b"m" * 32),
            NodeId("end"),
            self.dice.randbytes,
            StoreSettings(path=self.path, master_key=Path()),
        )
        return self.store

    def kill(self) -> None:
        """Die without a word, and come back."""
        self.store._streams.wipe()
        self.store._db.close()
        self.open()
        self.recall()

    def recall(self):
        memory = self.store.lane_memory(LANE, self.generation)
        self.pair = memory.first_pair
        return memory

    def hold(self, numbers) -> None:
        self.store.hold_lane(
            LANE, self.generation, b"confirm %d" % self.pair, numbers, keys_of(numbers), self.pair
        )

    def ready(self, numbers, *, renew: bool = False) -> None:
        """The verdict of the next pair; ``renew`` appends the pair that comes last."""
        last = self.store.lane_memory(LANE, self.generation)
        renewal = None
        if renew:
            renewal = Secret.from_bytes(pad_of(last.first_pair + len(last.pairs) // 32))
        self.store.ready_lane(
            *(LANE, self.generation, numbers, keys_of(numbers), b"verdict %d" % self.pair),
            *(self.pair, renewal),
        )
        self.pair += 1

    def judge(self) -> None:
        self.store.judge_lane(LANE, self.generation, b"verdict %d" % self.pair, self.pair)
        self.pair += 1

    def take(self, number: int, sae: SaeId = NEAR, entitled=(NEAR,)) -> bytes:
        with self.store.take_lane_key(LANE, self.generation, number, sae, entitled) as key:
            return bytes(key.reveal())

    def on_disk(self) -> bytes:
        """All bytes of the store's files."""
        names = (self.path, self.path.with_name("end.db-wal"))
        return b"".join(name.read_bytes() for name in names if name.exists())
