"""Where everything lies in a block: four regions, cut into chunks, by one rule for both ends.

[auth Alice->Bob][auth Bob->Alice][Alice's half][Bob's half][spare bits, burned]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["alice", "bob"]
Direction: TypeAlias = Literal["tx", "rx"]

CHUNK_BYTES = 4096
TAIL_BYTES = 8
"""A rest of a half that is shorter than the smallest key (64 bits) is burned by both ends."""


class Region(IntEnum):
    """A region of a block; the numbers are in the chunk ids on disk."""

    AUTH_ALICE = 0
    AUTH_BOB = 1
    HALF_ALICE = 2
    HALF_BOB = 3


HALVES = (Region.HALF_ALICE, Region.HALF_BOB)


def half_of(role: Role) -> Region:
    """Return the half from which this end alone allocates."""
    return Region.HALF_ALICE if role == "alice" else Region.HALF_BOB


def other(role: Role) -> Role:
    return "bob" if role == "alice" else "alice"


def auth_region(role: Role, direction: Direction) -> Region:
    """Return the region of the pads that ``role`` sends (tx) or checks (rx) with."""
    sender = role if direction == "tx" else other(role)
    return Region.AUTH_ALICE if sender == "alice" else Region.AUTH_BOB


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Sizes of a block's regions; ``spare_bits`` fit nowhere."""

    n_bits: int
    auth_bytes: int
    half_bytes: int

    @classmethod
    def of(cls, n_bits: int, wanted_auth_bytes: int) -> "BlockLayout":
        """Cut a block of ``n_bits``; a short one goes to authentication before the halves."""
        n_bytes = n_bits // 8
        auth_bytes = min(wanted_auth_bytes, n_bytes // 2)
        return cls(n_bits, auth_bytes, (n_bytes - 2 * auth_bytes) // 2)

    @property
    def spare_bits(self) -> int:
        return self.n_bits - 16 * (self.auth_bytes + self.half_bytes)

    def region(self, region: Region) -> tuple[int, int]:
        """Return first byte and length of a region inside the block."""
        starts = (0, self.auth_bytes, 2 * self.auth_bytes, 2 * self.auth_bytes + self.half_bytes)
        return starts[region], self.half_bytes if region in HALVES else self.auth_bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """``n_bytes`` of a region that lie in one chunk: from ``start`` in chunk ``number``."""

    number: int
    start: int
    n_bytes: int


def pieces(offset: int, n_bytes: int) -> Iterator[Piece]:
    """Cut a range of a region at its chunk borders."""
    while n_bytes > 0:
        number, start = divmod(offset, CHUNK_BYTES)
        size = min(n_bytes, CHUNK_BYTES - start)
        yield Piece(number, start, size)
        offset += size
        n_bytes -= size


def chunk_id(segment: int, region: Region, number: int) -> int:
    """Return the row id of a chunk: all of a segment are neighbours (2^24 chunks = 64 GiB)."""
    return segment << 26 | region << 24 | number
