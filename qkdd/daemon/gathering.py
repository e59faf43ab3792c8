"""Requests of one kind on their way into the store: what waits goes together, as one operation.

A request that asks the store for itself costs a turn of the loop, a savepoint and statements of its
own; hundreds that come while the disk syncs cost little more than one.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import trio

from qkdd.daemon.store_service import StoreService
from qkdd.keys.store import KeyStore

Q = TypeVar("Q")
R = TypeVar("R")

MOST_TOGETHER = 64
"""Requests in one operation: each may be for many keys, and others wait for the commit."""


class Waiting(Generic[Q, R]):
    """One request, and what comes of it; wiped if nobody waits for it any more."""

    def __init__(self, asked: Q, wipe: Callable[[R], None]) -> None:
        self.asked = asked
        self._wipe = wipe
        self._done = trio.Event()
        self._given_up = False
        self._outcome: R | Exception | None = None

    @property
    def given_up(self) -> bool:
        return self._given_up

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def finish(self, outcome: R | Exception) -> None:
        """Say how it ended; the first word counts."""
        if self.done:
            return
        self._outcome = outcome
        self._done.set()
        if self._given_up:
            self.give_up()

    def give_up(self) -> None:
        """Nobody will take what comes of it."""
        self._given_up = True
        if self._outcome is not None and not isinstance(self._outcome, Exception):
            self._wipe(self._outcome)

    async def result(self) -> R:
        """Wait for the end, and return what came of it or raise what stood in the way."""
        try:
            await self._done.wait()
        except trio.Cancelled:
            self.give_up()
            raise
        assert self._outcome is not None
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


W = TypeVar("W")


class Gathering(Generic[W, R]):
    """``carry_out`` runs on the store's thread with all that waits when its turn comes; after the
    commit ``told`` hears what it returned, or ``failed`` what it raised, on the loop's."""

    def __init__(
        self,
        store: StoreService,
        carry_out: Callable[[KeyStore, Sequence[W]], R],
        told: Callable[[Sequence[W], R], None],
        failed: Callable[[Sequence[W], Exception], None],
    ) -> None:
        self._store = store
        self._carry_out = carry_out
        self._told = told
        self._failed = failed
        self._waiting: deque[W] = deque()
        self._asked = False
        """An operation is on its way that has not yet looked at what waits."""

    def add(self, one: W) -> None:
        self._waiting.append(one)
        self._ask()

    def _ask(self) -> None:
        if self._asked or not self._waiting:
            return
        self._asked = True
        taken: list[W] = []

        def operation(store: KeyStore) -> R | None:
            self._asked = False  # before the look: what comes after it asks anew
            self._take(taken, MOST_TOGETHER)
            return self._carry_out(store, taken) if taken else None

        def then(result: R | None) -> None:
            if result is not None:
                self._told(taken, result)
            self._ask()

        def failed(error: Exception) -> None:
            if not taken:  # it did not come to that
                self._asked = False
                self._take(taken, len(self._waiting))
            self._failed(taken, error)
            self._ask()

        self._store.post(operation, then, failed)

    def _take(self, taken: list[W], most: int) -> None:
        """Take what waits. Both threads may be at it, so that looking first would not help."""
        try:
            while len(taken) < most:
                taken.append(self._waiting.popleft())
        except IndexError:
            pass
