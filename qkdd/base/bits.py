"""Bits: uint8 arrays of 0 and 1 inside, packed little-endian (bit 0 first) on every wire."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Bits: TypeAlias = npt.NDArray[np.uint8]


def packed_bytes(n_bits: int) -> int:
    """Return how many bytes ``n_bits`` take when packed."""
    return -(-n_bits // 8)


def pack(bits: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> bytes:
    """Pack 0/1 values; bit 0 is the lowest bit of byte 0, and the last byte is padded with 0."""
    return np.packbits(bits, bitorder="little").tobytes()


def unpack(data: bytes | bytearray | memoryview, n_bits: int) -> Bits:
    """Undo :func:`pack`.

    Raises
    ------
    ValueError
        If ``data`` is not exactly as long as ``n_bits`` need, or a padding bit is set.
    """
    return np.unpackbits(packed(data, n_bits), count=n_bits, bitorder="little")


def packed(data: bytes | bytearray | memoryview, n_bits: int) -> npt.NDArray[np.uint8]:
    """View what :func:`pack` made as it is: the bytes of ``n_bits``, and no others.

    Raises
    ------
    ValueError
        If ``data`` is not exactly as long as ``n_bits`` need, or a padding bit is set.
    """
    view = np.frombuffer(data, np.uint8)
    if view.size != packed_bytes(n_bits):
        raise ValueError(f"{view.size} bytes cannot be {n_bits} packed bits")
    if n_bits % 8 and view[-1] >> (n_bits % 8):
        raise ValueError(f"padding after {n_bits} packed bits is not zero")
    return view
