"""Look for keys in the memory of a running process, as a thief of its memory image would."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

PIECE_BYTES = 4 << 20
LONGEST_NEEDLE_BYTES = 64


def traces(pid: int, keys: Iterable[bytes]) -> list[str]:
    """Find halves of keys, raw or as base64 text, in all writable memory; say where each lies.

    Halves, since an allocator may have written over one end of a copy that was only freed.
    """
    needles = dict(one for key in keys for one in _needles(key))
    found = []
    for place, piece in _memory(pid):
        for needle, name in needles.items():
            if needle in piece:
                found.append(f"{name} in {place}")
    return found


def contains(pid: int, text: bytes) -> bool:
    return any(text in piece for _, piece in _memory(pid))


def _needles(key: bytes) -> Iterator[tuple[bytes, str]]:
    """Both halves, raw and of the base64 text; a delivered key's text begins with the key."""
    half = len(key) // 2
    text = base64.b64encode(key).rstrip(b"=")
    middle = len(text) // 2
    yield key[:half], "raw first half"
    yield key[half:], "raw second half"
    yield text[:middle], "base64 first half"
    yield text[middle:], "base64 second half"


def _memory(pid: int) -> Iterator[tuple[str, bytes]]:
    """Every readable and writable mapping, in pieces that overlap by a needle."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *rest = line.split(maxsplit=5)
            name = rest[3] if len(rest) > 3 else "anonymous memory"
            if not rights.startswith("rw") or name.startswith("[v"):
                continue
            start, stop = (int(end, 16) for end in span.split("-"))
            for at in range(start, stop, PIECE_BYTES):
                memory.seek(at)
                try:
                    piece = memory.read(min(PIECE_BYTES + LONGEST_NEEDLE_BYTES, stop - at))
                except OSError:
                    continue  # unmapped meanwhile, or a device's memory
                yield f"{name} {span}", piece
