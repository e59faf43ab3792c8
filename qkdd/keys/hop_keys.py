"""Keys that came hop by hop to this, the last node: sealed on disk until their slaves have them.

They belong to no link's account: what their way cost is counted as relayed, link by link.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.vault import SealBroken, Vault


@dataclass(frozen=True, slots=True)
class HopCopies:
    """Keys of one request, side by side in ``keys``, and who may have a copy of each here."""

    key_ids: tuple[UUID, ...]
    keys: Secret
    n_relays: int
    master: SaeId
    slaves: tuple[SaeId, ...]


class HopKeys:
    """Held --each slave fetches, once--> gone; or burned by the first node; or expired."""

    def __init__(self, database: Database, vault: Vault, node: NodeId) -> None:
        self._db = database
        self._vault = vault
        self._node = node

    def _context(self, key_id: bytes) -> bytes:
        return f"qkdd keys 1|{self._node}|hop key {key_id.hex()}".encode()

    def row(self, key_id: UUID) -> sqlite3.Row | None:
        return self._db.one("SELECT * FROM hop_keys WHERE key_id = ?", key_id.bytes)

    def held(self, key_ids: Sequence[UUID]) -> bool:
        """Tell whether any of these is here."""
        names = [key_id.bytes for key_id in key_ids]
        return bool(self._db.among("SELECT 1 FROM hop_keys WHERE key_id IN ({})", names))

    def hold(self, copies: HopCopies, now_s: int) -> None:
        """Write them down, all or none; ValueError if a name is taken."""
        n_bytes, rest = divmod(len(copies.keys), len(copies.key_ids))
        if rest or not n_bytes:
            raise ValueError(f"{len(copies.keys)} bytes for {len(copies.key_ids)} keys")
        for number, key_id in enumerate(copies.key_ids):
            if self.row(key_id) is not None:
                raise ValueError(f"key {key_id} is held here already")
            start = number * n_bytes
            with Secret.from_bytes(copies.keys.reveal()[start : start + n_bytes]) as key:
                sealed = self._vault.wrap(key, self._context(key_id.bytes))
            row = self._db.run(
                "INSERT INTO hop_keys (key_id, master, n_relays, sealed, created_s)"
                " VALUES (?, ?, ?, ?, ?)",
                *(key_id.bytes, copies.master, copies.n_relays, sealed, now_s),
            ).lastrowid
            for sae in copies.slaves:
                self._db.run("INSERT INTO hop_recipients VALUES (?, ?, 0)", row, sae)

    def check(self, key_id: UUID, sae: SaeId, master: SaeId) -> None:
        """Return if ``sae`` may have its copy.

        Raises
        ------
        KeyNotEntitled, KeyNotFound
            It may not; or has had it.
        """
        row = self.row(key_id)
        if row is None:
            raise KeyNotFound(f"key {key_id}")
        place = self._db.one(
            "SELECT done FROM hop_recipients WHERE key = ? AND sae = ?", row["id"], sae
        )
        if row["master"] != master or place is None:
            raise KeyNotEntitled(f"key {key_id} was not made for {sae} by {master}")
        if place["done"]:
            raise KeyNotFound(f"key {key_id}")

    def take(self, key_id: UUID, sae: SaeId) -> tuple[Secret, int]:
        """Give a copy that :meth:`check` allowed, and the number of relays that it trusts."""
        row = self.row(key_id)
        assert row is not None
        try:
            key = self._vault.unwrap(row["sealed"], self._context(row["key_id"]))
        except SealBroken as error:
            raise KeyNotFound(f"key {key_id} does not open") from error
        self._db.run("UPDATE hop_recipients SET done = 1 WHERE key = ? AND sae = ?", row["id"], sae)
        if not self._db.one("SELECT 1 FROM hop_recipients WHERE key = ? AND done = 0", row["id"]):
            self._forget(row["id"])
        return key, row["n_relays"]

    def _forget(self, row: int) -> None:
        self._db.run("DELETE FROM hop_recipients WHERE key = ?", row)
        self._db.run("DELETE FROM hop_keys WHERE id = ?", row)
        self._db.shred_due = True

    def burn(self, key_ids: Sequence[UUID]) -> int:
        """Forget those of ``key_ids`` that are held here; return how many."""
        rows = [row for key_id in key_ids if (row := self.row(key_id)) is not None]
        for row in rows:
            self._forget(row["id"])
        return len(rows)

    def expire(self, before_s: int) -> int:
        """Forget what nobody fetched in time."""
        rows = self._db.all("SELECT id FROM hop_keys WHERE created_s < ?", before_s)
        for row in rows:
            self._forget(row["id"])
        return len(rows)
