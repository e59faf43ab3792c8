"""Settings of the key store."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the store lies and how much it gives. The two ends of a link need not agree, except
    that a peer's reservation above ``max_key_size_bits`` is refused.
    """

    path: Path
    """The sqlite3 file; its ``-wal``, ``-shm`` and ``.lock`` files lie beside it."""
    master_key: Path
    """Path of the 32-byte master key: a systemd credential, never on the same disk in the clear."""
    key_size_bits: Annotated[int, Meta(ge=64, le=65_536, multiple_of=8)] = 256
    min_key_size_bits: Annotated[int, Meta(ge=64, le=65_536, multiple_of=8)] = 64
    max_key_size_bits: Annotated[int, Meta(ge=64, le=65_536, multiple_of=8)] = 4_096
    max_keys_per_request: Annotated[int, Meta(ge=1, le=1_024)] = 128
    max_open_keys: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Keys of one link that are reserved, or delivered but not settled with the peer."""
    auth_floor_bytes: Annotated[int, Meta(ge=0)] = 4_096
    """Below this much authentication key in either direction no key goes upward."""
    auth_stride_bytes: Annotated[int, Meta(ge=16, le=65_536)] = 1_024
    """How far ahead of its use an authentication mark is synced; burned by a crash."""
    key_ttl_s: Annotated[int, Meta(ge=1)] = 86_400
    """After this, copies that no SAE has fetched are wiped."""

    def __post_init__(self) -> None:
        if not self.min_key_size_bits <= self.key_size_bits <= self.max_key_size_bits:
            raise ValueError(
                f"key_size_bits {self.key_size_bits} is not within min_key_size_bits "
                f"{self.min_key_size_bits} to max_key_size_bits {self.max_key_size_bits}"
            )
