"""What a WebSQ says on its control port: JSON objects, several glued together, ended by ETB.

Pure: bytes in, updates of labels out. An object is a label's new value (pushed unasked), or all
the properties of a label (asked for), its value among them.
"""

import json
from dataclasses import dataclass
from typing import Any

ETB = b"\x17"
LIMIT_BYTES = 16 << 20
"""The vendor's client takes 10 MB at once: a history of temperatures is long."""
HEAD_BYTES = 32

Json = Any
"""What `json` makes of text; whoever uses a value looks at it first."""


@dataclass(frozen=True, slots=True)
class Update:
    label: str
    value: Json
    full: bool
    """It came with all the label's properties, so that somebody had asked."""


@dataclass(frozen=True, slots=True)
class Garbled:
    """A message, or the rest of one, that was no JSON; the next is read again."""

    head: bytes


class JsonMessages:
    """Finds the objects in a stream, cut anywhere into chunks."""

    def __init__(self, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._message = bytearray()
        self._n_bytes = 0
        """Of this message so far; its bytes are kept up to the limit only."""

    def feed(self, data: bytes) -> list[Update | Garbled]:
        """Return what the messages say that end in ``data``."""
        *ended, rest = data.split(ETB)
        found: list[Update | Garbled] = []
        for piece in ended:
            self._append(piece)
            found += self._end()
        self._append(rest)
        return found

    def _append(self, piece: bytes) -> None:
        self._n_bytes += len(piece)
        self._message += piece[: max(0, self._limit_bytes - len(self._message))]

    def _end(self) -> list[Update | Garbled]:
        message = bytes(self._message)
        too_long = self._n_bytes > self._limit_bytes
        self._message.clear()
        self._n_bytes = 0
        if too_long:
            return [Garbled(message[:HEAD_BYTES])]
        try:
            text = message.decode("utf-8")
        except UnicodeDecodeError:
            return [Garbled(message[:HEAD_BYTES])]
        return _objects(text)


_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


def _objects(text: str) -> list[Update | Garbled]:
    found: list[Update | Garbled] = []
    at = _skip_space(text, 0)
    while at < len(text):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):  # no JSON, or nested to make us fall over
            value, end = None, len(text)
        if isinstance(value, dict):
            found += _updates(value)
        else:
            found.append(Garbled(text[at : at + HEAD_BYTES].encode()))
        at = _skip_space(text, end)
    return found


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _updates(told: dict[str, Json]) -> list[Update | Garbled]:
    """Read one object; one that names no label tells us nothing, and is legal."""
    label = told.get("label")
    if not isinstance(label, str) or "value" not in told:
        return []
    value = told["value"]
    if isinstance(value, dict) and "value" in value:
        return [Update(label, value["value"], full=True)]
    return [Update(label, value, full=False)]
