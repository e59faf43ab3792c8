"""Which numbers of a lane are open at a node: announced, and neither READY nor void."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from qkdd.base.errors import PeerError
from qkdd.relay.messages import MAX_OPEN, LaneOpen
from qkdd.relay.runs import numbers_of, runs_of
from qkdd.relay.settings import Lane

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a neighbour's :class:`LaneOpen` tells us."""

    new: list[int]
    """Open there, never announced here."""
    missing: list[int]
    """Open here, closed there although it was announced there."""
    restarted: bool
    """The neighbour has lost its memory since the last connection."""
    theirs: set[int]


class OpenNumbers(Generic[T]):
    """Open numbers, rising, each with a node's record of it."""

    def __init__(self, lane: Lane, incarnation: int, next_number: int = 0) -> None:
        self._lane = lane
        self._incarnation = incarnation
        self._records: dict[int, T] = {}
        self._peers: dict[str, int] = {}
        self.next_number = next_number

    def __contains__(self, number: int) -> bool:
        return number in self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._records))

    def __getitem__(self, number: int) -> T:
        return self._records[number]

    def open(self, number: int, record: T) -> None:
        if number < self.next_number:
            raise ValueError(f"number {number} opened again; the next one is {self.next_number}")
        self._records[number] = record
        self.next_number = number + 1

    def follow(self, message: LaneOpen) -> None:
        """Take the upstream neighbour's word that whatever else is below its mark is closed."""
        self.next_number = max(self.next_number, message.next_number)

    def close(self, number: int) -> T | None:
        return self._records.pop(number, None)

    def check_room(self, n_more: int) -> None:
        """Raise PeerError if the peer announces more than any honest lane has open."""
        if len(self._records) + n_more > MAX_OPEN:
            raise PeerError(
                f"lane {self._lane.id}: {n_more} numbers announced, {len(self._records)} are "
                f"open, limit {MAX_OPEN}"
            )

    def message(self) -> LaneOpen:
        """What to say first on a new connection."""
        return LaneOpen(
            lane=self._lane.id,
            generation=self._lane.generation,
            incarnation=self._incarnation,
            next_number=self.next_number,
            runs=tuple((run.first, run.count) for run in runs_of(self._records)),
        )

    def compare(self, side: str, message: LaneOpen) -> Difference:
        """Read the neighbour's message; ``side`` tells the two neighbours of a relay apart."""
        listed = numbers_of(message.runs, MAX_OPEN, f"lane {self._lane.id}")
        theirs = set(listed)
        if listed and listed[-1] >= message.next_number:
            raise PeerError(
                f"lane {self._lane.id}: number {listed[-1]} is open at the peer, whose next "
                f"is {message.next_number}"
            )
        new = [number for number in listed if number >= self.next_number]
        self.check_room(len(new))
        before = self._peers.get(side)
        self._peers[side] = message.incarnation
        missing = [n for n in self._records if n < message.next_number and n not in theirs]
        restarted = before is not None and before != message.incarnation
        return Difference(new, missing, restarted, theirs)
