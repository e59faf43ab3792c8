"""The one writer of the store: groups, their order, and what a failure does to the others."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Event
from typing import cast

import pytest
import trio

from qkdd.base.errors import OutOfKey, StoreError
from qkdd.daemon.store_service import StoreService
from qkdd.keys.store import KeyStore


class Log:
    """A store that only notes what was done, and in which commits; a commit may be told to fail."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failing: Exception | None = None
        self.hold = Event()
        self.hold.set()
        self.inside = Event()
        """An operation has begun."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.events.append("begin")
        yield
        if self.failing is not None:
            raise self.failing
        self.events.append("commit")


def note(what: str, result: int = 0) -> Callable[[KeyStore], int]:
    def operation(store: KeyStore) -> int:
        log = cast("Log", store)
        log.inside.set()
        log.hold.wait()
        log.events.append(what)
        return result

    return operation


def refuse(error: Exception) -> Callable[[KeyStore], int]:
    def operation(_store: KeyStore) -> int:
        raise error

    return operation


@asynccontextmanager
async def serving(log: Log) -> AsyncIterator[StoreService]:
    service = StoreService(cast("KeyStore", log))
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        try:
            yield service
        finally:
            service.stop()


async def test_what_waits_while_one_commits_shares_the_next_commit() -> None:
    log = Log()
    async with serving(log) as service, trio.open_nursery() as nursery:
        log.hold.clear()
        nursery.start_soon(service.do, note("first"))
        await trio.to_thread.run_sync(log.inside.wait)
        for name in "abc":
            nursery.start_soon(service.do, note(name))
            await trio.testing.wait_all_tasks_blocked()
        log.hold.set()
    assert log.events == ["begin", "first", "commit", "begin", "a", "b", "c", "commit"]


async def test_words_to_the_peer_are_queued_after_the_commit_in_the_order_of_asking() -> None:
    log = Log()
    async with serving(log) as service, trio.open_nursery() as nursery:
        log.hold.clear()
        for number in range(5):

            def say(result: int) -> None:
                log.events.append(f"say {result}")

            async def ask(number: int = number) -> None:
                await service.do(note(f"op {number}", number), then=say)

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
        log.hold.set()
    said = [event for event in log.events if event.startswith("say")]
    assert said == [f"say {number}" for number in range(5)]
    for number in range(5):
        done = log.events.index("commit", log.events.index(f"op {number}"))
        assert log.events.index(f"say {number}") > done


async def test_a_refused_operation_is_told_to_its_caller_alone() -> None:
    log = Log()
    results: list[object] = []

    async with serving(log) as service, trio.open_nursery() as nursery:
        log.hold.clear()
        nursery.start_soon(service.do, note("first"))
        await trio.to_thread.run_sync(log.inside.wait)

        async def refused() -> None:
            with pytest.raises(OutOfKey):
                await service.do(refuse(OutOfKey("none")), then=results.append)
            results.append("refused")

        nursery.start_soon(refused)
        await trio.testing.wait_all_tasks_blocked()

        async def done() -> None:
            results.append(await service.do(note("other", 7)))

        nursery.start_soon(done)
        await trio.testing.wait_all_tasks_blocked()
        log.hold.set()
    assert sorted(map(str, results)) == ["7", "refused"]
    assert log.events[-3:] == ["begin", "other", "commit"]


async def test_a_commit_that_fails_fails_for_all_and_the_next_one_is_tried() -> None:
    log = Log()
    said: list[int] = []
    async with serving(log) as service:
        log.failing = StoreError("disk full")
        with pytest.raises(StoreError, match="disk full"):
            await service.do(note("lost"), then=said.append)
        log.failing = None
        assert await service.do(note("kept", 1), then=said.append) == 1
    assert said == [1]


async def test_an_operation_alone_has_no_group_around_it_and_keeps_its_place() -> None:
    log = Log()
    async with serving(log) as service, trio.open_nursery() as nursery:
        log.hold.clear()
        nursery.start_soon(service.do, note("first"))
        await trio.to_thread.run_sync(log.inside.wait)
        for ask, name in ((service.do, "a"), (service.alone, "pad"), (service.do, "b")):
            nursery.start_soon(ask, note(name))
            await trio.testing.wait_all_tasks_blocked()
        log.hold.set()
    grouped = ["begin", "first", "commit", "begin", "a", "commit", "pad", "begin", "b", "commit"]
    assert log.events == grouped


async def test_a_caller_that_is_cancelled_still_learns_what_has_happened() -> None:
    log = Log()
    heard: list[int] = []
    async with serving(log) as service, trio.open_nursery() as nursery:
        log.hold.clear()

        async def ask() -> None:
            heard.append(await service.do(note("done", 3)))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        log.hold.set()
    assert heard == [3]


async def test_after_the_stop_everybody_hears_that_the_relay_stops() -> None:
    log = Log()
    async with serving(log) as service:
        pass
    with pytest.raises(StoreError, match="stopping"):
        await service.do(note("late"))
    assert log.events == []


@pytest.mark.parametrize("where", ["commit", "then"])
async def test_a_bug_ends_the_service_and_leaves_no_caller_waiting(where: str) -> None:
    log = Log()
    heard: list[str] = []

    def then(_result: int) -> None:
        if where == "then":
            raise ZeroDivisionError

    async def ask(then: Callable[[int], None] | None = None) -> None:
        try:
            await service.do(note("asked"), then=then)
        except StoreError as error:
            heard.append(str(error))

    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await service.run()
        heard.append("ended by the bug")

    service = StoreService(cast("KeyStore", log))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            log.hold.clear()
            for each in (None, then, None):
                nursery.start_soon(ask, each)
                await trio.testing.wait_all_tasks_blocked()
            log.failing = ZeroDivisionError() if where == "commit" else None
            log.hold.set()
    n_lost = 3 if where == "commit" else 2
    assert sorted(heard) == ["ended by the bug", *["the relay is stopping"] * n_lost]
