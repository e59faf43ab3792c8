"""A log to which one can only add: each line carries the hash of the line before.

    hash = SHA-256(JSON of the record with an empty hash)       prev = hash of the record before

Whoever changes, takes out or puts in a line must write all lines behind it anew, and then the last
hash is another one than was told elsewhere. A line that a crash has cut short stays; the next
record, ``torn``, names its hash.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

NO_HASH = "0" * 64
TORN = "torn"
MAX_FIELD_CHARS = 300


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line."""

    n: int
    time: str
    event: str
    fields: dict[str, str]
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many records there are, and the hash of the last."""

    n: int = 0
    hash: str = NO_HASH
    torn: bytes = b""
    """A line cut short behind the last record."""


class ChainBroken(Exception):
    """A line does not follow from the one before; says which, and why."""


def record_line(head: Head, time: str, event: str, fields: dict[str, str]) -> tuple[bytes, Head]:
    """Write the next record behind ``head``; return its line, and the new head."""
    short = {name: value[:MAX_FIELD_CHARS] for name, value in fields.items()}
    record = Record(n=head.n + 1, time=time, event=event, fields=short, prev=head.hash, hash="")
    digest = hashlib.sha256(msgspec.json.encode(record)).hexdigest()
    full = msgspec.structs.replace(record, hash=digest)
    return msgspec.json.encode(full) + b"\n", Head(full.n, digest)


def torn_fields(torn: bytes) -> dict[str, str]:
    """What the record behind a torn line must say."""
    return {"bytes": str(len(torn)), "sha256": hashlib.sha256(torn).hexdigest()}


def follow(lines: Iterable[bytes]) -> Head:
    """Follow a chain from its first line to its end.

    Raises
    ------
    ChainBroken
        At the first line that does not follow from the one before.
    """
    head = Head()
    for number, line in enumerate(lines, start=1):
        head = _step(head, line, number)
    return head


def mended(head: Head) -> Head | None:
    """Return the head behind a torn line that lacks nothing but its end; None if it lacks more.

    With its end it is a record like any other, and none behind it may say that it is torn.
    """
    whole = head.torn + b"\n"
    return None if _read(whole) is None else _step(Head(head.n, head.hash), whole, head.n + 1)


def _step(head: Head, line: bytes, number: int) -> Head:
    record = _read(line)
    if line == b"\n":
        raise ChainBroken(f"line {number} is empty")
    if record is None:
        if head.torn:
            raise ChainBroken(f"line {number - 1} is no record, and line {number} does not say so")
        return Head(head.n, head.hash, line.rstrip(b"\n"))
    if head.torn and (record.event, record.fields) != (TORN, torn_fields(head.torn)):
        raise ChainBroken(f"line {number - 1} is no record, and line {number} does not say so")
    if record.n != head.n + 1:
        raise ChainBroken(f"line {number}: record {record.n} follows record {head.n}")
    if record.prev != head.hash:
        raise ChainBroken(f"line {number}: record {record.n} does not follow from the one before")
    return Head(record.n, record.hash)


def _read(line: bytes) -> Record | None:
    """Read a line that is a record, whole and unchanged."""
    try:
        record = msgspec.json.decode(line, type=Record)
        again, _ = record_line(
            Head(record.n - 1, record.prev), record.time, record.event, record.fields
        )
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return record if again == line else None
