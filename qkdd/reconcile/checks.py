"""Do both ends hold the same bits? A 32-bit check per frame and a 64-bit hash per block.

Each is Poly1305 under a fresh one-time key, then a random Toeplitz map of the 128-bit tag. The key
is drawn after the bits are fixed and goes in the clear: the tag is no authenticator here, only a
member of an almost-universal family. Two unequal strings of L bytes collide with probability at
most ``8 ceil(L/16) / 2^106`` (Poly1305, Bernstein 2005, doi:10.1007/11502760_3, theorem 3.3) plus
``2^-n_out`` (Toeplitz, Krawczyk 1994, doi:10.1007/3-540-48658-5_15). One key serves all frames of
a batch; the bound holds for each frame.
"""

import numpy as np
from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkdd.base.bits import Bits
from qkdd.base.entropy import Entropy
from qkdd.reconcile.ledger import CHECK_BITS, HASH_BITS

POLY1305_KEY_BYTES = 32
TAG_BITS = 128


def key_bytes(n_out: int) -> int:
    """Return the length of a hash key: Poly1305's, and ``128 + n_out - 1`` Toeplitz bits."""
    return POLY1305_KEY_BYTES + (TAG_BITS + n_out - 1 + 7) // 8


FRAME_KEY_BYTES = key_bytes(CHECK_BITS)
BLOCK_KEY_BYTES = key_bytes(HASH_BITS)


def collision_bound(n_bits: int, n_out: int) -> float:
    """Return the probability at most that unequal strings of ``n_bits`` pass."""
    pieces = -(-n_bits // TAG_BITS)
    return 2.0**-n_out + 8 * pieces / 2.0**106


def _hash(bits: Bits, key: bytes, n_out: int) -> int:
    assert len(key) == key_bytes(n_out)
    packed = np.packbits(bits, bitorder="little")  # raw key: an array, so that it can be wiped
    tag = Poly1305.generate_tag(key[:POLY1305_KEY_BYTES], packed.data)
    packed.fill(0)
    column = int.from_bytes(tag, "little")
    diagonals = int.from_bytes(key[POLY1305_KEY_BYTES:], "little")
    out = 0
    for row in range(n_out):
        out |= ((column & (diagonals >> row)).bit_count() & 1) << row
    return out


def frame_check(bits: Bits, key: bytes) -> int:
    """Return the 32-bit check of a frame under a key of FRAME_KEY_BYTES."""
    return _hash(bits, key, CHECK_BITS)


def block_hash(bits: Bits, key: bytes) -> bytes:
    """Return the 64-bit hash of a block under a key of BLOCK_KEY_BYTES."""
    return _hash(bits, key, HASH_BITS).to_bytes(HASH_BITS // 8, "little")


def draw_frame_key(entropy: Entropy) -> bytes:
    return entropy(FRAME_KEY_BYTES)


def draw_block_key(entropy: Entropy) -> bytes:
    return entropy(BLOCK_KEY_BYTES)
