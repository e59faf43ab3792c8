"""Demands on an instrument, and what is demanded of every kind."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from drivers.identity import Identity

T = TypeVar("T")

CALL_TIMEOUT_S = 15.0
CUT_AFTER_S = 0.001


class NotConforming(AssertionError):
    """What an instrument of this kind must do, and this one does not."""


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise NotConforming(what)


async def refuses(action: Awaitable[object], error: type[Exception], what: str) -> None:
    try:
        await action
    except error:
        return
    raise NotConforming(f"{what} did not raise {error.__name__}")


async def check_identity(identity: Callable[[], Awaitable[Identity]]) -> None:
    first = await identity()
    demand(bool(first.model), f"no model in {first}")
    demand(await identity() == first, f"another identity at the second time than {first}")


async def check_survives_a_cut(ask: Callable[[], Awaitable[T]]) -> None:
    """A query that is cancelled must not spoil the next one."""
    before = await ask()
    with trio.move_on_after(CUT_AFTER_S):
        await ask()
    after = await ask()
    demand(after == before, f"after a cancelled query: {after!r} instead of {before!r}")
