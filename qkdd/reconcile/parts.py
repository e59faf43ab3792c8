"""Packed bits of the peer's, unpacked or refused."""

from qkdd.base.bits import Bits, packed_bytes, unpack
from qkdd.base.errors import PeerError


def unpacked(part: bytes, n_bits: int) -> Bits:
    """Return ``n_bits`` bits of ``part``.

    Raises
    ------
    PeerError
        If it holds more or fewer.
    """
    if len(part) != packed_bytes(n_bits):
        raise PeerError(f"{len(part)} bytes where {n_bits} packed bits belong")
    try:
        return unpack(part, n_bits)
    except ValueError as error:
        raise PeerError(str(error)) from error
