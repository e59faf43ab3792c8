"""The one writer of the key store: operations from every task, committed in groups.

An operation runs on a worker thread, inside a transaction it shares with whatever else was waiting
when the thread became free: one disk flush for all of them. Its caller hears the result only after
the commit, so nothing is sent, acknowledged or handed out before it is on disk.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import trio

from qkdd.base.errors import StoreError
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.keys.layout import Direction
from qkdd.keys.store import KeyStore

T = TypeVar("T")

MAX_GROUP = 256
WAITING_OPERATIONS = 1024
STOPPING = "the relay is stopping"


class _Job(Generic[T]):
    def __init__(
        self,
        operation: Callable[[KeyStore], T],
        then: Callable[[T], None] | None,
        failed: Callable[[Exception], None] | None = None,
        *,
        alone: bool,
    ) -> None:
        self.alone = alone
        self._failed = failed
        self._operation = operation
        self._then = then
        self.done = trio.Event()
        self._results: list[T] = []
        self._error: Exception | None = None

    def run(self, store: KeyStore) -> None:
        """Carry it out; the store undoes an operation that is refused, and nothing else."""
        try:
            self._results.append(self._operation(store))
        except Exception as error:
            self._error = error

    def fail(self, error: Exception) -> None:
        self._results.clear()
        self._error = error

    def finish(self) -> None:
        """Tell the caller; ``then`` is called first, in the order of the operations."""
        if self._error is None and self._then is not None:
            self._then(self._results[0])
        elif self._error is not None and self._failed is not None:
            self._failed(self._error)
        self.done.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._results[0]


def _give_up(jobs: Iterable[_Job[Any]]) -> None:
    for job in jobs:
        job.fail(StoreError(STOPPING))
        job.finish()


class StoreService:
    """Give it to every task that needs the store; :meth:`run` is the service."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._send, self._receive = trio.open_memory_channel[_Job[Any]](WAITING_OPERATIONS)
        self._thread = trio.CapacityLimiter(1)
        self._scope = trio.CancelScope(shield=True)
        self._next: _Job[Any] | None = None

    async def do(
        self, operation: Callable[[KeyStore], T], *, then: Callable[[T], None] | None = None
    ) -> T:
        """Run ``operation`` in a group commit; return after the commit.

        ``then`` is called with the result on the loop's thread, in the order in which operations
        were asked for: the place to queue what must leave in that order.

        Raises
        ------
        StoreError
            If the group could not be committed: the operation has then not happened.
        """
        return await self._ask(_Job(operation, then, alone=False))

    def post(
        self,
        operation: Callable[[KeyStore], T],
        then: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """As :meth:`do`, for callers that do not wait: what would be raised goes to ``failed``."""
        try:
            self._send.send_nowait(_Job(operation, then, failed, alone=False))
        except trio.BrokenResourceError:
            failed(StoreError(STOPPING))
        except trio.WouldBlock:
            failed(StoreError(f"{WAITING_OPERATIONS} operations wait for the store"))

    def pads(self, link: LinkId, direction: Direction, n_bytes: int) -> Secret | None:
        """Take authentication key that is on disk as burned, without waiting for a commit; None if
        there is none: then ask the store alone."""
        return self._store.take_ready(link, direction, n_bytes)

    async def alone(self, operation: Callable[[KeyStore], T]) -> T:
        """Run an operation that commits by itself (authentication key, opening a session)."""
        return await self._ask(_Job(operation, None, alone=True))

    async def _ask(self, job: _Job[T]) -> T:
        try:
            await self._send.send(job)
        except trio.BrokenResourceError as error:
            raise StoreError(STOPPING) from error
        with trio.CancelScope(shield=True):  # it may have happened: its caller must know
            await job.done.wait()
        return job.result()

    def stop(self) -> None:
        """End :meth:`run`, once nobody needs the store any more."""
        self._scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop`; what waits then is answered with an error.

        A cancellation from outside is not heard: users that are cancelled still have words for
        the store on their way out.
        """
        with self._scope:
            await self._run(task_status)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            while True:
                first = self._next or await self._receive.receive()
                self._next = None
                await self._serve([first] if first.alone else [first, *self._waiting()])
        finally:
            _give_up(self._left())
            self._receive.close()

    async def _serve(self, group: list[_Job[Any]]) -> None:
        """Commit and tell every caller, even when a bug ends the service here."""
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._commit, group, limiter=self._thread)
            for job in group:
                job.finish()
        finally:
            _give_up(job for job in group if not job.done.is_set())

    def _waiting(self) -> list[_Job[Any]]:
        """Take what waits and may share a commit; one that may not is kept for the next turn."""
        jobs: list[_Job[Any]] = []
        while len(jobs) < MAX_GROUP - 1:
            try:
                job = self._receive.receive_nowait()
            except trio.WouldBlock:
                break
            if job.alone:
                self._next = job
                break
            jobs.append(job)
        return jobs

    def _left(self) -> list[_Job[Any]]:
        jobs = [self._next] if self._next is not None else []
        self._next = None
        while True:
            try:
                jobs.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                return jobs

    def _commit(self, group: list[_Job[Any]]) -> None:
        if group[0].alone:
            group[0].run(self._store)
            return
        try:
            with self._store.transaction():
                for job in group:
                    job.run(self._store)
        except StoreError as error:
            for job in group:
                job.fail(error)
