"""The soak's own reckoning: which block was sent when, what has grown, what the table says."""

import json
import random
from pathlib import Path

import pytest

from benchmarks.soak.__main__ import KINDS, deck
from benchmarks.soak.eyes import Sample
from benchmarks.soak.play import Day
from benchmarks.soak.sent import BLOCK_S, first_after, key_of
from benchmarks.soak.table import by_kind
from benchmarks.soak.verdict import growth_of

NOON_S = 1_764_244_800.0  # 2025-11-27T12:00:00Z


def a_log(folder: Path, *events: tuple[float, str, dict[str, int]]) -> Path:
    """Lines as a relay writes them, so many seconds after noon."""
    path = folder / "relay-a.log"
    lines = []
    for second, event, fields in events:
        stamp = f"2025-11-27T12:{int(second) // 60:02}:{second % 60:09.6f}Z"
        lines.append("<6>" + json.dumps(fields | {"event": event, "timestamp": stamp}))
    path.write_text("\n".join(["no JSON at all", *lines]))
    return path


def test_the_block_under_way_is_reckoned_from_the_run_that_began_last(tmp_path: Path) -> None:
    log = a_log(
        tmp_path,
        (0, "run started", {"first_block": 7}),
        (60, "run started", {"first_block": 30}),
    )
    assert first_after(log, NOON_S + 1) == 7
    assert first_after(log, NOON_S + 2.5 * BLOCK_S) == 9
    assert first_after(log, NOON_S + 60 + 1.5 * BLOCK_S) == 31


def test_after_the_dark_the_first_block_of_the_next_run_counts(tmp_path: Path) -> None:
    """The run's end is not in these lines: reckoned on, its blocks would be past the next run's."""
    log = a_log(
        tmp_path,
        (0, "run started", {"first_block": 7}),
        (60, "run started", {"first_block": 12}),
    )
    assert first_after(log, NOON_S + 59) == 12


def test_only_key_of_the_blocks_asked_for_is_counted(tmp_path: Path) -> None:
    blocks = [
        (float(n), "block distilled", {"block_no": n, "n_secret_bits": 10**n}) for n in range(5)
    ]
    assert key_of(a_log(tmp_path, *blocks), 1, 3) == 1110


def sample(
    at_s: float, rss_mb: float, *, calm: bool = True, n_files: int = 20, pid: int = 1
) -> Sample:
    return Sample(at_s, "relay-a", pid, rss_mb, 4, n_files, calm)


@pytest.mark.parametrize(
    ("last_mb", "last_files", "n_failures"), [(109, 23, 0), (112, 20, 1), (100, 24, 1)]
)
def test_growth_over_the_run_is_a_failure(last_mb: float, last_files: int, n_failures: int) -> None:
    samples = [sample(1, 100), sample(50, 500), sample(80, last_mb, n_files=last_files)]
    growth = growth_of(samples, "relay-a", 90.0)
    assert growth.rss_mb == [100, 500, last_mb]
    assert len(growth.failures) == n_failures


@pytest.mark.parametrize(("peak_mb", "n_failures"), [(220, 0), (230, 1)])
def test_what_waits_behind_a_stall_is_no_leak_but_has_an_end(
    peak_mb: float, n_failures: int
) -> None:
    samples = [sample(at_s, 100) for at_s in range(90)]
    samples += [sample(20, 150, calm=False), sample(70, peak_mb, calm=False)]
    growth = growth_of(samples, "relay-a", 90.0)
    assert growth.peak_mb == [150, 100, peak_mb]
    assert len(growth.failures) == n_failures


@pytest.mark.parametrize(("leak_mb_per_min", "n_failures"), [(0.0, 0), (1.0, 0), (3.0, 1)])
def test_a_leak_of_every_life_is_found_though_the_thirds_are_alike(
    leak_mb_per_min: float, n_failures: int
) -> None:
    """Three lives of 10 minutes, each as large at its end as the one before it."""
    samples = [
        sample(at_s, 100 + leak_mb_per_min * (at_s % 600) / 60, pid=1 + at_s // 600)
        for at_s in range(1800)
    ]
    growth = growth_of(samples, "relay-a", 1800.0)
    assert len(growth.life_mb) == 3
    assert len(growth.failures) == n_failures


@pytest.mark.parametrize(("long_mb", "n_failures"), [([100] * 4, 0), ([100, 105, 110, 115], 1)])
def test_what_a_short_life_seems_to_leak_must_be_seen_in_the_longest(
    long_mb: list[float], n_failures: int
) -> None:
    samples = [sample(at_s, 95 + 5 * (at_s // 100), pid=1) for at_s in range(400)]
    samples += [
        sample(500 + at_s, long_mb[max(0, at_s - 120) // 220], pid=2) for at_s in range(999)
    ]
    growth = growth_of(samples, "relay-a", 4000.0)
    assert len(growth.life_mb) == 2
    assert len(growth.failures) == n_failures


def test_what_rises_once_in_a_life_and_stays_is_no_leak() -> None:
    samples = [sample(at_s, 60 if at_s < 700 else 70, pid=1) for at_s in range(1200)]
    growth = growth_of(samples, "relay-a", 3600.0)
    assert growth.life_mb == [[60, 60, 70, 70]]
    assert not growth.failures


def test_a_short_life_says_nothing_about_growth() -> None:
    samples = [sample(at_s, 60 + at_s, pid=7) for at_s in range(300)]
    assert not growth_of(samples, "relay-a", 3600.0).life_mb


def test_files_of_a_bad_day_are_not_taken_for_growth() -> None:
    samples = [sample(1, 100), sample(80, 100), sample(81, 100, calm=False, n_files=99)]
    assert not growth_of(samples, "relay-a", 90.0).failures


def test_a_recovery_that_never_came_is_not_hidden_by_those_that_did() -> None:
    days = [Day("x", 30.0, 0.0, key_s=5.0), Day("x", 30.0, 9.0, failures=["late"])]
    assert by_kind(days)[-1] == "| x | 2 | 5.0 | never | 30 | 1 |"


def test_the_deck_has_every_kind_once_before_any_comes_again() -> None:
    kinds = list(KINDS.values())
    cards = deck(kinds, random.Random(1))
    first, second = ([next(cards).name for _ in kinds] for _ in range(2))
    assert sorted(first) == sorted(second) == sorted(KINDS)
    assert first != second
