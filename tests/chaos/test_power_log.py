"""What a disk may hold after a power cut: all that was synced, and any of the rest."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.power_log import (
    LOSSES,
    MARK,
    SECTOR,
    SYNC,
    WRITE,
    Entry,
    Loss,
    PowerLog,
    after_a_cut,
    marks_before,
    read_log,
)
from tests.chaos.recorded_disk import Marker, mounted, recorded, why_not

BASE = bytes(8 * SECTOR)


def write(sector: int, letter: bytes, n_sectors: int = 1, disk: str = "a") -> Entry:
    return Entry(WRITE, disk, sector * SECTOR, letter * (n_sectors * SECTOR))


def held(entries: list[Entry], place: int, loss: Loss, seed: int = 0) -> str:
    """One letter for each sector of disk ``a``."""
    image = after_a_cut(BASE, entries, "a", place, loss, random.Random(seed))
    sectors = [bytes(image[at : at + SECTOR]) for at in range(0, len(image), SECTOR)]
    assert all(len(set(sector)) == 1 for sector in sectors)
    return "".join(chr(sector[0]) if sector[0] else "." for sector in sectors)


LOG = [
    write(0, b"x"),
    write(1, b"y"),
    Entry(SYNC, "a", 0, b""),
    write(1, b"z", 3),
    write(5, b"u", disk="b"),
    Entry(SYNC, "b", 0, b""),
    Entry(MARK, "-", 0, b"done"),
    write(0, b"v"),
]


def test_what_was_synced_is_there_and_what_was_not_may_be() -> None:
    assert held(LOG, len(LOG), "nothing") == "vzzz...."
    assert held(LOG, len(LOG), "everything") == "xy......"
    assert held(LOG, 2, "everything") == "........"
    assert held(LOG, 3, "everything") == "xy......"
    ways = {held(LOG, len(LOG), "the end", seed) for seed in range(50)}
    assert ways == {"xy......", "xzzz....", "vzzz...."}
    ways = {held(LOG, len(LOG), "writes", seed) for seed in range(50)}
    assert ways == {"xy......", "xzzz....", "vzzz....", "vy......"}
    ways = {held(LOG, len(LOG), "sectors", seed) for seed in range(300)}
    assert ways == {f"{a}{b}{c}{d}...." for a in "xv" for b in "yz" for c in ".z" for d in ".z"}


def test_marks_are_those_before_the_cut() -> None:
    assert marks_before(LOG, 6) == []
    assert marks_before(LOG, 7) == [b"done"]


@given(st.integers(0, len(LOG)), st.sampled_from(LOSSES), st.integers(0, 1000))
def test_no_cut_touches_what_nobody_wrote_to_since_the_sync(
    place: int, loss: Loss, seed: int
) -> None:
    assert held(LOG, place, loss, seed)[4:] == "...."
    if place >= 3:
        assert held(LOG, place, loss, seed)[0] in "xv"
        assert held(LOG, place, loss, seed)[1] in "yz"


def test_a_log_comes_back_as_it_was_written(tmp_path: Path) -> None:
    log = PowerLog(tmp_path / "log")
    for one in LOG:
        log.add(one.kind, one.disk, one.offset, one.data)
    log.close()
    assert read_log(tmp_path / "log") == LOG


def test_a_file_that_was_synced_before_a_cut_is_on_the_disk_whatever_is_lost(
    tmp_path: Path,
) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    disk = tmp_path / "disk"
    with recorded(tmp_path, [("a", disk)]) as recorder:
        marker = Marker(recorder.marks)
        for number in range(6):
            with (disk / f"{number % 3}").open("wb") as file:
                file.write(b"%04d" % number * 500)
                file.flush()
                os.fsync(file.fileno())
            marker.mark(b"%d" % number)
        marker.close()
    entries = read_log(recorder.log)
    places = [at for at, one in enumerate(entries) if one.kind == MARK]
    assert [marks_before(entries, at + 1)[-1] for at in places] == [b"%d" % n for n in range(6)]
    for number, loss in ((5, "everything"), (4, "sectors")):
        image = after_a_cut(
            recorder.bases["a"], entries, "a", places[number] + 1, loss, random.Random(number)
        )
        (tmp_path / "image").write_bytes(image)
        with mounted(tmp_path / "image", tmp_path / "after"):
            assert (tmp_path / "after" / f"{number % 3}").read_bytes() == b"%04d" % number * 500
