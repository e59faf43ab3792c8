"""Copies of keys for SAEs, which owner and peer hand out alike: at most once to each."""

import sqlite3
from collections.abc import Sequence
from uuid import UUID

from qkdd.base.errors import LinkLost
from qkdd.base.ids import LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.layout import Region
from qkdd.keys.links import Links, Phase
from qkdd.keys.schema import RELAY, KeyState
from qkdd.keys.segments import Segments


class Copies:
    """Rows of keys and who may still have a copy; the bytes go when nobody may."""

    def __init__(self, database: Database, segments: Segments, links: Links) -> None:
        self._db = database
        self._segments = segments
        self._links = links

    def row(self, key_id: bytes) -> sqlite3.Row | None:
        return self._db.one("SELECT * FROM keys WHERE key_id = ?", key_id)

    def count(self, rows: Sequence[sqlite3.Row]) -> None:
        """Count keys of a link as gone: to applications, or between relays."""
        for column, relays in (("delivered", False), ("relayed", True)):
            n_bytes = sum(row["n_bytes"] for row in rows if (row["master"] == RELAY) == relays)
            if n_bytes:
                self._links.add(rows[0]["link"], column, 8 * n_bytes)

    def read(self, row: sqlite3.Row) -> Secret:
        key = Secret(row["n_bytes"])
        region = Region(row["region"])
        self._segments.read(row["segment"], region, row["offset"], key.reveal())
        return key

    def drop_bytes(self, row: sqlite3.Row) -> None:
        """Let go of the bytes of a key, once."""
        if self._db.run("UPDATE keys SET gone = 1 WHERE id = ? AND gone = 0", row["id"]).rowcount:
            region = Region(row["region"])
            self._segments.dispose(row["segment"], region, row["offset"], row["n_bytes"])

    def served(self, row: sqlite3.Row, sae: str) -> None:
        """Note that ``sae`` has its copy."""
        self._db.run("UPDATE recipients SET done = 1 WHERE key = ? AND sae = ?", row["id"], sae)
        if not self._db.one("SELECT 1 FROM recipients WHERE key = ? AND done = 0", row["id"]):
            self.drop_bytes(row)

    def forget(self, row: sqlite3.Row) -> None:
        if not row["gone"]:
            self.drop_bytes(row)
        self._db.run("DELETE FROM recipients WHERE key = ?", row["id"])
        self._db.run("DELETE FROM keys WHERE id = ?", row["id"])

    def forget_if_done(self, key: int) -> None:
        """Delete a row that both ends know the fate of and that nobody waits for."""
        row = self._db.one("SELECT * FROM keys WHERE id = ?", key)
        over = (KeyState.DELIVERED, KeyState.BURNED, KeyState.CONFIRMED)
        if row is not None and row["gone"] and row["settled"] and row["state"] in over:
            self.forget(row)

    def fetch(self, key_ids: Sequence[UUID], sae: SaeId, master: SaeId) -> list[Secret]:
        """Hand each key to a slave, all or none, each at most once."""
        if len(set(key_ids)) != len(key_ids):
            raise ValueError("a key ID is asked for twice")
        rows = [self._entitled(key_id, sae, master) for key_id in key_ids]
        missing = [key_id for key_id, row in zip(key_ids, rows, strict=True) if row is None]
        if missing:
            raise KeyNotFound(f"{len(missing)} of {len(rows)} keys, the first {missing[0]}")
        found = [row for row in rows if row is not None]
        secrets = [self.read(row) for row in found]
        for row in found:
            self._db.run("UPDATE keys SET fetched = 1 WHERE id = ?", row["id"])
            self.served(row, sae)
            self.forget_if_done(row["id"])
        return secrets

    def _entitled(self, key_id: UUID, sae: SaeId, master: SaeId) -> sqlite3.Row | None:
        """Return the key's row, None if there is nothing to fetch."""
        row = self.row(key_id.bytes)
        if row is None:
            return None
        if row["master"] != master or sae == master:
            raise KeyNotEntitled(f"key {key_id} was not made for {sae} by {master}")
        place = self._db.one(
            "SELECT done FROM recipients WHERE key = ? AND sae = ?", row["id"], sae
        )
        if place is None:
            raise KeyNotEntitled(f"key {key_id} was not made for {sae}")
        if row["state"] == KeyState.HELD and self._links.session(row["link"]).phase in (
            Phase.AGREEING,
            Phase.APPLIED,
        ):
            raise LinkLost(f"link {row['link']}: the fate of key {key_id} is being agreed")
        fetchable = (KeyState.DELIVERED, KeyState.HELD, KeyState.CONFIRMED, KeyState.DISPUTED)
        if row["state"] not in fetchable or row["gone"] or place["done"]:
            return None
        return row

    def expire(self, link: LinkId, before_s: int) -> int:
        """Wipe copies of delivered keys that nobody fetched; the account does not change."""
        rows = self._db.all(
            "SELECT * FROM keys WHERE link = ? AND state IN (?, ?, ?) AND gone = 0"
            " AND created_s < ?",
            *(link, KeyState.DELIVERED, KeyState.CONFIRMED, KeyState.DISPUTED, before_s),
        )
        for row in rows:
            self.drop_bytes(row)
            self.forget_if_done(row["id"])
        return len(rows)
