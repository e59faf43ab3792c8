"""JSON objects that follow each other without a terminator, taken out of a stream of bytes."""

import json

MAX_OBJECT_BYTES = 65_536


class NoObject(Exception):
    """Bytes that are no JSON object; they are gone, and the stream goes on after them."""


class ObjectStream:
    """Cut a stream at the brace that closes an object; what stands between objects is skipped."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._object = bytearray()
        self._depth = 0
        self._in_text = self._escaped = False

    def feed(self, data: bytes) -> list[dict[str, object] | NoObject]:
        """Give the objects that ``data`` completes, and a NoObject for each that is none."""
        found: list[dict[str, object] | NoObject] = []
        for byte in data:
            if not self._depth and byte != ord("{"):
                continue
            self._object.append(byte)
            self._follow(byte)
            if not self._depth:
                found.append(parsed(bytes(self._object)))
                self.clear()
            elif len(self._object) >= MAX_OBJECT_BYTES:
                found.append(NoObject(f"an object of more than {MAX_OBJECT_BYTES} bytes"))
                self.clear()
        return found

    def _follow(self, byte: int) -> None:
        if self._in_text:
            if self._escaped:
                self._escaped = False
            elif byte == ord("\\"):
                self._escaped = True
            elif byte == ord('"'):
                self._in_text = False
        elif byte == ord('"'):
            self._in_text = True
        elif byte == ord("{"):
            self._depth += 1
        elif byte == ord("}"):
            self._depth -= 1


def parsed(data: bytes) -> dict[str, object] | NoObject:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        return NoObject(str(error))
    assert isinstance(value, dict), "it begins with a brace"
    return value
