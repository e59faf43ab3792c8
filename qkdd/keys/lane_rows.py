"""The table of a lane's secrets: pads, held keys and READY keys, many in a row.

A batch is one row, and one row operation. A secret that is used is cut out of its row; with the
last one the row goes, wrapped key and all; and the commit is followed by emptying the log, so that
what was cut out is in no file.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence

from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.lane_seal import (
    LANE_KEY_BYTES,
    Shelf,
    cut_records,
    open_records,
    pack,
    read_secret,
    seal_records,
    unpack,
)
from qkdd.keys.vault import SealBroken, Vault

MAX_NUMBER = 2**48
ROW_KEYS = 32
"""In one row at most: what must be written again when one of them is used stays below 2 KiB."""


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
        records, wrapped = seal_records(self._vault, shelf.context(self._node), numbers, plain)
        self._db.run(
            "INSERT INTO lane_keys (lane, kind, first, last, n, numbers, records, wrapped_key)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(shelf.lane, shelf.kind, numbers[0], numbers[-1], len(numbers)),
            *(pack(numbers), records, wrapped),
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
        try:
            return unpack(row)
        except SealBroken as error:
            raise DamagedRow(shelf, row["id"]) from error

    def find(self, shelf: Shelf, number: int) -> sqlite3.Row | None:
        """Return the row that has ``number``; none has one that no message could name."""
        if not 0 <= number < MAX_NUMBER:
            return None
        for row in self.rows(shelf, number, number):
            if number in self._unpack(shelf, row):
                return row
        return None

    def read_one(self, shelf: Shelf, row: sqlite3.Row, number: int) -> Secret:
        """Open one secret of a row; DamagedRow if it does not open."""
        try:
            return read_secret(self._vault, shelf.context(self._node), row, number)
        except SealBroken as error:
            raise DamagedRow(shelf, row["id"]) from error

    def read(self, shelf: Shelf) -> tuple[list[int], Secret]:
        """Open all secrets of a shelf, in the order of rows; DamagedRow if one does not open."""
        rows = [(row, self._unpack(shelf, row)) for row in self.rows(shelf)]
        numbers = [number for _, some in rows for number in some]
        keys = Secret(LANE_KEY_BYTES * len(numbers))
        at = 0
        for row, some in rows:
            target = keys.reveal()[at : at + LANE_KEY_BYTES * len(some)]
            try:
                open_records(self._vault, shelf.context(self._node), row, some, target)
            except SealBroken as error:
                keys.wipe()
                raise DamagedRow(shelf, row["id"]) from error
            at += len(target)
        return numbers, keys

    def remove(self, shelf: Shelf, numbers: Collection[int]) -> list[int]:
        """Cut secrets out of their rows; return those that were there."""
        if not numbers:
            return []
        wanted = set(numbers)
        gone: list[int] = []
        for row in self.rows(shelf, min(wanted), max(wanted)):
            here = [number for number in self._unpack(shelf, row) if number in wanted]
            if here:
                self.cut(row, wanted)
                gone += here
        return gone

    def cut(self, row: sqlite3.Row, gone: set[int]) -> None:
        """Cut secrets out of a row that was read in this very transaction."""
        numbers, records = cut_records(row, gone)
        self._db.shred_due = True
        if not numbers:
            self._db.run("DELETE FROM lane_keys WHERE id = ?", row["id"])
            return
        self._db.run(
            "UPDATE lane_keys SET first = ?, last = ?, n = ?, numbers = ?, records = ?"
            " WHERE id = ?",
            *(numbers[0], numbers[-1], len(numbers), pack(numbers), records, row["id"]),
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
            lost = {number for number in unpack(row) if not self._opens(damage.shelf, row, number)}
        except SealBroken:
            self._db.run("DELETE FROM lane_keys WHERE id = ?", damage.row)
            return
        self.cut(row, lost)

    def _opens(self, shelf: Shelf, row: sqlite3.Row, number: int) -> bool:
        try:
            self.read_one(shelf, row, number).wipe()
        except DamagedRow:
            return False
        return True
