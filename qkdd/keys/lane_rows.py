"""Numbered secrets of 32 bytes on disk, many in a row: a lane's pads, held keys and READY keys.

A row has a key of its own, wrapped under the master key, under which each secret is sealed with
its number as nonce. One that is used is cut out of its row without opening the others; with the
last one the row goes, wrapped key and all.
"""

import sqlite3
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.vault import NONCE_BYTES, TAG_BYTES, SealBroken, Vault

LANE_KEY_BYTES = 32
RECORD_BYTES = LANE_KEY_BYTES + TAG_BYTES
ROW_KEYS = 32
"""In one row at most: what must be written again when one of them is used stays below 2 KiB."""


class Kind(IntEnum):
    PAD = 0
    """A pair of the association's pads, numbered by pair."""
    HELD = 1
    """Keys whose verdict is not in."""
    READY = 2
    GIVEN = 3
    """Keys that one SAE has and another may still ask for."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Which secrets: pads belong to all generations of a lane (0), keys to one."""

    lane: str
    kind: Kind
    generation: int = 0


class DamagedRow(Exception):
    """A secret does not open, or a row makes no sense; caught inside the room."""

    def __init__(self, shelf: Shelf, row: int) -> None:
        super().__init__(shelf, row)
        self.shelf = shelf
        self.row = row


