"""The sqlite3 connection: one writer, synced commits, operations nested in group commits."""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from qkdd.base.errors import StoreError
from qkdd.keys import schema
from qkdd.keys.destroy import destroy_file, store_files

Value: TypeAlias = int | float | str | bytes | None
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file may raise: sqlite3 cannot always put its own complaint into words."""
DESTROYED = "all keys were destroyed"
MOST_AMONG = 256
LOG_PAGES = 4_000
"""Of 4 KiB in the log before a commit writes them home, which takes two syncs more: at 300 keys a
second, each with two commits of five pages, sqlite's 1000 would be reached three times a second."""
HARMLESS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
"""Failures after which the file is as before; any other leaves it unknown, so the store stops."""


class Database:
    """Everything that is written goes through here; ``check_same_thread`` is off because the
    daemon's writer thread may change, but only one thread at a time may be inside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._depth = 0
        self._failed: str | None = None
        self._group_lost = False
        self.shred_due = False
        self._n_changed = 0
        """Rows that commits have changed since the file was opened."""
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"{path} is open in another process") from error
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = self._connect()
        except (*UNREADABLE, OSError) as error:
            os.close(self._lock)
            raise StoreError(f"{path} cannot be opened: {error}") from error
        try:
            schema.prepare(self._connection, path)
        except (*UNREADABLE, StoreError) as error:
            self.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{path} cannot be read: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA busy_timeout=200")
        return connection

    def close(self) -> None:
        """Close; the last connection checkpoints the log and removes it."""
        self._connection.close()
        os.close(self._lock)

    def destroy(self) -> None:
        """Destroy the files; whatever is asked afterwards is refused."""
        self._failed = DESTROYED
        self._connection.close()
        for path in store_files(self.path):
            destroy_file(path)

    @property
    def n_changes(self) -> int:
        """A number that is another one after a commit that changed anything, and once the store has
        stopped: whoever asks only then is told of that, too. Any thread may look."""
        return self._n_changed + (self._failed is not None)

    @property
    def in_group(self) -> bool:
        """Whether a group commit is open, so that nothing done now is on disk yet."""
        return self._depth > 0

    def run(self, sql: str, *values: Value) -> sqlite3.Cursor:
        """Execute one statement; every failure of the disk or the file is a StoreError."""
        if self._failed is not None:
            raise StoreError(f"{self.path} stopped after: {self._failed}")
        try:
            return self._connection.execute(sql, values)
        except sqlite3.IntegrityError as error:
            raise RuntimeError(f"the store broke its own rule: {error}") from error
        except UNREADABLE as error:
            raise self._fault(error) from error

    def one(self, sql: str, *values: Value) -> sqlite3.Row | None:
        try:
            row: sqlite3.Row | None = self.run(sql, *values).fetchone()
        except UNREADABLE as error:
            raise self._fault(error) from error
        return row

    def all(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        try:
            return self.run(sql, *values).fetchall()
        except UNREADABLE as error:
            raise self._fault(error) from error

    def lazily(self, sql: str, *values: Value) -> Iterator[sqlite3.Row]:
        """Select row by row, as they are taken; nothing may be written meanwhile."""
        try:
            yield from self.run(sql, *values)
        except UNREADABLE as error:
            raise self._fault(error) from error

    def each(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        """Execute a statement for each of ``rows``; return how many it changed in all."""
        if self._failed is not None:
            raise StoreError(f"{self.path} stopped after: {self._failed}")
        try:
            return self._connection.executemany(sql, rows).rowcount
        except sqlite3.IntegrityError as error:
            raise RuntimeError(f"the store broke its own rule: {error}") from error
        except UNREADABLE as error:
            raise self._fault(error) from error

    def among(self, sql: str, values: Sequence[Value]) -> list[sqlite3.Row]:
        """Select with ``IN ({})`` for any number of ``values``, in few statements of few lengths,
        so that they stay prepared. The last value may be asked for more than once."""
        rows: list[sqlite3.Row] = []
        for start in range(0, len(values), MOST_AMONG):
            part = [*values[start : start + MOST_AMONG]]
            part += part[-1:] * ((1 << (len(part) - 1).bit_length()) - len(part))
            rows += self.all(sql.format(",".join("?" * len(part))), *part)
        return rows

    def _fault(self, error: Exception) -> StoreError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code & 0xFF not in HARMLESS:
            self._failed = f"{error} ({getattr(error, 'sqlite_errorname', 'unknown')})"
        return StoreError(f"{self.path}: {error}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; inside another one a savepoint, so that a refused operation undoes
        only itself. Durable when the outermost one is left."""
        begin, commit, undo = (
            ("SAVEPOINT op", "RELEASE op", "ROLLBACK TO op")
            if self._depth
            else ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        )
        if self._group_lost:
            raise StoreError(f"{self.path}: this group commit was rolled back by an error before")
        self.run(begin)
        self._depth += 1
        try:
            yield
            if self._depth == 1:
                self.run(commit)
                self._n_changed = self._connection.total_changes
        except BaseException:
            self._undo(undo)
            raise
        else:
            if self._depth > 1:
                self.run(commit)
        finally:
            self._depth -= 1
            self._group_lost = self._group_lost and self._depth > 0
        if self._depth == 0 and self.shred_due:
            self.shred()

    def _undo(self, undo: str) -> None:
        """Roll back as far as sqlite has not done so itself (it does on some errors)."""
        if not self._connection.in_transaction:
            self._group_lost = True
            return
        try:
            self._connection.execute(undo)
            if self._depth > 1:
                self._connection.execute("RELEASE op")
        except sqlite3.Error as error:
            self._failed = f"rollback failed: {error}"

    def shred(self) -> None:
        """Empty the log, so that deleted wrapped keys are in no file; a reader delays it."""
        try:
            row = self.one("PRAGMA wal_checkpoint(TRUNCATE)")
        except StoreError:
            return  # the commit before it holds; a lasting fault meets the next operation
        self.shred_due = row is None or row[0] != 0
