"""Feed a target with inputs, one by one, and stop at the first that breaks its promise."""

import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import Mutator
from tests.fuzz.target import Target

MAX_CPU_S = 2.0
"""For one input; measured in the thread's own time, since the machine is others' too."""
HANGS_AFTER_S = 20.0
MAX_GROWTH_KIB = 128 << 10
"""Of the process's largest memory by one input."""
FORGET, PEAK = Path("/proc/self/clear_refs"), "5"
"""proc(5): sets the largest memory to the present one."""


class TooLong(BaseException):
    """One input took more of the processor than any may."""


class TooMuch(Exception):
    """One input took more memory than any may."""


@dataclass(frozen=True)
class Score:
    target: Target
    n_inputs: int
    n_accepted: int
    seconds: float
    """Processor time."""
    slowest_s: float
    broken: "Broken | None" = None

    @property
    def n_refused(self) -> int:
        return self.n_inputs - self.n_accepted - (self.broken is not None)

    @property
    def per_s(self) -> float:
        return self.n_inputs / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Broken:
    """An input that broke a target."""

    data: bytes
    error: BaseException


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """Yield the seeds as they are, then what becomes of them; the same for the same ``seed``."""
    yield from target.seeds
    mutator = Mutator(target, random.Random(f"{seed} {target.name}"))
    while True:
        yield mutator.next()


def drive(target: Target, source: Iterator[bytes], n_inputs: int) -> Score:
    """Feed ``n_inputs`` of ``source``, fewer if one breaks the target."""
    n_accepted, slowest_s = 0, 0.0
    start_s = before_s = time.thread_time()
    FORGET.write_text(PEAK)  # else nothing below what the process once took would be seen
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _alarmed():
        for n_done in range(n_inputs):
            data = next(source)
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, HANGS_AFTER_S)
                n_accepted += target.feed(data)
                now_s = time.thread_time()
                took_s, before_s = now_s - before_s, now_s
                slowest_s = max(slowest_s, took_s)
                if took_s > MAX_CPU_S:
                    raise TooLong(f"{took_s:.1f} s of processor time")
                kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                grown_kib, peak_kib = kib - peak_kib, kib
                if grown_kib > MAX_GROWTH_KIB:
                    raise TooMuch(f"{grown_kib} KiB of memory")
            except (Exception, TooLong) as error:
                spent_s = time.thread_time() - start_s
                broken = Broken(data, error)
                return Score(target, n_done + 1, n_accepted, spent_s, slowest_s, broken)
    return Score(target, n_inputs, n_accepted, time.thread_time() - start_s, slowest_s)


@contextmanager
def _alarmed() -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TooLong(f"still at it after {HANGS_AFTER_S:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
