"""What disks were asked to write and to sync, and what was seen meanwhile, in one order.

A cut of the power at place N of the log leaves on a disk all that it wrote before its last sync
before N, and of what it wrote since then anything: whole writes or single sectors, in any order.
That is what a disk with a cache promises; ``dm-log-writes`` and CrashMonkey (Mohan et al., OSDI
2018) replay the same.
"""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal

SECTOR = 512
ENTRY = struct.Struct("<ccQI")
WRITE, SYNC, MARK = b"w", b"s", b"m"
Loss = Literal["nothing", "everything", "the end", "writes", "sectors"]
LOSSES: tuple[Loss, ...] = ("nothing", "everything", "the end", "writes", "sectors")


@dataclass(frozen=True, slots=True)
class Entry:
    """A write or sync of ``disk``, or a mark (then ``disk`` is ``-``)."""

    kind: bytes
    disk: str
    offset: int
    data: bytes


class PowerLog:
    """The log as it is written, by several threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._lock = Lock()

    def add(self, kind: bytes, disk: str, offset: int, data: bytes) -> None:
        with self._lock:
            self._file.write(ENTRY.pack(kind, disk.encode(), offset, len(data)) + data)

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[Entry]:
    text, at = path.read_bytes(), 0
    entries = []
    while at < len(text):
        kind, disk, offset, size = ENTRY.unpack_from(text, at)
        at += ENTRY.size
        entries.append(Entry(kind, disk.decode(), offset, text[at : at + size]))
        at += size
    return entries


def marks_before(entries: Sequence[Entry], place: int) -> list[bytes]:
    return [one.data for one in entries[:place] if one.kind == MARK]


def after_a_cut(
    base: bytes, entries: Sequence[Entry], disk: str, place: int, loss: Loss, dice: random.Random
) -> bytearray:
    """Return what ``disk`` holds if the power is cut before ``entries[place]``."""
    image = bytearray(base)
    unsynced: list[Entry] = []
    for one in entries[:place]:
        if one.disk != disk:
            continue
        if one.kind == WRITE:
            unsynced.append(one)
        elif one.kind == SYNC:
            for write in unsynced:
                image[write.offset : write.offset + len(write.data)] = write.data
            unsynced = []
    for offset, data in _survivors(unsynced, loss, dice):
        image[offset : offset + len(data)] = data
    return image


def _survivors(
    unsynced: Sequence[Entry], loss: Loss, dice: random.Random
) -> list[tuple[int, bytes]]:
    whole = [(one.offset, one.data) for one in unsynced]
    if loss == "nothing":
        return whole
    if loss == "everything":
        return []
    if loss == "the end":
        return whole[: dice.randint(0, len(whole))]
    if loss == "writes":
        return [one for one in whole if dice.random() < 0.5]
    sectors = [
        (offset + at, data[at : at + SECTOR])
        for offset, data in whole
        for at in range(0, len(data), SECTOR)
    ]
    return [one for one in sectors if dice.random() < 0.5]
