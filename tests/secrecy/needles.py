"""What a secret looks like wherever it may have been left: raw, as text, packed, or a bit a byte.

A needle is 16 or 64 bytes: enough that none is found by chance, short enough that half a secret
in freed memory still shows.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHORT_BYTES, LONG_BYTES = 16, 64
WINDOWS = 64
"""Places of a long secret that are looked for; a piece of 1/64 of it is found for sure."""
MIN_DIFFERENT_BYTES = {SHORT_BYTES: 6, LONG_BYTES: 2}
"""Fewer, and it is no piece of a secret but padding."""

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Needle:
    """``name`` says what it is, and never shows it."""

    name: str
    pattern: bytes


def of_bytes(name: str, secret: bytes) -> Iterator[Needle]:
    """Every form of a secret of bytes, from several windows if it is long."""
    for start in _windows(len(secret), SHORT_BYTES):
        piece = secret[start : start + SHORT_BYTES]
        yield from _short(name, {"raw": piece})
        yield from _short(name, _texts(secret[start : start + 3 * SHORT_BYTES]))
        for order in ("little", "big"):
            bits = np.unpackbits(np.frombuffer(piece, np.uint8), bitorder=order)
            yield from _long(f"{name}, {order}-endian bits", bits)


def of_bits(name: str, bits: Bits) -> Iterator[Needle]:
    """Every form of an array of 0 and 1: as it is, packed either way at every place in a byte,
    and the packed bytes as text."""
    n_bits = 8 * (SHORT_BYTES + 1)
    for start in _windows(bits.size, n_bits):
        window = bits[start : start + n_bits]
        yield from _long(f"{name}, a bit a byte", window)
        for order in ("little", "big"):
            packed = [
                np.packbits(window[shift : shift + 8 * SHORT_BYTES], bitorder=order).tobytes()
                for shift in range(8)
            ]
            for piece in packed:
                yield from _short(name, {f"packed {order}-endian": piece})
    packed_bytes = np.packbits(bits, bitorder="little").tobytes()
    for start in _windows(len(packed_bytes), 3 * SHORT_BYTES):
        yield from _short(name, _texts(packed_bytes[start : start + 3 * SHORT_BYTES]))


def of_symbols(name: str, symbols: npt.NDArray[np.uint8]) -> Iterator[Needle]:
    """An array of small numbers, one a byte (detectors): as it is."""
    for start in _windows(symbols.size, LONG_BYTES):
        yield from _long(f"{name}, a click a byte", symbols[start : start + LONG_BYTES])


def _texts(piece: bytes) -> dict[str, bytes]:
    """Hexadecimal, and base64 with the piece at each of three places in a group."""
    found = {"hex": piece.hex().encode(), "HEX": piece.hex().upper().encode()}
    for phase in range(3):
        text = base64.b64encode(piece[phase : phase + len(piece) - 3])
        found[f"base64, phase {phase}"] = text[: 4 * (len(text) // 4) - 4]
    return found


def _windows(size: int, length: int) -> Iterable[int]:
    """Where windows begin, evenly spread; none if the whole is shorter than one."""
    last = size - length
    if last < 0:
        return ()
    return sorted({round(at) for at in np.linspace(0, last, min(WINDOWS, last + 1))})


def _short(name: str, forms: dict[str, bytes]) -> Iterator[Needle]:
    for form, pattern in forms.items():
        yield from _checked(f"{name}, {form}", pattern[:SHORT_BYTES], SHORT_BYTES)


def _long(name: str, symbols: npt.NDArray[np.uint8]) -> Iterator[Needle]:
    yield from _checked(name, symbols[:LONG_BYTES].tobytes(), LONG_BYTES)


def _checked(name: str, pattern: bytes, length: int) -> Iterator[Needle]:
    if len(pattern) == length and len(set(pattern)) >= MIN_DIFFERENT_BYTES[length]:
        yield Needle(name, pattern)
