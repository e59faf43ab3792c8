"""CPU time of one thread, added up: in all, or by end of the link and stage."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


class CpuTime:
    """Adds up the thread CPU time of calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, call: Callable[[], T]) -> T:
        start = time.thread_time()
        try:
            return call()
        finally:
            self.seconds += time.thread_time() - start


class Stopwatch:
    """Adds up the CPU time of this thread, by end and stage."""

    def __init__(self) -> None:
        self.ns: dict[tuple[str, str], int] = {}

    def __call__(self, end: str, stage: str, call: Callable[..., T], *arguments: object) -> T:
        begin_ns = time.thread_time_ns()
        try:
            return call(*arguments)
        finally:
            spent_ns = time.thread_time_ns() - begin_ns
            self.ns[end, stage] = self.ns.get((end, stage), 0) + spent_ns

    def each(self, end: str, stage: str, items: Iterator[T]) -> Iterator[T]:
        """Time every step of an iterator."""
        while (item := self(end, stage, next, items, None)) is not None:
            yield item
