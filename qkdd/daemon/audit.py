"""The audit log: security events, one after another, each on disk before the next is looked at.

It hears what the log hears: every line that calls for somebody to act, and those of ``AUDITED``.
"""

import datetime
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
import trio
from structlog.typing import EventDict, WrappedLogger

from qkdd.base.audit_chain import (
    TORN,
    ChainBroken,
    follow,
    mended,
    record_line,
    torn_fields,
)
from qkdd.base.durable import sync_folder
from qkdd.daemon.logs import heard_by

log = structlog.get_logger(__name__)

AUDITED = {
    "relay ready": "start",
    "stopping": "stop",
    "stranger turned away": "refused",
    "client turned away": "refused",
    "reloaded": "reload",
}
"""Text of a log line -> event. Lines of level error and critical are events by themselves."""
OPENED, FAILED = "stores agree", "service failed"
"""A session of a link has begun; a service failed, and if it is a link with a session, it ended."""
OUR_OWN = "audit log"
"""Begins our own lines, which are no events."""
MAX_WAITING = 1_000
"""While the disk is in trouble: some hours of a bad day. What comes above is counted."""
MAX_PER_MINUTE = 60
"""A flood of strangers must not fill the disk; what comes above is counted."""
RETRY_S, CLOSE_TIMEOUT_S = 10.0, 2.0


def audit_path(store: Path) -> Path:
    return store.with_name(store.name + ".audit")


def utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class AuditFile:
    """The file: opened for appending, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        sync_folder(path.parent)
        with path.open("rb") as file:
            try:
                self.head = follow(file)
            except ChainBroken as error:
                os.close(self._descriptor)
                raise OSError(f"audit log {path} has been changed: {error}") from error

    def append(self, event: str, fields: dict[str, str], time: str) -> None:
        """Add a record, and sync it.

        The record of a torn line is synced before another follows: a power cut may keep the end
        of what was written together and lose its beginning.
        """
        if self.head.torn and not self._ends_line() and (head := mended(self.head)) is not None:
            self._write(b"\n")
            self.head = head
        if self.head.torn:
            line, head = record_line(self.head, utc(), TORN, torn_fields(self.head.torn))
            self._write(line if self._ends_line() else b"\n" + line)
            self.head = head
        line, head = record_line(self.head, time, event, fields)
        self._write(line)
        self.head = head

    def _ends_line(self) -> bool:
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, 1, size - 1) == b"\n"

    def _write(self, text: bytes) -> None:
        """Write all of it or nothing: half a line would be torn."""
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, text) != len(text):
                raise OSError("no room for the whole line")
            os.fsync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise

    def close(self) -> None:
        os.close(self._descriptor)


def append_once(store: Path, event: str, **fields: str) -> None:
    """Add one record beside a store whose relay is stopped; root leaves it to the store's owner."""
    file = AuditFile(audit_path(store))
    try:
        file.append(event, fields, utc())
        if os.geteuid() == 0 and store.exists():
            owner = store.stat()
            os.chown(file.path, owner.st_uid, owner.st_gid)
    finally:
        file.close()


class AuditLog:
    """Hears events from any thread, and writes them in their order; :meth:`run` is the service."""

    def __init__(self, file: AuditFile) -> None:
        self._file = file
        self._waiting: deque[tuple[str, dict[str, str], str]] = deque()
        self._more = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._n_not_recorded = 0
        self._minute: tuple[str, int] = ("", 0)
        self._told = ""
        self._sessions: set[str] = set()

    def hear(self, _logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        """Take a line of the log on its way (a processor of structlog)."""
        text = str(line.get("event", ""))
        grave = method in ("error", "critical")
        event = self._session(text, line) or AUDITED.get(text)
        event = "alarm" if grave else event
        if event is not None and not text.startswith(OUR_OWN):
            fields = {name: str(value) for name, value in line.items() if name != "event"}
            fields.pop("level", None)
            self.note(event, {"what": text, **fields} if grave else fields, grave=grave)
        return line

    def _session(self, text: str, line: EventDict) -> str | None:
        """Follow which links have a session; a link that fails to open one is no event."""
        if text == OPENED:
            self._sessions.add(f"link {line.get('link')}")
            return "session"
        if text == FAILED and line.get("service") in self._sessions:
            self._sessions.discard(line["service"])
            return "session ended"
        return None

    def note(self, event: str, fields: dict[str, str], *, grave: bool = True) -> None:
        """Queue a record; what is too much is counted in the next one."""
        now = utc()
        minute, n_heard = self._minute
        n_heard = n_heard + 1 if now[:16] == minute else 1
        self._minute = (now[:16], n_heard)
        if len(self._waiting) >= MAX_WAITING or (n_heard > MAX_PER_MINUTE and not grave):
            self._n_not_recorded += 1
            return
        if self._n_not_recorded:
            fields = {**fields, "not_recorded_before": str(self._n_not_recorded)}
            self._n_not_recorded = 0
        self._waiting.append((event, fields, now))
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and then what is left."""
        log.info(f"{OUR_OWN} opened", records=self._file.head.n, head=self._file.head.hash)
        task_status.started()
        try:
            while True:
                while not self._waiting:
                    await self._more.wait()
                if not await self._write_next():
                    await trio.sleep(RETRY_S)
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                while self._waiting and await self._write_next():
                    pass
            head = self._file.head
            log.info(f"{OUR_OWN} closed", records=head.n, head=head.hash)
            self._file.close()

    async def _write_next(self) -> bool:
        event, fields, time = self._waiting[0]
        try:
            await trio.to_thread.run_sync(self._file.append, event, fields, time)
        except OSError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.error(f"{OUR_OWN} cannot be written", reason=self._told)
            return False
        self._told = ""
        self._waiting.popleft()
        return True


@asynccontextmanager
async def audited(store: Path) -> AsyncIterator[None]:
    """Write the audit log beside a store that is open here, while the block lasts."""
    audit = AuditLog(AuditFile(audit_path(store)))
    async with trio.open_nursery() as nursery:
        await nursery.start(audit.run)
        with heard_by(audit.hear):
            yield
        nursery.cancel_scope.cancel()