class LaneRows:
    """All that a lane keeps under seal, but its hash keys."""

    def __init__(self, database: Database, vault: Vault, node: NodeId) -> None:
        self._db = database
        self._vault = vault
        self._node = node

    def _context(self, shelf: Shelf) -> bytes:
        """Return what the seals of a shelf are bound to; no link has a blank in its name."""
        name = f"qkdd keys 1|{self._node}|lane {shelf.lane}|{shelf.kind.name} {shelf.generation}"
        return name.encode()

    def add(self, shelf: Shelf, numbers: Sequence[int], keys: Secret) -> None:
        """Seal 32 bytes for each of the rising ``numbers``."""
        if len(keys) != LANE_KEY_BYTES * len(numbers):
            raise ValueError(f"{len(keys)} bytes for {len(numbers)} keys of {LANE_KEY_BYTES}")
        if list(numbers) != sorted(set(numbers)):
            raise ValueError("numbers of keys that do not rise")
        for at in range(0, len(numbers), ROW_KEYS):
            some = numbers[at : at + ROW_KEYS]
            plain = keys.reveal()[LANE_KEY_BYTES * at :][: LANE_KEY_BYTES * len(some)]
            self._insert(shelf, some, plain)

    def _insert(self, shelf: Shelf, numbers: Sequence[int], plain: memoryview) -> None:
        context = self._context(shelf)
        with self._vault.new_key() as key:
            wrapped = self._vault.wrap(key, context)
            seal = AESGCM(key.reveal())
        records = [
            seal.encrypt(_nonce(number), plain[LANE_KEY_BYTES * at :][:LANE_KEY_BYTES], context)
            for at, number in enumerate(numbers)
        ]
        self._db.run(
            "INSERT INTO lane_keys (lane, kind, first, last, n, numbers, records, wrapped_key)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(shelf.lane, shelf.kind, numbers[0], numbers[-1], len(numbers)),
            *(_pack(numbers), b"".join(records), wrapped),
        )

    def rows(self, shelf: Shelf, first: int = 0, last: int = 2**62) -> Iterator[sqlite3.Row]:
        """Rows that may have a number of ``first`` to ``last``, rising by their first."""
        yield from self._db.all(
            "SELECT * FROM lane_keys WHERE lane = ? AND kind = ? AND first <= ? AND last >= ?"
            " ORDER BY first",
            *(shelf.lane, shelf.kind, last, first),
        )

    def count(self, shelf: Shelf) -> int:
        row = self._db.one(
            "SELECT coalesce(sum(n), 0) AS n FROM lane_keys WHERE lane = ? AND kind = ?",
            *(shelf.lane, shelf.kind),
        )
        assert row is not None
        return int(row["n"])

    def newest(self, shelf: Shelf) -> int | None:
        row = self._db.one(
            "SELECT max(last) AS n FROM lane_keys WHERE lane = ? AND kind = ?",
            *(shelf.lane, shelf.kind),
        )
        assert row is not None
        return None if row["n"] is None else int(row["n"])

    def numbers(self, shelf: Shelf) -> list[int]:
        """All numbers of a shelf, rising."""
        return sorted(n for row in self.rows(shelf) for n in self._unpack(shelf, row))

    def among(self, shelf: Shelf, numbers: Collection[int]) -> list[int]:
        """Return those of ``numbers`` that a shelf has."""
        if not numbers:
            return []
        rows = self.rows(shelf, min(numbers), max(numbers))
        return sorted({n for row in rows for n in self._unpack(shelf, row)} & set(numbers))

    def _unpack(self, shelf: Shelf, row: sqlite3.Row) -> list[int]:
        numbers, records = row["numbers"], row["records"]
        if not isinstance(numbers, bytes) or not isinstance(records, bytes) or len(numbers) % 8:
            raise DamagedRow(shelf, row["id"])
        found = list(struct.unpack(f">{len(numbers) // 8}Q", numbers))
        if len(records) != RECORD_BYTES * len(found) or row["n"] != len(found):
            raise DamagedRow(shelf, row["id"])
        return found

    def find(self, shelf: Shelf, number: int) -> sqlite3.Row | None:
        """Return the row that has ``number``."""
        for row in self.rows(shelf, number, number):
            if number in self._unpack(shelf, row):
                return row
        return None

    def read_one(self, shelf: Shelf, row: sqlite3.Row, number: int) -> Secret:
        """Open one secret of a row; DamagedRow if it does not open."""
        key = Secret(LANE_KEY_BYTES)
        try:
            self._open(shelf, row, [number], key.reveal())
        except BaseException:
            key.wipe()
            raise
        return key

    def read(self, shelf: Shelf) -> tuple[list[int], Secret]:
        """Open all secrets of a shelf, in the order of rows; DamagedRow if one does not open."""
        rows = [(row, self._unpack(shelf, row)) for row in self.rows(shelf)]
        numbers = [number for _, some in rows for number in some]
        keys = Secret(LANE_KEY_BYTES * len(numbers))
        at = 0
        try:
            for row, some in rows:
                size = LANE_KEY_BYTES * len(some)
                self._open(shelf, row, some, keys.reveal()[at : at + size])
                at += size
        except BaseException:
            keys.wipe()
            raise
        return numbers, keys

    def _open(
        self, shelf: Shelf, row: sqlite3.Row, wanted: Sequence[int], into: memoryview
    ) -> None:
        places = {number: at for at, number in enumerate(self._unpack(shelf, row))}
        context = self._context(shelf)
        try:
            with self._vault.unwrap(row["wrapped_key"], context) as key:
                seal = AESGCM(key.reveal())
            for at, number in enumerate(wanted):
                record = row["records"][RECORD_BYTES * places[number] :][:RECORD_BYTES]
                target = into[LANE_KEY_BYTES * at :][:LANE_KEY_BYTES]
                seal.decrypt_into(_nonce(number), record, context, target)
        except (SealBroken, InvalidTag, TypeError, ValueError) as error:
            raise DamagedRow(shelf, row["id"]) from error

    def remove(self, shelf: Shelf, numbers: Collection[int]) -> list[int]:
        """Cut secrets out of their rows; return those that were there."""
        if not numbers:
            return []
        wanted = set(numbers)
        gone: list[int] = []
        for row in self.rows(shelf, min(wanted), max(wanted)):
            held = self._unpack(shelf, row)
            here = [number for number in held if number in wanted]
            if here:
                self._cut(row, held, wanted)
                gone += here
        return gone

    def _cut(self, row: sqlite3.Row, held: list[int], gone: set[int]) -> None:
        left = [(at, number) for at, number in enumerate(held) if number not in gone]
        self._db.shred_due = True
        if not left:
            self._db.run("DELETE FROM lane_keys WHERE id = ?", row["id"])
            return
        numbers = [number for _, number in left]
        records = b"".join(row["records"][RECORD_BYTES * at :][:RECORD_BYTES] for at, _ in left)
        self._db.run(
            "UPDATE lane_keys SET first = ?, last = ?, n = ?, numbers = ?, records = ?"
            " WHERE id = ?",
            *(numbers[0], numbers[-1], len(numbers), _pack(numbers), records, row["id"]),
        )

    def drop(self, shelf: Shelf) -> None:
        """Shred a whole shelf."""
        self._db.run("DELETE FROM lane_keys WHERE lane = ? AND kind = ?", shelf.lane, shelf.kind)
        self._db.shred_due = True

    def drop_damaged(self, damage: DamagedRow) -> None:
        """Cut what does not open out of a row; all of a row that makes no sense."""
        row = self._db.one("SELECT * FROM lane_keys WHERE id = ?", damage.row)
        if row is None:
            return
        try:
            held = self._unpack(damage.shelf, row)
        except DamagedRow:
            self._db.run("DELETE FROM lane_keys WHERE id = ?", damage.row)
            return
        lost = {number for number in held if not self._opens(damage.shelf, row, number)}
        self._cut(row, held, lost)

    def _opens(self, shelf: Shelf, row: sqlite3.Row, number: int) -> bool:
        try:
            self.read_one(shelf, row, number).wipe()
        except DamagedRow:
            return False
        return True


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


def _pack(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}Q", *numbers)
