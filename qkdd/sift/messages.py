"""What the two ends of a link say to each other while they sift a block.

Byte fields of bits are packed, bit 0 of byte 0 first, and padded with zero bits. Chunk ``c`` of
each message speaks of the same clicks: ``CHUNK_CLICKS`` of them, or the rest in the last chunk.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from qkdd.sift.clicks import CHUNK_CLICKS
from qkdd.sift.gaps import MAX_ESCAPES

BlockNumber = Annotated[int, Meta(ge=0, le=2**62)]
Count = Annotated[int, Meta(ge=0, le=2**32)]
PackedBits = Annotated[bytes, Meta(max_length=CHUNK_CLICKS // 8)]
Gaps = Annotated[bytes, Meta(max_length=2 * (CHUNK_CLICKS + MAX_ESCAPES))]


class SiftMessage(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    block_no: BlockNumber


class Clicks(SiftMessage, frozen=True, kw_only=True):
    """Bob -> Alice, once the block's last pulse has arrived: where he clicked, in which basis."""

    chunk: Count
    n_clicks: Count
    """Of the whole block, the same in every chunk."""
    gaps: Gaps
    """<u2 words: see :mod:`qkdd.sift.gaps`."""
    bases: PackedBits
    """One bit a click: Bob's basis."""


class Kept(SiftMessage, frozen=True, kw_only=True):
    """Alice -> Bob, once she has the complete list: which clicks stay, and what they were."""

    chunk: Count
    kept: PackedBits
    """One bit a click: the bases are equal."""
    weak: PackedBits
    """One bit a kept click: the intensity is WEAK."""
    vacuum: PackedBits
    """One bit a kept click: the intensity is VACUUM. Neither: SIGNAL."""
    test_bits: PackedBits
    """One bit a kept click of the test basis: Alice's bit."""


class TestErrors(SiftMessage, frozen=True, kw_only=True):
    """Bob -> Alice: how many of his test-basis bits differ, by intensity."""

    __test__ = False  # a message, whatever its name says to pytest

    errors: tuple[Count, Count, Count]
