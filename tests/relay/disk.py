"""What an end of a lane has synced, and what must hold of it."""

import hashlib
from dataclasses import dataclass, field

from qkdd.base.secret import Secret
from qkdd.relay.actions import Hold, PersistMark, PersistVerdict, Ready, TrimPads, Voided
from qkdd.relay.association import Association
from qkdd.relay.messages import LaneConfirm, LaneVerdict
from qkdd.relay.settings import Lane


def some_bytes(n_bytes: int, *name: object) -> bytes:
    return hashlib.shake_256(repr(name).encode()).digest(n_bytes)


@dataclass
class Disk:
    """What an end of the lane has synced."""

    pairs: list[bytes]
    n_spent: int = 0
    next_number: int = 0
    verdict: LaneVerdict | None = None
    held: tuple[LaneConfirm, bytes] | None = None
    ready: dict[int, bytes] = field(default_factory=dict)
    """By epoch."""
    came: set[int] = field(default_factory=set)
    """Numbers whose units became READY keys, or pads."""
    void: set[int] = field(default_factory=set)

    def association(self, lane: Lane) -> Association:
        return Association(
            lane,
            Secret.from_bytes(some_bytes(32, "hash keys")),
            Secret.from_bytes(b"".join(self.pairs[self.n_spent :])),
            first_pair=self.n_spent,
        )

    def write(self, action: object) -> None:
        match action:
            case PersistMark():
                assert action.next_number > self.next_number
                self.next_number = action.next_number
            case TrimPads():
                del self.pairs[action.end_pair :]
                self.n_spent = action.first_pair
            case Hold():
                self.held = (action.confirm, bytes(action.keys.reveal()))
                action.keys.wipe()
            case PersistVerdict():
                self._judged(action.verdict)
            case Ready():
                assert min(action.epochs) > max(self.ready, default=0), "a second key for an epoch"
                self._came(action.verdict)
                for at, epoch in enumerate(action.epochs):
                    self.ready[epoch] = bytes(action.keys.reveal()[32 * at : 32 * at + 32])
                action.keys.wipe()
                if action.renewal is not None:
                    self.pairs.append(bytes(action.renewal.reveal()))
                    action.renewal.wipe()
                self._judged(action.verdict)
            case Voided():
                assert not set(action.numbers) & self.came, "void after READY"
                self.void |= set(action.numbers)

    def _came(self, verdict: LaneVerdict) -> None:
        numbers = set(verdict.ready_numbers)
        assert not numbers & self.came, "a number became a key twice"
        assert not numbers & self.void, "a key of a void number"
        self.came |= numbers

    def _judged(self, verdict: LaneVerdict) -> None:
        assert verdict.pair == self.n_spent, "a pair of pads out of turn"
        self.n_spent += 1
        self.verdict = verdict
        self.held = None
