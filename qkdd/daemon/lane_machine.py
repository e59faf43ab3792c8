"""The two ends of a lane behind one face, and what of them is kept in the store."""

import time
from collections.abc import Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec
import trio

from qkdd.auth.budget import AuthBudget
from qkdd.base.entropy import Entropy
from qkdd.keys.lane_book import LaneMemory
from qkdd.relay.account import LaneAccount
from qkdd.relay.actions import FirstAction, Hold, LastAction
from qkdd.relay.association import Association
from qkdd.relay.epochs import epoch_at
from qkdd.relay.first_end import FirstEnd
from qkdd.relay.last_end import LastEnd
from qkdd.relay.messages import LaneConfirm, LaneMessage, LaneVerdict
from qkdd.relay.place import Place
from qkdd.relay.settings import Lane, LaneTimes
from qkdd.relay.units import UnitBlock

T = TypeVar("T", LaneConfirm, LaneVerdict)
EndAction: TypeAlias = FirstAction | LastAction
INCARNATION_BYTES = 7


class EndMachine(Protocol):
    """One end of a lane, told the time by the host's clocks."""

    association: Association

    def connected(self) -> Sequence[EndAction]: ...

    def receive(self, message: LaneMessage) -> Sequence[EndAction]: ...

    def born(self, block: UnitBlock) -> Sequence[EndAction]: ...

    def tick(self) -> Sequence[EndAction]: ...

    def wipe(self) -> None: ...


class FirstMachine:
    def __init__(self, machine: FirstEnd, association: Association) -> None:
        self.association = association
        self._machine = machine

    def connected(self) -> Sequence[EndAction]:
        return self._machine.connected_down()

    def receive(self, message: LaneMessage) -> Sequence[EndAction]:
        return self._machine.receive_from_down(message)  # type: ignore[arg-type]  # direction was checked

    def born(self, block: UnitBlock) -> Sequence[EndAction]:
        return self._machine.born(block, trio.current_time())

    def tick(self) -> Sequence[EndAction]:
        return self._machine.tick(trio.current_time())

    def wipe(self) -> None:
        self._machine.wipe()


class LastMachine:
    def __init__(self, lane: Lane, machine: LastEnd, association: Association) -> None:
        self.association = association
        self._lane = lane
        self._machine = machine

    def connected(self) -> Sequence[EndAction]:
        return self._machine.connected_up()

    def receive(self, message: LaneMessage) -> Sequence[EndAction]:
        now_s = trio.current_time()
        return self._machine.receive_from_up(message, now_s, self._epoch())  # type: ignore[arg-type]  # direction was checked

    def born(self, block: UnitBlock) -> Sequence[EndAction]:
        return self._machine.born(block, trio.current_time(), self._epoch())

    def tick(self) -> Sequence[EndAction]:
        return self._machine.tick(trio.current_time(), self._epoch())

    def _epoch(self) -> int:
        return epoch_at(self._lane, time.time())

    def wipe(self) -> None:
        self._machine.wipe()


def new_incarnation(entropy: Entropy) -> int:
    """Another one than any before: a machine that has lost its units."""
    return int.from_bytes(entropy(INCARNATION_BYTES), "little")


def open_end(
    place: Place,
    times: LaneTimes,
    memory: LaneMemory,
    account: LaneAccount,
    *,
    newest_epoch: int,
    incarnation: int,
) -> EndMachine:
    """Resume an end with what its store has kept, whose secrets become the machine's.

    Raises
    ------
    SecurityAlarm
        The association had its last bad tag before.
    """
    lane = place.lane
    budget = AuthBudget(f"lane {lane.id}")
    budget.n_bad_tags = memory.failures
    budget.refuse_if_spent()
    association = Association(
        lane, memory.hash_keys, memory.pairs, first_pair=memory.first_pair, budget=budget
    )
    if place.is_first:
        verdict = memory.verdict
        first = FirstEnd(
            lane,
            times,
            association,
            incarnation=incarnation,
            next_number=memory.next_number,
            newest_epoch=newest_epoch,
            verdict=None if verdict is None else _decode(verdict, LaneVerdict),
            account=account,
        )
        return FirstMachine(first, association)
    held = None
    if memory.held is not None:
        confirm, keys = memory.held
        held = Hold(_decode(confirm, LaneConfirm), keys)
    last = LastEnd(
        lane,
        times,
        association,
        incarnation=incarnation,
        newest_epoch=newest_epoch,
        held=held,
        account=account,
    )
    return LastMachine(lane, last, association)


def encode(message: LaneConfirm | LaneVerdict) -> bytes:
    """Write a message as the store keeps it, and as it will be said again."""
    return msgspec.msgpack.encode(message)


def _decode(data: bytes, kind: type[T]) -> T:
    return msgspec.msgpack.decode(data, type=kind)
