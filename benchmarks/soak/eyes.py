"""What the soak sees while it runs: the state of both ends, and what every process takes."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import trio

from qkdd.cli.demo.files import ALICE, BOB
from qkdd.daemon.snapshot import LinkSnapshot
from tests.whole.site import Site

LOOK_EVERY_S = 0.1
MEASURE_EVERY_S = 1.0
KB_PER_MB = 1024
RELAYS = (ALICE, BOB)


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at_s: float
    name: str
    pid: int
    rss_mb: float
    n_threads: int
    n_files: int
    calm: bool
    """No bad day is under way, and the last one is over."""


@dataclass
class Eyes:
    """``ends`` are the last snapshots, None of a relay that does not answer."""

    site: Site
    started_s: float
    ends: dict[str, LinkSnapshot | None] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    calm: bool = False
    last_dark_s: float = -math.inf
    """When an end was last seen without light, by trio's clock."""

    def now_s(self) -> float:
        return trio.current_time() - self.started_s

    @property
    def lit(self) -> bool:
        """Both ends have a session and light."""
        return all(end is not None and end.state == "light" for end in map(self.ends.get, RELAYS))

    def newest_key(self) -> int:
        """The number of the last block if it made key at both ends; -1 if it did not."""
        numbers = set()
        for end in map(self.ends.get, RELAYS):
            block = None if end is None else end.last_block
            numbers.add(-1 if block is None or not block.n_secret_bits else block.block_no)
        return min(numbers)

    async def look(self) -> None:
        """Look at both ends, once."""
        for relay in RELAYS:
            with trio.move_on_after(1.0) as scope:
                self.ends[relay] = await self.site.link(relay)
            if scope.cancelled_caught:
                self.ends[relay] = None
        if not self.lit:
            self.last_dark_s = trio.current_time()

    async def watch(self) -> None:
        """Look until cancelled."""
        measured_s = 0.0
        while True:
            await self.look()
            if trio.current_time() - measured_s >= MEASURE_EVERY_S:
                measured_s = trio.current_time()
                self._measure()
            await trio.sleep(LOOK_EVERY_S)

    def _measure(self) -> None:
        children = [*self.site.children.values(), *([self.site.lab] if self.site.lab else [])]
        for child in children:
            try:
                self.samples.append(self._sample(child.name, child.process.pid))
            except (OSError, IndexError):
                continue  # it has just ended

    def _sample(self, name: str, pid: int) -> Sample:
        status = Path(f"/proc/{pid}/status").read_text()

        def value(key: str) -> int:
            return int(status.partition(f"{key}:")[2].split()[0])

        return Sample(
            at_s=self.now_s(),
            name=name,
            pid=pid,
            rss_mb=value("VmRSS") / KB_PER_MB,
            n_threads=value("Threads"),
            n_files=len(os.listdir(f"/proc/{pid}/fd")),
            calm=self.calm,
        )
