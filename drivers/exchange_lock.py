"""A lock for one exchange at a time, which costs no turn of the loop while nobody holds it.

A relay at rest does little but ask its instruments, each for itself: a turn of the loop for every
lock was a fifth of what that costs.
"""

from types import TracebackType

import trio


class ExchangeLock:
    """As :class:`trio.Lock`, fair to those who wait; who is cancelled never takes it."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
