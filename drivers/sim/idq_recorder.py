"""The ID1000's record generator, and the RAW blocks that hold a record's time stamps.

After the "Time Controller Series User Manual", pp. 47, 48, 69, and the maker's public examples.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from drivers.sim.idq_routing import NOTHING, Ints
from drivers.sim.idq_scpi import PICOSECONDS, CommandTree, Mistake, keyword, on, on_off, whole

T = TypeVar("T")

DEAD_TIME_PS = 40_000
MAX_RECORD_PS = 10**18  # not documented
MAX_RECORDS = 10**9  # not documented


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packet:
    """What the device sends of one channel at a time."""

    channel: int
    stamps_ps: Ints
    """(n,) since the last reference event, or since the start of the record."""

    references: Ints
    """(n,) reference events of the record so far; empty if no reference was linked."""

    ends_record: bool


@dataclass(slots=True)
class Raw:
    """RAWn: the recorder of one channel."""

    source: str
    reference: str = "NONE"
    send: bool = False
    errors: int = 0
    n_held: int = 0
    stamps_ps: list[Ints] = field(default_factory=list)
    references: list[Ints] = field(default_factory=list)
    n_references: int = 0
    zero_ps: int = 0

    def begin(self, start_ps: int) -> None:
        """A record starts: without a reference event, its start is the reference."""
        self.n_references, self.zero_ps = 0, start_ps

    def record(self, times_ps: Ints, references_ps: Ints) -> int:
        """Take events of the running record, both in order of time; how many are held of them."""
        if not references_ps.size:
            return self._hold(times_ps - self.zero_ps, np.array([self.n_references]))
        before = np.searchsorted(references_ps, times_ps, side="right")
        zeros_ps = np.concatenate(([self.zero_ps], references_ps))[before]
        # light may be late by its own jitter, where two steps of the model meet
        n_held = self._hold(np.maximum(times_ps - zeros_ps, 0), before + self.n_references)
        self.n_references += references_ps.size
        self.zero_ps = int(references_ps[-1])
        return n_held

    def _hold(self, stamps_ps: Ints, references: Ints) -> int:
        if not self.send:
            return 0
        self.n_held += stamps_ps.size
        self.stamps_ps.append(stamps_ps)
        if self.reference != "NONE":
            self.references.append(np.broadcast_to(references, stamps_ps.shape))
        return stamps_ps.size

    def packet(self, channel: int, *, ends_record: bool) -> Packet:
        """All that is held, which is then gone from here."""
        packet = Packet(
            channel=channel,
            stamps_ps=np.concatenate(self.stamps_ps) if self.stamps_ps else NOTHING,
            references=np.concatenate(self.references) if self.references else NOTHING,
            ends_record=ends_record,
        )
        self.drop()
        return packet

    def drop(self) -> None:
        self.stamps_ps, self.references, self.n_held = [], [], 0


@dataclass(slots=True)
class Recorder:
    """RECord: when records start and end."""

    enabled: bool = False
    arming: str = "MANUAL"
    n_records: int | None = 1
    width_ps: int = 10**12
    period_ps: int = 10**12 + DEAD_TIME_PS
    playing: bool = False
    start_ps: int = 0
    n_done: int = 0

    @property
    def end_ps(self) -> int:
        return self.start_ps + self.width_ps

    def check(self, *, shortest_ps: int) -> None:
        """Mistake if it cannot play as it is set."""
        if not self.enabled:
            raise Mistake("the record generator is off")
        if self.n_records != 1:
            if self.width_ps < shortest_ps:
                raise Mistake(f"PWID {self.width_ps} ps is less than {shortest_ps} ps")
            if self.period_ps < self.width_ps + DEAD_TIME_PS:
                raise Mistake(f"PPER {self.period_ps} ps leaves less than 40 ns after PWID")

    def set_duration(self, text: str) -> None:
        self.width_ps = self._idle(duration)(text)
        self.period_ps = self.width_ps + DEAD_TIME_PS

    def _idle(self, read: Callable[[str], T]) -> Callable[[str], T]:
        """A reader for settings that cannot change while it plays (which is not documented)."""

        def idle_read(text: str) -> T:
            if self.playing:
                raise Mistake("stop the record generator first")
            return read(text)

        return idle_read

    def serve(self, tree: CommandTree) -> None:
        """Put the settings' commands into ``tree``; PLAY and STOP are the device's."""
        tree.bind("RECord:ENABle", [self], "enabled", on, on_off)
        tree.bind("RECord:TRIGger:ARM:MODE", [self], "arming", keyword("MANUal"), str)
        number, time = self._idle(how_many), self._idle(duration)
        tree.bind("RECord:NUMber", [self], "n_records", number, lambda n: str(n or "INF"))
        tree.bind("RECord:PWIDth", [self], "width_ps", time, "{}TB".format)
        tree.bind("RECord:PPERiod", [self], "period_ps", time, "{}TB".format)
        tree.add("RECord:DURation", put=lambda _, text: self.set_duration(text))
        tree.bind("RECord:STAGe", [self], "playing", None, stage)


def between(times_ps: Ints, start_ps: int, end_ps: int) -> Ints:
    """Those of rising times that are in ``start_ps <= t < end_ps``."""
    if not times_ps.size or (start_ps <= times_ps[0] and times_ps[-1] < end_ps):
        return times_ps
    first, stop = times_ps.searchsorted((start_ps, end_ps))
    return times_ps[first:stop]


def duration(text: str) -> int:
    return whole(text, PICOSECONDS, low=DEAD_TIME_PS, high=MAX_RECORD_PS)


def how_many(text: str) -> int | None:
    """How many; None without end."""
    return None if text == "INF" else whole(text, {"": 1}, low=1, high=MAX_RECORDS)


def stage(playing: object) -> str:
    """What is said besides PLAYING is not documented."""
    return "PLAYING" if playing else "IDLE"
