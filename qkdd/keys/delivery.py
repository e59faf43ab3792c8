"""The owner's side of a key: reserved, announced, delivered or burned, settled."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from qkdd.base.entropy import Entropy
from qkdd.base.errors import OutOfKey, PeerError
from qkdd.base.ids import BlockNo, LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.blocks import Blocks
from qkdd.keys.copies import Copies
from qkdd.keys.database import Database
from qkdd.keys.errors import KeyNotFound
from qkdd.keys.layout import half_of
from qkdd.keys.links import Links
from qkdd.keys.messages import (
    KeysAnnounced,
    KeysConfirmed,
    KeysHeld,
    KeysSettled,
    Place,
    join_ids,
    split_ids,
)
from qkdd.keys.schema import KeyState
from qkdd.keys.segments import USED, Segments


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
    """What :meth:`Owner.reserve` did; the announcement must leave in the order of reservation."""

    records: tuple[KeyRecord, ...]
    announcement: KeysAnnounced


@dataclass(frozen=True, slots=True)
class Order:
    """What a master asked for."""

    number: int
    n_bytes: int
    master: SaeId
    slaves: tuple[SaeId, ...]
    local_slaves: tuple[SaeId, ...]


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

    def open_keys(self, link: LinkId, number: int, limit: int) -> int:
        """Return a number that open keys (reserved, or not settled) do not exceed, and count on
        ``number`` more; exact if it is above ``limit``.

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
            most = int(row["n"])
        self._most_open[link] = most + number
        return most

    def available(self, link: LinkId, n_bytes: int) -> int:
        """Return how many keys of ``n_bytes`` our half could give."""
        used = USED[half_of(self._links.row(link)["role"])]
        rows = self._blocks.live(link)
        return int(sum((row["half_bytes"] - row[used]) // n_bytes for row in rows))

    def reserve(self, link: LinkId, order: Order, entropy: Entropy, now_s: int) -> Reservation:
        region = half_of(self._links.row(link)["role"])
        places: list[Place] = []
        records: list[KeyRecord] = []
        wanted = order.number
        for block in self._blocks.live(link):
            start = block[USED[region]]
            count = min(wanted, (block["half_bytes"] - start) // order.n_bytes)
            if count == 0:
                continue
            for offset in range(start, start + count * order.n_bytes, order.n_bytes):
                key_id = UUID(bytes=entropy(16), version=4)
                records.append(
                    KeyRecord(key_id, link, block["block_no"], offset, 8 * order.n_bytes)
                )
                self._insert(records[-1], block["id"], region, order, now_s)
            end = start + count * order.n_bytes
            self._segments.advance(block["id"], region, end, burn_from=None)
            places.append(Place(block_no=block["block_no"], offset=start, count=count))
            wanted -= count
            if wanted == 0:
                break
        if wanted:
            raise OutOfKey(
                f"link {link}: {order.number - wanted} keys of {8 * order.n_bytes} bits in our "
                f"half, {order.number} wanted"
            )
        announcement = KeysAnnounced(
            key_ids=join_ids([record.key_id.bytes for record in records]),
            n_bytes=order.n_bytes,
            places=tuple(places),
            master=order.master,
            slaves=order.slaves,
        )
        return Reservation(tuple(records), announcement)

    def _insert(
        self, record: KeyRecord, segment: int, region: int, order: Order, now_s: int
    ) -> None:
        key = self._db.run(
            "INSERT INTO keys (key_id, link, segment, region, offset, n_bytes, master, state,"
            " told, settled, fetched, gone, created_s) VALUES (?,?,?,?,?,?,?,?,0,0,0,0,?)",
            *(record.key_id.bytes, record.link, segment, region, record.offset_bytes),
            *(order.n_bytes, order.master, KeyState.RESERVED, now_s),
        ).lastrowid
        for sae in (order.master, *order.local_slaves):
            self._db.run("INSERT INTO recipients VALUES (?, ?, 0)", key, sae)

    def mine(self, link: LinkId, key_id: bytes) -> sqlite3.Row:
        """Return the row of a key that we own; PeerError if there is none."""
        row = self._copies.row(key_id)
        if row is None or row["link"] != link or row["state"] > KeyState.BURNED:
            raise PeerError(f"link {link}: key {key_id.hex()} is not one that we reserved")
        return row

    def held(self, link: LinkId, message: KeysHeld) -> None:
        """The peer has them on disk; those it refused are burned."""
        self._links.peer_speaks(link, "KeysHeld")
        for key_id in split_ids(message.held):
            row = self.mine(link, key_id)
            self._db.run(
                "UPDATE keys SET state = ? WHERE id = ? AND state = ?",
                *(KeyState.AWARE, row["id"], KeyState.RESERVED),
            )
        for key_id in split_ids(message.refused):
            row = self.mine(link, key_id)
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

    def deliver(self, link: LinkId, key_ids: Sequence[UUID]) -> list[Secret]:
        """Return the master's copies, all or none."""
        rows = [self._copies.row(key_id.bytes) for key_id in key_ids]
        found = [row for row in rows if row is not None and row["state"] == KeyState.AWARE]
        if len(found) != len(key_ids) or any(row["link"] != link for row in found):
            raise KeyNotFound(f"{len(key_ids) - len(found)} of {len(key_ids)} are not deliverable")
        secrets = [self._copies.read(row) for row in found]
        for row in found:
            self._db.run(
                "UPDATE keys SET state = ? WHERE id = ? AND state = ?",
                *(KeyState.DELIVERED, row["id"], KeyState.AWARE),
            )
            self._copies.served(row, row["master"])
        self._copies.count(found)
        return secrets

    def confirm(self, link: LinkId, limit: int) -> KeysConfirmed | None:
        """Return what the peer has not been told yet."""
        rows = self._db.all(
            "SELECT id, key_id, state FROM keys WHERE link = ? AND state IN (?, ?) AND told = 0"
            " LIMIT ?",
            *(link, KeyState.DELIVERED, KeyState.BURNED, limit),
        )
        if not rows:
            return None
        for row in rows:
            self._db.run("UPDATE keys SET told = 1 WHERE id = ?", row["id"])
        fates: dict[int, list[bytes]] = {KeyState.DELIVERED: [], KeyState.BURNED: []}
        for row in rows:
            fates[row["state"]].append(row["key_id"])
        return KeysConfirmed(
            delivered=join_ids(fates[KeyState.DELIVERED]), burned=join_ids(fates[KeyState.BURNED])
        )

    def settled(self, link: LinkId, message: KeysSettled) -> None:
        self._links.peer_speaks(link, "KeysSettled")
        fetched = set(split_ids(message.fetched))
        rows = {key_id: self.mine(link, key_id) for key_id in split_ids(message.settled)}
        if not fetched <= rows.keys():
            raise PeerError(f"link {link}: fetched keys are not among those settled")
        for key_id, row in rows.items():
            if not row["told"] or (key_id in fetched and row["state"] != KeyState.BURNED):
                raise PeerError(f"link {link}: key {key_id.hex()} cannot be settled like this")
        for key_id, row in rows.items():
            if key_id in fetched:
                self.was_fetched(row)
            self.settle(row)

    def was_fetched(self, row: sqlite3.Row) -> None:
        """A slave at the peer had a key that we burned: it counts as delivered."""
        if row["state"] == KeyState.BURNED:
            self._db.run("UPDATE keys SET state = ? WHERE id = ?", KeyState.DELIVERED, row["id"])
            self._links.add(row["link"], "burned", -8 * row["n_bytes"])
            self._copies.count([row])

    def settle(self, row: sqlite3.Row) -> None:
        self._db.run("UPDATE keys SET settled = 1 WHERE id = ?", row["id"])
        self._copies.forget_if_done(row["id"])
