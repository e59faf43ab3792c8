"""The owner's side of a key: reserved, announced, delivered or burned, settled."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from qkdd.base.entropy import Entropy
from qkdd.base.errors import OutOfKey, PeerError
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.secret import Secret
from qkdd.keys.blocks import Blocks
from qkdd.keys.copies import Copies, NewKey
from qkdd.keys.cutting import Cutter, Order, Spot, announcements, side_by_side
from qkdd.keys.database import Database
from qkdd.keys.errors import KeyNotFound
from qkdd.keys.layout import half_of
from qkdd.keys.links import Links
from qkdd.keys.messages import (
    ID_BYTES,
    KeysAnnounced,
    KeysConfirmed,
    KeysHeld,
    KeysSettled,
    join_ids,
    split_ids,
)
from qkdd.keys.schema import KeyState
from qkdd.keys.segments import Segments


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A reserved key: its name and where it lies, never its bytes."""

    key_id: UUID
    link: LinkId
    block_no: BlockNo
    offset_bytes: int
    size_bits: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """The keys of one order; the announcement must leave in the order of reservation."""

    records: tuple[KeyRecord, ...]
    announcement: KeysAnnounced


@dataclass(frozen=True, slots=True)
class Reservations:
    """What :meth:`Owner.reserve` did: for each order its keys, or why it has none."""

    records: list[tuple[KeyRecord, ...] | OutOfKey]
    announcements: list[KeysAnnounced]
    """To leave in this order."""


