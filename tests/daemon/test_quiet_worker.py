"""A quiet worker: results and errors come back from a thread that has stepped back."""

import os
import threading

import pytest
import trio

from qkdd.daemon.quiet_worker import STEPS_BACK, QuietWorker


def priority() -> tuple[int, int]:
    thread = threading.get_native_id()
    return thread, os.getpriority(os.PRIO_PROCESS, thread)


async def test_the_thread_steps_back_and_no_other_does() -> None:
    before = priority()
    worker = QuietWorker()
    thread, nice = await worker(priority)
    assert thread != before[0]
    assert nice == min(19, before[1] + STEPS_BACK)
    assert await worker(priority) == (thread, nice)
    assert priority() == before
    assert (await trio.to_thread.run_sync(priority))[1] == before[1]
    worker.close()


async def test_an_error_comes_out_where_the_result_would() -> None:
    worker = QuietWorker()
    with pytest.raises(ZeroDivisionError):
        await worker(divmod, 1, 0)
    assert await worker(divmod, 7, 2) == (3, 1)
    worker.close()


async def test_a_cancel_waits_for_what_has_begun_and_begins_nothing_more() -> None:
    worker = QuietWorker()
    go, seen = threading.Event(), []

    def work() -> None:
        go.wait(5)
        seen.append(1)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker, work)
            await trio.sleep(0.01)
            scope.cancel()
            go.set()
    assert seen == [1]
    with trio.CancelScope() as scope:
        scope.cancel()
        await worker(work)
    assert seen == [1]
    worker.close()
