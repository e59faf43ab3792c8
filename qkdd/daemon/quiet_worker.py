"""Long computations beside the light: a thread that steps back when processors are scarce."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import trio

T = TypeVar("T")

STEPS_BACK = 10
"""Of niceness: a tenth of the weight. A block has until the end of the next one, the loop that
feeds the encoder has a second."""


class QuietWorker:
    """One thread of one distiller, for the life of its session; kernels release the GIL.

    Its thread is its own: one that has stepped back can not be made equal again without a
    privilege, and must not serve the store or the light later.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "distil", initializer=_step_back)

    async def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        """Run ``function`` and return its result. A cancel is heard when it has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        loop, done = trio.lowlevel.current_trio_token(), trio.Event()
        future = self._pool.submit(function, *arguments)
        future.add_done_callback(lambda _: loop.run_sync_soon(done.set))
        with trio.CancelScope(shield=True):
            await done.wait()
        return future.result()

    def close(self) -> None:
        """Let go of the thread."""
        self._pool.shutdown(wait=False)


def _step_back() -> None:
    """Lower the priority of this thread alone, as Linux counts it (sched(7), setpriority(2))."""
    thread = threading.get_native_id()
    now = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, now + STEPS_BACK)
