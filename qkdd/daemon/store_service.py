"""The one writer of the key store: operations from every task, committed in groups.

An operation runs on a worker thread, inside a transaction it shares with whatever else was waiting
when the thread became free: one disk flush for all of them. Its caller hears the result only after
the commit, so nothing is sent, acknowledged or handed out before it is on disk.

The thread is the service's own and takes its operations out of a queue: ``trio.to_thread`` costs a
commit two turns of the loop and twice the CPU of this.
"""

from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import trio

from qkdd.base.errors import StoreError
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.keys.layout import Direction
from qkdd.keys.settings import StoreSettings
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
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        """For the thread, which ends at None."""
        self._next: _Job[Any] | None = None
        self._room = trio.lowlevel.ParkingLot()
        self._stop = trio.Event()
        self._closed = False
        self._n_pads = 0
        self._bug: BaseException | None = None

    @property
    def settings(self) -> StoreSettings:
        return self._store.settings

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
        if self._closed:
            failed(StoreError(STOPPING))
        elif self._jobs.qsize() >= WAITING_OPERATIONS:
            failed(StoreError(f"{WAITING_OPERATIONS} operations wait for the store"))
        else:
            self._jobs.put(_Job(operation, then, failed, alone=False))

    def pads(self, link: LinkId, direction: Direction, n_bytes: int) -> Secret | None:
        """Take authentication key that is on disk as burned, without waiting for a commit; None if
        there is none: then ask the store alone."""
        ready = self._store.take_ready(link, direction, n_bytes)
        self._n_pads += ready is not None
        return ready

    @property
    def n_changes(self) -> int:
        """See :meth:`KeyStore.n_changes`; who has asked behind this number need not ask again
        while it stays: to ask a store that rests is most of what a relay at rest costs."""
        return self._store.n_changes

    @property
    def account_mark(self) -> tuple[int, int]:
        """Another one after anything that an account tells of: also pads taken from memory."""
        return self.n_changes, self._n_pads

    async def alone(self, operation: Callable[[KeyStore], T]) -> T:
        """Run an operation that commits by itself (authentication key, opening a session)."""
        return await self._ask(_Job(operation, None, alone=True))

    async def _ask(self, job: _Job[T]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._closed and self._jobs.qsize() >= WAITING_OPERATIONS:
            await self._room.park()
        if self._closed:
            raise StoreError(STOPPING)
        self._jobs.put(job)
        with trio.CancelScope(shield=True):  # it may have happened: its caller must know
            await job.done.wait()
        return job.result()

    def stop(self) -> None:
        """End :meth:`run`, once nobody needs the store any more."""
        self._stop.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop`; what waits then is answered with an error.

        A cancellation from outside is not heard: users that are cancelled still have words for
        the store on their way out.
        """
        ended = trio.Event()
        token = trio.lowlevel.current_trio_token()
        thread = Thread(target=self._serve, args=(token, ended), name="store", daemon=True)
        with trio.CancelScope(shield=True):
            thread.start()
            task_status.started()
            await self._stop.wait()
            self._closed = True
            self._jobs.put(None)
            await ended.wait()
        _give_up(self._left())
        self._room.unpark_all()
        if self._bug is not None:
            raise self._bug

    def _serve(self, token: trio.lowlevel.TrioToken, ended: trio.Event) -> None:
        """The thread: commit what waits, and have the loop tell the callers."""
        while (first := self._next or self._jobs.get()) is not None:
            self._next = None
            group = [first] if first.alone else [first, *self._waiting()]
            bug = None
            try:
                self._commit(group)
            except BaseException as error:
                bug = error
            token.run_sync_soon(self._committed, group, bug)
            if bug is not None:
                break
        token.run_sync_soon(ended.set)

    def _committed(self, group: list[_Job[Any]], bug: BaseException | None) -> None:
        """Tell every caller, even when a bug ends the service here."""
        try:
            if bug is None and self._bug is None:
                for job in group:
                    job.finish()
        except BaseException as error:
            bug = error
        finally:
            _give_up(job for job in group if not job.done.is_set())
            self._room.unpark_all()
        if bug is not None and self._bug is None:
            self._bug = bug
            self.stop()

    def _waiting(self) -> list[_Job[Any]]:
        """Take what waits and may share a commit; one that may not is kept for the next turn."""
        jobs: list[_Job[Any]] = []
        while len(jobs) < MAX_GROUP - 1:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            if job.alone:
                self._next = job
                break
            jobs.append(job)
        return jobs

    def _left(self) -> list[_Job[Any]]:
        jobs = [self._next] if self._next is not None else []
        self._next = None
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            jobs += [job] if job is not None else []
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
