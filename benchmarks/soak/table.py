"""Tell the run: a line for each bad day, a table by kind, what failed and how it ended."""

import dataclasses
import statistics
from collections.abc import Iterable

from benchmarks.soak.play import Day
from benchmarks.soak.verdict import Verdict


def line_of(day: Day) -> str:
    """One bad day as it goes by."""
    times = [shown(value) for value in (day.session_s, day.light_s, day.key_s)]
    failed = "  FAILED: " + "; ".join(day.failures) if day.failures else ""
    return (
        f"{day.began_s:7.1f} s  {day.kind:28} session {times[0]:>5} light {times[1]:>5} "
        f"key {times[2]:>5} s, {day.n_keys_at_one_end} at one end, "
        f"load {day.load:.1f}: {day.what}{failed}"
    )


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def by_kind(days: Iterable[Day]) -> list[str]:
    """The table, as Markdown."""
    kinds: dict[str, list[Day]] = {}
    for day in days:
        kinds.setdefault(day.kind, []).append(day)
    lines = [
        "| bad day | times | recovery median, s | longest, s | limit, s | failures |",
        "|---|---|---|---|---|---|",
    ]
    for name, of_kind in sorted(kinds.items()):
        known = [day.key_s for day in of_kind if day.key_s is not None]
        middle = f"{statistics.median(known):.1f}" if known else "-"
        longest = f"{max(known):.1f}" if len(known) == len(of_kind) else "never"
        n_failed = sum(bool(day.failures) for day in of_kind)
        lines.append(
            f"| {name} | {len(of_kind)} | {middle} | {longest} | {of_kind[0].limit_s:g} "
            f"| {n_failed} |"
        )
    return lines


def of_processes(verdict: Verdict) -> list[str]:
    lines = [
        "| process | lives | memory, MB, by thirds of the run: calm, median | highest "
        "| quarters of long lives, the longest first, calm | files, calm | threads, calm |",
        "|---|---|---|---|---|---|---|",
    ]
    for growth in verdict.growth:
        memory = ", ".join(f"{value:.0f}" for value in growth.rss_mb)
        peaks = ", ".join(f"{value:.0f}" for value in growth.peak_mb)
        lives = "; ".join(", ".join(f"{mb:.0f}" for mb in life) for life in growth.life_mb) or "-"
        files = ", ".join(map(str, growth.n_files))
        threads = ", ".join(map(str, growth.n_threads))
        lines.append(
            f"| {growth.name} | {growth.n_lives} | {memory} | {peaks} | {lives} "
            f"| {files} | {threads} |"
        )
    return lines


def failures_of(days: Iterable[Day], verdict: Verdict, seed: int) -> list[str]:
    """Every failure with its kind, its seed, what was seen and the end of the logs."""
    lines = []
    for day in days:
        if day.failures:
            lines.append(f"{day.kind} at {day.began_s:.1f} s of seed {seed}: {day.what}")
            lines += [f"  {text}" for text in day.failures]
            lines += [f"    {line}" for line in day.logs]
    lines += [f"at the end: {text}" for text in verdict.failures]
    return lines


def as_data(days: Iterable[Day], verdict: Verdict, seed: int) -> dict[str, object]:
    return {
        "seed": seed,
        "days": [dataclasses.asdict(day) for day in days],
        "verdict": dataclasses.asdict(verdict),
    }
