"""What Alice says to Bob to amplify a block's privacy: the seed of the Toeplitz matrix."""

from typing import Annotated

import msgspec
from msgspec import Meta

SEED_CHUNK_BYTES = 1 << 18
"""Of seed in one message: few large messages, each well below the link's largest frame."""

MAX_BLOCK_BITS = 1 << 32


class AmplifySeed(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    """Alice -> Bob, once both have the block's verdict: a part of the seed, in order.

    The seed is public. ``n_out`` and ``auth_bytes`` are the same in every chunk.
    """

    block_no: Annotated[int, Meta(ge=0, le=2**62)]
    chunk: Annotated[int, Meta(ge=0, le=MAX_BLOCK_BITS)]
    n_chunks: Annotated[int, Meta(ge=1, le=MAX_BLOCK_BITS)]
    seed: Annotated[bytes, Meta(max_length=SEED_CHUNK_BYTES)]
    """Packed bits, SEED_CHUNK_BYTES of them in every chunk but the last."""
    n_out: Annotated[int, Meta(gt=0, le=MAX_BLOCK_BITS)]
    """Bits of secret key that Alice makes of the block; Bob has computed the same."""
    auth_bytes: Annotated[int, Meta(ge=0, le=MAX_BLOCK_BITS)]
    """How much of the key goes to the link's authentication, in each direction."""
