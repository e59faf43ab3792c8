"""Which block was sent when, as the transmitter's log tells it: light before and after a moment.

Not while its wall clock is stepped.
"""

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PULSE_RATE_HZ = 50_000_000
BLOCK_PULSES = 20 * 10_000_000
BLOCK_S = BLOCK_PULSES / PULSE_RATE_HZ
PREAMBLE_S = 5_000_000 / PULSE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Told:
    """A line of a log."""

    wall_s: float
    event: str
    number: int
    n_secret_bits: int


def lines_of(log: Path) -> Iterator[Told]:
    """Runs that began, with their first block, and blocks that were distilled."""
    for line in log.read_text(errors="replace").splitlines():
        if '"run started"' not in line and '"block distilled"' not in line:
            continue
        fields = json.loads(line[line.index("{") :])
        yield Told(
            wall_s=datetime.datetime.fromisoformat(fields["timestamp"]).timestamp(),
            event=fields["event"],
            number=fields.get("first_block", fields.get("block_no")),
            n_secret_bits=fields.get("n_secret_bits", 0),
        )


def first_after(log: Path, wall_s: float) -> int:
    """The first block with light from after ``wall_s``: the one under way then, or a new run's."""
    number = 0
    for told in lines_of(log):
        if told.event == "run started":
            if told.wall_s > wall_s:
                return min(number, told.number) if number else told.number
            number = told.number + max(0, int((wall_s - told.wall_s - PREAMBLE_S) / BLOCK_S))
    return number


def key_of(log: Path, first: int, last: int) -> int:
    """Secret bits that were made of blocks ``first`` to ``last``."""
    return sum(
        told.n_secret_bits
        for told in lines_of(log)
        if told.event == "block distilled" and first <= told.number <= last
    )
