"""What a check has found, and how bad it is."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["ok", "warning", "trouble"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "trouble")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's report."""

    check: str
    level: Level
    text: str
    cure: str | None = None


def ok(check: str, text: str) -> Finding:
    return Finding(check=check, level="ok", text=text)


def warning(check: str, text: str, cure: str) -> Finding:
    return Finding(check=check, level="warning", text=text, cure=cure)


def trouble(check: str, text: str, cure: str) -> Finding:
    return Finding(check=check, level="trouble", text=text, cure=cure)


def worst(findings: Sequence[Finding]) -> Level:
    """Return the level of the worst finding; nothing found is ok."""
    return max((one.level for one in findings), key=LEVELS.index, default="ok")
