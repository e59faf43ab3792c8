"""What a key store refuses, each refusal with a type of its own."""

from qkdd.base.errors import QkdError, StoreError


class KeyNotFound(QkdError):
    """No such key here, or not any more (ETSI GS QKD 014, clause 6.4: answered with 400)."""


class KeyNotEntitled(QkdError):
    """The key is here, but not for this SAE (ETSI GS QKD 014, clause 5.4: answered with 401)."""


class DamagedBlock(StoreError):
    """A sealed chunk does not open: bit rot, or somebody wrote to the disk.

    The rest of the block is already burned here; tell the peer ``BlockBurned(block_no)``. So are
    the keys whose bytes lay in the chunk, of which ``key_ids`` are the names.
    """

    def __init__(
        self, link: str, block_no: int, place: str, key_ids: frozenset[bytes] = frozenset()
    ) -> None:
        super().__init__(f"link {link} block {block_no}: {place} does not open; the rest is burned")
        self.link = link
        self.block_no = block_no
        self.key_ids = key_ids


class DamagedLane(StoreError):
    """Keys of a lane do not open: bit rot, or somebody wrote to the disk. They are burned."""