class Owner:
    """RESERVED --KeysHeld--> AWARE --deliver--> DELIVERED --KeysSettled--> gone; or BURNED."""

    def __init__(
        self, database: Database, links: Links, blocks: Blocks, segments: Segments, copies: Copies
    ) -> None:
        self._db = database
        self._links = links
        self._blocks = blocks
        self._segments = segments
        self._copies = copies
        self._most_open: dict[LinkId, int] = {}

    def open_keys(self, link: LinkId, number: int, limit: int, unwritten: int = 0) -> int:
        """Return a number that open keys (reserved, or not settled) do not exceed, and count on
        ``number`` more; exact if it is above ``limit``. ``unwritten`` of those counted on before
        have no rows yet.

        Only reservations open keys, so that rows need not be counted while the sum of all of them
        since the last count is below the limit.
        """
        most = self._most_open.get(link, limit)
        if most + number > limit:
            row = self._db.one(
                "SELECT count(*) AS n FROM keys WHERE link = ? AND state IN (?, ?, ?, ?)",
                *(link, KeyState.RESERVED, KeyState.AWARE, KeyState.DELIVERED, KeyState.BURNED),
            )
            assert row is not None
            most = int(row["n"]) + unwritten
        self._most_open[link] = most + number
        return most

    def available(self, link: LinkId, n_bytes: int) -> int:
        """Return how many keys of ``n_bytes`` our half could give."""
        region = half_of(self._links.row(link)["role"])
        return sum(row["rest"] // n_bytes for row in self._blocks.stock(link, region))

    def reserve(
        self, link: LinkId, orders: Sequence[Order], entropy: Entropy, now_s: int
    ) -> Reservations:
        """Cut keys for each order that the stock suffices for."""
        region = half_of(self._links.row(link)["role"])
        cutter = Cutter(self._blocks.stock(link, region))
        outcomes: dict[int, tuple[KeyRecord, ...] | OutOfKey] = {}
        cut: list[tuple[Order, bytes, Spot]] = []
        for place in side_by_side(orders):
            order, spots = orders[place], cutter.cut(orders[place])
            if len(spots) == order.number:
                records = _records(link, order, spots, entropy)
                cut += [
                    (order, one.key_id.bytes, at) for one, at in zip(records, spots, strict=True)
                ]
                outcomes[place] = records
            else:
                outcomes[place] = OutOfKey(
                    f"link {link}: {len(spots)} keys of {8 * order.n_bytes} bits in our half, "
                    f"{order.number} wanted"
                )
        del cutter.stock
        self._copies.enter(
            link,
            [
                NewKey(
                    key_id,
                    at.segment,
                    region,
                    at.offset,
                    order.n_bytes,
                    order.master,
                    order.local_slaves,
                )
                for order, key_id, at in cut
            ],
            KeyState.RESERVED,
            now_s,
        )
        for segment, end in cutter.cursors.items():
            self._segments.advance(segment, region, end, burn_from=None)
        return Reservations([outcomes[place] for place in range(len(orders))], announcements(cut))

    def _ours(self, link: LinkId, key_id: bytes, row: sqlite3.Row | None) -> sqlite3.Row:
        """Return the row of a key that we own; PeerError if there is none."""
        if row is None or row["link"] != link or row["state"] > KeyState.BURNED:
            raise PeerError(f"link {link}: key {key_id.hex()} is not one that we reserved")
        return row

    def held(self, link: LinkId, message: KeysHeld) -> None:
        """The peer has them on disk; those it refused are burned."""
        self._links.peer_speaks(link, "KeysHeld")
        held = split_ids(message.held)
        rows = self._copies.rows(held)
        self._db.each(
            "UPDATE keys SET state = ? WHERE id = ? AND state = ?",
            [
                (
                    KeyState.AWARE,
                    self._ours(link, key_id, rows.get(key_id))["id"],
                    KeyState.RESERVED,
                )
                for key_id in held
            ],
        )
        for key_id in split_ids(message.refused):
            row = self._ours(link, key_id, self._copies.row(key_id))
            if row["state"] not in (KeyState.RESERVED, KeyState.BURNED):
                raise PeerError(f"link {link}: key {key_id.hex()} is refused after it was held")
            self.burn(row)
            self._copies.forget(row)

    def burn(self, row: sqlite3.Row) -> None:
        """Burn a key of ours that was not delivered; the row stays until the peer settled it."""
        if row["state"] in (KeyState.RESERVED, KeyState.AWARE):
            self._db.run("UPDATE keys SET state = ? WHERE id = ?", KeyState.BURNED, row["id"])
            self._links.add(row["link"], "burned", 8 * row["n_bytes"])
            self._copies.drop_bytes(row)

    def burn_unresolved(self, link: LinkId) -> None:
        """Burn all that was reserved and not delivered: what a crash or a lost session leaves."""
        for row in self._db.all(
            "SELECT * FROM keys WHERE link = ? AND state IN (?, ?)",
            *(link, KeyState.RESERVED, KeyState.AWARE),
        ):
            self.burn(row)

    def deliver(
        self, link: LinkId, requests: Sequence[Sequence[UUID]]
    ) -> list[list[Secret] | KeyNotFound]:
        """Return the master's copies of each request, all or none."""
        rows = self._copies.rows([key_id.bytes for ids in requests for key_id in ids])
        found: list[list[sqlite3.Row] | KeyNotFound] = []
        for ids in requests:
            mine = [rows.pop(key_id.bytes, None) for key_id in ids]
            good = [one for one in mine if one is not None and _deliverable(link, one)]
            n_lost = len(ids) - len(good)
            lost = KeyNotFound(f"{n_lost} of {len(ids)} are not deliverable")
            found.append(lost if n_lost else good)
        given = [row for some in found if not isinstance(some, KeyNotFound) for row in some]
        secrets = iter(self._copies.read(given))
        self._copies.give_to_masters(given)
        if given:
            self._copies.count(given)
        return [
            some if isinstance(some, KeyNotFound) else [next(secrets) for _ in some]
            for some in found
        ]

    def confirm(self, link: LinkId, limit: int) -> KeysConfirmed | None:
        """Return what the peer has not been told yet."""
        rows = self._db.all(
            "SELECT id, key_id, state FROM keys WHERE link = ? AND state IN (?, ?) AND told = 0"
            " LIMIT ?",
            *(link, KeyState.DELIVERED, KeyState.BURNED, limit),
        )
        if not rows:
            return None
        self._db.each("UPDATE keys SET told = 1 WHERE id = ?", [(row["id"],) for row in rows])
        fates: dict[int, list[bytes]] = {KeyState.DELIVERED: [], KeyState.BURNED: []}
        for row in rows:
            fates[row["state"]].append(row["key_id"])
        return KeysConfirmed(
            delivered=join_ids(fates[KeyState.DELIVERED]), burned=join_ids(fates[KeyState.BURNED])
        )

    def settled(self, link: LinkId, message: KeysSettled) -> None:
        self._links.peer_speaks(link, "KeysSettled")
        fetched = set(split_ids(message.fetched))
        settled = split_ids(message.settled)
        found = self._copies.rows(settled)
        rows = {key_id: self._ours(link, key_id, found.get(key_id)) for key_id in settled}
        if not fetched <= rows.keys():
            raise PeerError(f"link {link}: fetched keys are not among those settled")
        for key_id, row in rows.items():
            if not row["told"] or (key_id in fetched and row["state"] != KeyState.BURNED):
                raise PeerError(f"link {link}: key {key_id.hex()} cannot be settled like this")
        for key_id in fetched:
            self.was_fetched(rows[key_id])
        self.settle([row["id"] for row in rows.values()])

    def was_fetched(self, row: sqlite3.Row) -> None:
        """A slave at the peer had a key that we burned: it counts as delivered."""
        if row["state"] == KeyState.BURNED:
            self._db.run("UPDATE keys SET state = ? WHERE id = ?", KeyState.DELIVERED, row["id"])
            self._links.add(row["link"], "burned", -8 * row["n_bytes"])
            self._copies.count([row])

    def settle(self, ids: Sequence[int]) -> None:
        """Note that the peer knows the fate of keys of ours, by the numbers of their rows."""
        self._db.each("UPDATE keys SET settled = 1 WHERE id = ?", [(key,) for key in ids])
        self._copies.forget_if_done(ids)


def _records(
    link: LinkId, order: Order, spots: Sequence[Spot], entropy: Entropy
) -> tuple[KeyRecord, ...]:
    names = entropy(ID_BYTES * len(spots))
    return tuple(
        KeyRecord(
            UUID(bytes=names[ID_BYTES * n : ID_BYTES * (n + 1)], version=4),
            link,
            BlockNo(spot.block_no),
            spot.offset,
            8 * order.n_bytes,
        )
        for n, spot in enumerate(spots)
    )


def _deliverable(link: LinkId, row: sqlite3.Row) -> bool:
    return bool(row["link"] == link and row["state"] == KeyState.AWARE)
