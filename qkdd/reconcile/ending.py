"""The end of a block, whatever the method: one hash of all bits, and Bob's verdict on it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits
from qkdd.base.entropy import Entropy
from qkdd.base.errors import PeerError
from qkdd.reconcile import checks
from qkdd.reconcile.ledger import HASH_BITS, Ledger, error_count_bits
from qkdd.reconcile.messages import BlockHash, BlockVerdict
from qkdd.reconcile.outcome import Reconciled


def hash_of_block(block_no: int, bits: Bits, ledger: Ledger, entropy: Entropy) -> BlockHash:
    """Alice's last word. The key is drawn here: Bob has fixed his bits."""
    key = checks.draw_block_key(entropy)
    ledger.block_hash += HASH_BITS
    return BlockHash(block_no=block_no, hash_key=key, hash=checks.block_hash(bits, key))


def conclude(
    message: BlockVerdict, bits: Bits, counts: Sequence[int], ledger: Ledger
) -> Reconciled:
    """Take Bob's verdict; ``counts`` are the bits of each intensity.

    Raises
    ------
    PeerError
        If he tells more errors than there are bits.
    """
    for intensity, (errors, count) in enumerate(zip(message.errors, counts, strict=True)):
        if not 0 <= errors <= (count if message.equal else 0):
            raise PeerError(f"{errors} errors in {count} bits of intensity {intensity}")
    ledger.verdict += 1
    ledger.error_counts += error_count_bits(bits.size)
    return Reconciled(
        block_no=message.block_no,
        ok=message.equal,
        bits=bits,
        key_errors=message.errors,
        ledger=ledger,
    )


def compare(
    message: BlockHash, bits: Bits, errors: npt.NDArray[np.int64], ledger: Ledger
) -> tuple[Reconciled, BlockVerdict]:
    """Bob's last word; ``errors`` are what he corrected, by intensity.

    Raises
    ------
    PeerError
        If the hash or its key has a wrong length.
    """
    if len(message.hash_key) != checks.BLOCK_KEY_BYTES:
        raise PeerError(f"block hash key of {len(message.hash_key)} bytes")
    if len(message.hash) * 8 != HASH_BITS:
        raise PeerError(f"block hash of {len(message.hash)} bytes")
    ok = checks.block_hash(bits, message.hash_key) == message.hash
    signal, weak, vacuum = (int(n) if ok else 0 for n in errors)
    ledger.block_hash += HASH_BITS
    ledger.verdict += 1
    ledger.error_counts += error_count_bits(bits.size)
    told = (signal, weak, vacuum)
    result = Reconciled(block_no=message.block_no, ok=ok, bits=bits, key_errors=told, ledger=ledger)
    return result, BlockVerdict(block_no=message.block_no, equal=ok, errors=told)


def count_errors(
    before: Bits, after: Bits, intensities: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int64]:
    """Bob's errors by intensity, where ``before`` is not ``after``."""
    wrong = np.flatnonzero(before != after)
    counted: npt.NDArray[np.int64] = np.bincount(intensities[wrong], minlength=3)
    wrong.fill(0)
    return counted
