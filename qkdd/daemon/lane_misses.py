"""Counts the epochs of a lane that came without a key."""

from collections.abc import Iterable

from qkdd.relay.epochs import epoch_at
from qkdd.relay.settings import Lane


class MissCounter:
    """An epoch is missed if its number had not become a key by the time it began.

    Counting begins with the first key that there ever was: a new lane starts in the future.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._came: set[int] = set()
        self._first: int | None = None
        self._next: int | None = None
        self.n_missed = 0

    def ready(self, *numbers: int) -> None:
        """Note numbers that became keys; those of epochs that have begun came too late."""
        self._came.update(n for n in numbers if self._next is None or n >= self._next)
        first = min(numbers, default=None)
        if first is not None and (self._first is None or first < self._first):
            self._first = first

    def resume(self, numbers: Iterable[int], utc_s: float) -> None:
        """Begin with what the store has. Whether epochs that have begun had their keys, nobody
        remembers: those keys are used."""
        now = epoch_at(self._lane, utc_s)
        self.ready(*(number for number in numbers if number > now))

    def pass_time(self, utc_s: float) -> None:
        """Count the epochs that have begun since the last time."""
        now = epoch_at(self._lane, utc_s)
        if self._first is None:
            return
        start = self._first if self._next is None else self._next
        for number in range(start, now + 1):
            if number not in self._came:
                self.n_missed += 1
            self._came.discard(number)
        self._next = max(start, now + 1)
