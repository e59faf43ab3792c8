"""The seed of a block's hash on its way from Alice to Bob, in chunks.

Alice draws the seed after the block's bits are fixed and its verdict is known; Bob has computed
the key's length by himself before the first chunk comes, and holds Alice to it.
"""

from collections.abc import Iterator

from qkdd.amplify.messages import SEED_CHUNK_BYTES, AmplifySeed
from qkdd.amplify.toeplitz import seed_bytes
from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.base.ids import BlockNo


def seed_messages(
    block_no: BlockNo, seed: bytes | bytearray, *, n_out: int, auth_bytes: int
) -> Iterator[AmplifySeed]:
    """Cut the seed of a block into messages."""
    n_chunks = max(1, -(-len(seed) // SEED_CHUNK_BYTES))
    for chunk in range(n_chunks):
        start = chunk * SEED_CHUNK_BYTES
        yield AmplifySeed(
            block_no=block_no,
            chunk=chunk,
            n_chunks=n_chunks,
            seed=bytes(seed[start : start + SEED_CHUNK_BYTES]),
            n_out=n_out,
            auth_bytes=auth_bytes,
        )


class SeedReceiver:
    """Bob's end of one block: chunks 0, 1, 2, ... until ``complete``."""

    def __init__(self, block_no: BlockNo, n_bits: int, n_out: int) -> None:
        if not 0 < n_out <= n_bits:
            raise RuntimeError(f"a block of {n_bits} bits is not hashed to {n_out}")
        self._block_no = block_no
        self._n_out = n_out
        self._n_seed_bytes = seed_bytes(n_bits)
        self._n_chunks = max(1, -(-self._n_seed_bytes // SEED_CHUNK_BYTES))
        self._seed = bytearray()
        self._next = 0
        self._auth_bytes = 0

    @property
    def complete(self) -> bool:
        return self._next == self._n_chunks

    @property
    def seed(self) -> bytearray:
        """The whole seed, for :func:`qkdd.amplify.toeplitz.toeplitz_hash`."""
        if not self.complete:
            raise RuntimeError(f"{self._next} of {self._n_chunks} chunks of the seed have come")
        return self._seed

    @property
    def auth_bytes(self) -> int:
        """What Alice sets apart for authentication in each direction; the key store checks it."""
        if not self.complete:
            raise RuntimeError(f"{self._next} of {self._n_chunks} chunks of the seed have come")
        return self._auth_bytes

    def receive(self, message: AmplifySeed) -> None:
        """Take the next chunk.

        Raises
        ------
        SecurityAlarm
            If Alice makes a key of another length than the one computed here from the same counts:
            one of the two ends is not what it says it is.
        PeerError
            If the chunk is not the next one of this block, or has the wrong size.
        """
        where = f"chunk {message.chunk} of the seed of block {message.block_no}"
        if message.block_no != self._block_no:
            raise PeerError(f"{where}, block {self._block_no} is being amplified")
        if message.n_out != self._n_out:
            raise SecurityAlarm(
                f"peer would make {message.n_out} bits of block {self._block_no}, here the proof "
                f"gives {self._n_out}"
            )
        if self.complete or (message.chunk, message.n_chunks) != (self._next, self._n_chunks):
            raise PeerError(
                f"{where} (of {message.n_chunks}) came, {self._next} of {self._n_chunks} have come"
            )
        expected = min(SEED_CHUNK_BYTES, self._n_seed_bytes - len(self._seed))
        if len(message.seed) != expected:
            raise PeerError(f"{where} has {len(message.seed)} bytes, not {expected}")
        # The store gives auth_bytes to each direction.
        if 16 * message.auth_bytes > self._n_out:
            raise PeerError(
                f"{where}: {message.auth_bytes} bytes for authentication in each direction, of "
                f"{self._n_out} bits of key"
            )
        if self._next and message.auth_bytes != self._auth_bytes:
            raise PeerError(f"{where}: auth_bytes {message.auth_bytes}, was {self._auth_bytes}")
        self._auth_bytes = message.auth_bytes
        self._seed += message.seed
        self._next += 1
