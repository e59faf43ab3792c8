"""Where new keys are cut: one pass over the stock for all orders that wait, nothing written.

Orders for the same two ends and size are cut side by side, so that one announcement tells the
peer of all of them.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from qkdd.keys.messages import MOST_ANNOUNCED, KeysAnnounced, Place, join_ids


@dataclass(frozen=True, slots=True)
class Order:
    """What a master asked for."""

    number: int
    n_bytes: int
    master: str
    slaves: tuple[str, ...]
    local_slaves: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, tuple[str, ...], int]:
        """What the peer is told of it, besides names and places."""
        return self.master, self.slaves, self.n_bytes


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one key lies."""

    segment: int
    block_no: int
    offset: int


@dataclass(slots=True)
class _Rest:
    segment: int
    block_no: int
    start: int
    end: int


@dataclass(slots=True)
class Cutter:
    """Cuts one half of a link's blocks, ``stock`` of :meth:`qkdd.keys.blocks.Blocks.stock`."""

    stock: Iterator[sqlite3.Row]
    cursors: dict[int, int] = field(default_factory=dict)
    """How far each segment is used after all that was cut."""
    _opened: list[_Rest] = field(default_factory=list)

    def cut(self, order: Order) -> list[Spot]:
        """Return the spots of an order's keys; fewer, and nothing is cut, if the stock is short."""
        spots: list[Spot] = []
        ends: list[tuple[_Rest, int]] = []
        for rest in self._rests():
            count = min(order.number - len(spots), (rest.end - rest.start) // order.n_bytes)
            end = rest.start + count * order.n_bytes
            spots += [
                Spot(rest.segment, rest.block_no, offset)
                for offset in range(rest.start, end, order.n_bytes)
            ]
            ends.append((rest, end))
            if len(spots) == order.number:
                for one, to in ends:
                    if to > one.start:
                        one.start = self.cursors[one.segment] = to
                break
        return spots

    def _rests(self) -> Iterator[_Rest]:
        yield from self._opened
        for row in self.stock:
            start = row["used"]
            self._opened.append(_Rest(row["id"], row["block_no"], start, start + row["rest"]))
            yield self._opened[-1]


def side_by_side(orders: Sequence[Order]) -> list[int]:
    """Return the places of ``orders`` so that those that can be announced together follow one
    another, the first come first."""
    first: dict[tuple[str, tuple[str, ...], int], int] = {}
    for place, order in enumerate(orders):
        first.setdefault(order.told, place)
    return sorted(range(len(orders)), key=lambda place: first[orders[place].told])


def announcements(cut: Iterable[tuple[Order, bytes, Spot]]) -> list[KeysAnnounced]:
    """Tell of keys, in the order in which they were cut, in as few messages as can be."""
    told: list[KeysAnnounced] = []
    part: list[tuple[Order, bytes, Spot]] = []
    for one in cut:
        if part and (one[0].told != part[0][0].told or len(part) == MOST_ANNOUNCED):
            told.append(_announcement(part))
            part = []
        part.append(one)
    return [*told, _announcement(part)] if part else told


def _announcement(keys: Sequence[tuple[Order, bytes, Spot]]) -> KeysAnnounced:
    order, places = keys[0][0], list[Place]()
    begin = keys[0][2]
    count = 0
    for _, _, spot in keys:
        follows = begin.offset + count * order.n_bytes
        if spot.segment != begin.segment or spot.offset != follows:
            places.append(Place(block_no=begin.block_no, offset=begin.offset, count=count))
            begin, count = spot, 0
        count += 1
    places.append(Place(block_no=begin.block_no, offset=begin.offset, count=count))
    return KeysAnnounced(
        key_ids=join_ids([key_id for _, key_id, _ in keys]),
        n_bytes=order.n_bytes,
        places=tuple(places),
        master=order.master,
        slaves=order.slaves,
    )
