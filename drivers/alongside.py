"""A task that listens to an instrument for as long as the instrument is open."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def alongside(listen: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run ``listen`` while the body runs.

    The body's own error comes out, not a group around it: whoever opens an instrument catches
    InstrumentError, whether somebody listens to it or not. ``listen`` raises nothing.
    """
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            try:
                yield
            except Exception as error:  # raised again below, out of the nursery
                failure = error
            nursery.cancel_scope.cancel()
    finally:  # also if a cancel from outside ends the nursery: it must not hide the failure
        if failure is not None:
            raise failure
