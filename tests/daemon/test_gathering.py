"""Requests that share an operation of the store: none is lost, none is carried out twice."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from qkdd.base.errors import StoreError
from qkdd.base.secret import Secret
from qkdd.daemon.gathering import MOST_TOGETHER, Gathering, Waiting
from qkdd.daemon.store_service import StoreService
from qkdd.keys.store import KeyStore
from tests.daemon.test_store_service import Log, note, serving


class Desk:
    """Asks for numbers; the store gives each times ten."""

    def __init__(self, service: StoreService) -> None:
        self.gathering: Gathering[int, list[int]] = Gathering(
            service, self.carry_out, self.told, self.failed
        )
        self.groups: list[list[int]] = []
        self.results: list[int] = []
        self.errors: list[str] = []

    def carry_out(self, store: KeyStore, numbers: Sequence[int]) -> list[int]:
        cast("Log", store).hold.wait()
        self.groups.append([*numbers])
        return [10 * number for number in numbers]

    def told(self, _numbers: Sequence[int], results: list[int]) -> None:
        self.results += results

    def failed(self, numbers: Sequence[int], error: Exception) -> None:
        self.errors += [f"{number}: {error}" for number in numbers]


@asynccontextmanager
async def desk_over(log: Log) -> AsyncIterator[tuple[Desk, StoreService]]:
    async with serving(log) as service:
        yield Desk(service), service


async def test_what_comes_while_the_store_is_busy_is_one_operation() -> None:
    log = Log()
    async with desk_over(log) as (desk, service), trio.open_nursery() as nursery:
        log.hold.clear()
        nursery.start_soon(service.do, note("before"))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            desk.gathering.add(number)
        log.hold.set()
        await service.do(note("after"))
    assert desk.groups == [[0, 1, 2, 3, 4]]
    assert desk.results == [0, 10, 20, 30, 40]


async def test_more_than_may_go_together_goes_in_turns() -> None:
    log = Log()
    async with desk_over(log) as (desk, service):
        for number in range(2 * MOST_TOGETHER + 1):
            desk.gathering.add(number)
        while len(desk.results) <= 2 * MOST_TOGETHER:
            await service.do(note("wait"))
    assert [len(group) for group in desk.groups] == [MOST_TOGETHER, MOST_TOGETHER, 1]
    assert desk.results == [10 * number for number in range(2 * MOST_TOGETHER + 1)]


async def test_a_commit_that_fails_is_told_to_each_and_the_next_is_tried() -> None:
    log = Log()
    async with desk_over(log) as (desk, service):
        log.failing = StoreError("disk full")
        for number in (1, 2):
            desk.gathering.add(number)
        with pytest.raises(StoreError):
            await service.do(note("too"))
        log.failing = None
        desk.gathering.add(3)
        await service.do(note("after"))
    assert desk.errors == ["1: disk full", "2: disk full"]
    assert desk.results == [30]


async def test_after_the_stop_each_hears_that_the_relay_stops() -> None:
    log = Log()
    async with desk_over(log) as (desk, _):
        pass
    desk.gathering.add(1)
    assert desk.errors == ["1: the relay is stopping"]
    assert desk.groups == []


async def test_what_comes_for_a_request_that_was_cancelled_is_wiped() -> None:
    for late in (True, False):
        key = Secret(32)
        waiting: Waiting[str, Secret] = Waiting("key", Secret.wipe)
        if not late:
            waiting.finish(key)
        with trio.CancelScope() as scope:
            scope.cancel()
            await waiting.result()
        if late:
            waiting.finish(key)
        assert key.wiped
