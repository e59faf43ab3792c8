"""The lock of an exchange: free, it costs nothing; taken, it is fair."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from drivers.exchange_lock import ExchangeLock


async def test_a_free_lock_is_taken_without_a_turn_of_the_loop() -> None:
    lock, turned = ExchangeLock(), trio.Event()

    async def turn() -> None:
        turned.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        for _ in range(2):
            async with lock:
                assert not turned.is_set()


async def test_those_who_wait_have_it_one_after_the_other() -> None:
    lock, order = ExchangeLock(), list[int]()

    async def ask(number: int) -> None:
        async with lock:
            order.append(number)
            await trio.lowlevel.checkpoint()
            order.append(number)

    async with trio.open_nursery() as nursery, lock:
        for number in range(3):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
    assert order == [0, 0, 1, 1, 2, 2]


async def test_who_is_cancelled_does_not_take_it() -> None:
    lock = ExchangeLock()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with lock:
            pytest.fail("taken")
    assert scope.cancelled_caught
    with trio.fail_after(1):
        async with lock:
            pass
