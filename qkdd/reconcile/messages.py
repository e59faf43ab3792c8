"""What the two ends say to each other while they reconcile a block.

Packed bits are little-endian (bit 0 first). ``first_frame`` names a batch by its first frame.
"""

import msgspec


class ReconcileMessage(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    block_no: int


class Syndromes(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Alice -> Bob: a batch of frames, in order."""

    first_frame: int
    qber_ppm: int
    """The public estimate that chose the codes; the same in every batch of a block."""

    check_key: bytes
    """One-time key of the frame checks (checks.FRAME_KEY_BYTES), drawn after the bits."""

    parities: tuple[bytes, ...]
    """Per frame: the packed parities of its base code, or its bits if it is disclosed."""

    checks: tuple[int, ...]
    """Per frame: its 32-bit check; 0 if the frame is disclosed."""


class Verdicts(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Bob -> Alice: one bit per frame still open in the batch: 1 again, 0 done."""

    first_frame: int
    round_no: int
    again: bytes


class Revealed(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Alice -> Bob: per open frame the parities of the round; after the last one, its bits."""

    first_frame: int
    round_no: int
    parts: tuple[bytes, ...]


class BlockHash(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Alice -> Bob: hash of all bits of the block, under a key drawn after Bob's last verdict."""

    hash_key: bytes
    hash: bytes


class BlockVerdict(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Bob -> Alice: whether the hashes agree, and his errors in the key basis by intensity."""

    equal: bool
    errors: tuple[int, int, int]


class Parities(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Alice -> Bob, with Cascade: parities of the nodes that this step of a search asks for."""

    search: int
    """Searches of a block are numbered from 0: one of each batch, and of what failed its checks."""

    step: int
    qber_ppm: int
    """The public estimate that chose the block sizes; the same in every step of a block."""

    parities: bytes


class Differences(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Bob -> Alice, with Cascade: one bit per parity of a step, 1 where his differs."""

    search: int
    step: int
    odd: bytes


class Checks(ReconcileMessage, frozen=True, kw_only=True, array_like=True, tag=True):
    """Alice -> Bob, with Cascade: checks of a search's frames; Bob answers with Verdicts."""

    search: int
    check_key: bytes
    """As in Syndromes; drawn after the search."""

    checks: tuple[int, ...]
