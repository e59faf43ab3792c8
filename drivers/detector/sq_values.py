"""Values that a WebSQ tells, looked at before they are believed."""

import math

from drivers.detector import DetectorCounts
from drivers.detector.sq_json import Json
from drivers.errors import BadReply

MODEL = "WebSQ"


def as_bool(told: Json) -> bool | None:
    """Return a truth, which some boxes may tell as 0 or 1."""
    return bool(told) if isinstance(told, bool | int) and told in (0, 1) else None


def as_number(told: Json) -> float | None:
    """Return a finite number; JSON as Python reads it also has NaN, and integers without end."""
    if isinstance(told, bool) or not isinstance(told, int | float):
        return None
    try:
        number = float(told)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_numbers(told: Json, n_numbers: int) -> tuple[float, ...] | None:
    if not isinstance(told, list) or len(told) != n_numbers:
        return None
    numbers = [as_number(one) for one in told]
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == n_numbers else None


def require_bool(told: Json, label: str) -> bool:
    truth = as_bool(told)
    if truth is None:
        raise BadReply(f"{MODEL}: {label} is {told!r:.80}, neither true nor false")
    return truth


def require_count(told: Json, label: str) -> int:
    number = require_number(told, label)
    if number < 1 or number != round(number):
        raise BadReply(f"{MODEL}: {label} is {number:g}, no number of things")
    return round(number)


def require_number(told: Json, label: str) -> float:
    number = as_number(told)
    if number is None:
        raise BadReply(f"{MODEL}: {label} is {told!r:.80}, no number")
    return number


def require_numbers(told: Json, n_numbers: int, label: str) -> tuple[float, ...]:
    numbers = as_numbers(told, n_numbers)
    if numbers is None:
        raise BadReply(f"{MODEL}: {label} is {told!r:.80}, not {n_numbers} numbers")
    return numbers


def read_counts(line: bytes, *, n_detectors: int, period_ms: int) -> DetectorCounts:
    """Read a line of counts: seconds since 1970, then one count for each detector.

    Raises
    ------
    BadReply
        If it is not of that form.
    """
    try:
        time_s, *counts = [float(field) for field in line.decode("ascii").split(",")]
    except ValueError:
        time_s, counts = math.nan, []
    fine = math.isfinite(time_s) and all(0 <= one < 2**63 for one in counts)
    if not fine or len(counts) != n_detectors:
        raise BadReply(f"{MODEL}: {line[:80]!r} is no time and {n_detectors} counts")
    return DetectorCounts(
        time_s=time_s, period_ms=period_ms, counts=tuple(round(one) for one in counts)
    )
