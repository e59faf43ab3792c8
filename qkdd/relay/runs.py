"""Sets of numbers as they travel: runs (first, count), and bitmaps over a range."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from qkdd.base.bits import pack, unpack
from qkdd.base.errors import PeerError

MAX_RUN = 4_096
"""Numbers in one message."""


@dataclass(frozen=True, slots=True)
class Run:
    """Numbers ``first <= e < first + count``."""

    first: int
    count: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.first + self.count))


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """Return ``numbers`` (any order, no repeats) as rising runs of at most ``MAX_RUN``."""
    runs: list[Run] = []
    start = last = None
    for number in sorted(numbers):
        if start is None or last is None:
            start = number
        elif number != last + 1 or number - start == MAX_RUN:
            runs.append(Run(start, last + 1 - start))
            start = number
        last = number
    if start is not None and last is not None:
        runs.append(Run(start, last + 1 - start))
    return runs


def bitmap_of(run: Run, numbers: Iterable[int]) -> bytes:
    """Return one bit for each number of ``run``: whether it is among ``numbers``."""
    bits = np.zeros(run.count, np.uint8)
    for number in numbers:
        bits[number - run.first] = 1
    return pack(bits)


def numbers_in(run: Run, bitmap: bytes, what: str) -> list[int]:
    """Undo :func:`bitmap_of` for a bitmap from the peer."""
    try:
        bits = unpack(bitmap, run.count)
    except ValueError as error:
        raise PeerError(f"{what}: {error}") from error
    return [run.first + int(index) for index in np.flatnonzero(bits)]


def numbers_of(runs: Sequence[tuple[int, int]], limit: int, what: str) -> list[int]:
    """Read runs from the peer: rising, apart, of ``limit`` numbers at most in all."""
    for (first, count), (later, _) in pairwise(runs):
        if first + count > later:
            raise PeerError(f"{what}: runs at {first} and {later} overlap")
    total = sum(count for _, count in runs)
    if total > limit:
        raise PeerError(f"{what}: {total} numbers, limit {limit}")
    return [number for first, count in runs for number in range(first, first + count)]
