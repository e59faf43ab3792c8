"""The disk of an end of a lane, on a real key store that dies with its end."""

import random
import shutil
from pathlib import Path

import msgspec

from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.keys.lane_book import LaneMemory
from qkdd.keys.lane_seal import Kind, Shelf
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore
from qkdd.relay.actions import Hold, PersistMark, PersistVerdict, Ready, TrimPads, Voided
from qkdd.relay.association import Association
from qkdd.relay.messages import LaneConfirm, LaneVerdict
from qkdd.relay.settings import Lane
from tests.relay.chain import PSK_PAIRS
from tests.relay.disk import Disk, some_bytes

encode = msgspec.msgpack.encode


class StoreDisk(Disk):
    """Carries out actions as a daemon would, one commit each; all that is read is the store's."""

    def __init__(self, path: Path, lane: Lane) -> None:
        self.path = path
        self.lane = lane
        self.dice = random.Random(path.name)
        self.void: set[int] = set()
        self.came: set[int] = set()
        psk = some_bytes(32, "hash keys")
        psk += b"".join(some_bytes(32, "pair", at) for at in range(PSK_PAIRS))
        self.store = self.open()
        self.store.install_lane_psk(lane.id, Secret.from_bytes(psk + some_bytes(32, "digest key")))

    def reopen(self) -> None:
        """As after kill -9."""
        self.store._streams.wipe()
        self.store._db.close()
        self.store = self.open()

    def open(self) -> KeyStore:
        return KeyStore.open(
            self.path,
            Secret.from_bytes(bytes(32)),
            NodeId(self.path.stem),
            self.dice.randbytes,
            StoreSettings(path=self.path, master_key=Path()),
        )

    def close(self) -> None:
        self.store.close()

    def image(self) -> Path:
        """Copy the store's file."""
        image = self.path.with_suffix(".image")
        self.store.close()
        shutil.copy(self.path, image)
        self.store = self.open()
        return image

    def restore(self, image: Path) -> None:
        self.store.close()
        shutil.copy(image, self.path)
        self.store = self.open()

    @property
    def memory(self) -> LaneMemory:
        return self.store.lane_memory(self.lane.id, self.lane.generation)

    def association(self, lane: Lane) -> Association:
        self.reopen()
        memory = self.memory
        return Association(lane, memory.hash_keys, memory.pairs, first_pair=memory.first_pair)

    def write(self, action: object) -> None:
        place = (self.lane.id, self.lane.generation)
        match action:
            case PersistMark():
                self.store.mark_lane(*place, action.next_number)
            case TrimPads():
                self.store.trim_lane_pads(self.lane.id, action.first_pair, action.end_pair)
            case Hold():
                confirm = action.confirm
                epochs = list(confirm.epochs)
                self.store.hold_lane(*place, encode(confirm), epochs, action.keys, confirm.pair)
                action.keys.wipe()
            case PersistVerdict():
                self.store.judge_lane(*place, encode(action.verdict), action.verdict.pair)
            case Ready():
                verdict = action.verdict
                self._came(verdict)
                self.store.ready_lane(
                    *(*place, action.epochs, action.keys, encode(verdict), verdict.pair),
                    action.renewal,
                )
                action.keys.wipe()
            case Voided():
                assert not set(action.numbers) & self.came, "void after READY"
                self.void |= set(action.numbers)

    @property
    def next_number(self) -> int:
        return self.memory.next_number

    @property
    def verdict(self) -> LaneVerdict | None:
        verdict = self.memory.verdict
        return None if verdict is None else msgspec.msgpack.decode(verdict, type=LaneVerdict)

    @property
    def held(self) -> tuple[LaneConfirm, bytes] | None:
        held = self.memory.held
        if held is None:
            return None
        confirm = msgspec.msgpack.decode(held[0], type=LaneConfirm)
        assert self.store.lane_numbers(self.lane.id, self.lane.generation).held == list(
            confirm.epochs
        )
        return confirm, bytes(held[1].reveal())

    @property
    def ready(self) -> dict[int, bytes]:
        shelf = Shelf(self.lane.id, Kind.READY, self.lane.generation)
        numbers, keys = self.store._lane_rows.read(shelf)
        plain = bytes(keys.reveal())
        assert self.store.lane_stock(self.lane.id).ready == len(numbers)
        return {number: plain[32 * at : 32 * at + 32] for at, number in enumerate(numbers)}

    @property
    def pairs(self) -> list[bytes]:
        """Those that are not spent."""
        plain = bytes(self.memory.pairs.reveal())
        return [plain[at : at + 32] for at in range(0, len(plain), 32)]

    @property
    def n_spent(self) -> int:
        return self.memory.first_pair
