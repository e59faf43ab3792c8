"""What two neighbouring stores say to each other; byte strings of key IDs are 16 bytes each."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
KeyIds: TypeAlias = Annotated[bytes, Meta(max_length=16 * 1_000_000)]
SaeName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
ID_BYTES = 16
MOST_ANNOUNCED = 1_024
"""Keys of one announcement, which may be of several requests."""


class KeysMessage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    array_like=True,
    tag=True,
    forbid_unknown_fields=True,
):
    """A message of this room."""


class AuthMarks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both ends, before the first tag, under TLS alone: nothing at or above a mark was ever used.

    ``tx`` and ``rx`` are bytes from the start of each direction's stream, as the sender sees it.
    """

    incarnation: Count
    tx: Count
    rx: Count
    psk_id: Annotated[bytes, Meta(max_length=8)] = b""
    """Public name of the pre-shared key, so that two different ones are told apart by name."""


class BlockPrepared(KeysMessage, frozen=True, kw_only=True):
    """Both ways: this end holds the block on disk; live once both have said so."""

    block_no: Count
    n_bits: Count
    auth_bytes: Count
    """Bytes of each direction's authentication key, as cut (not as wished)."""
    lane_bits: Count = 0
    """Bits of the block that are units of lanes; ``n_bits`` are without them."""


class LanesRelayed(KeysMessage, frozen=True, kw_only=True):
    """Both ways: how many lane bits of this link have become keys, as counted here."""

    n_bits: Count


class BlockLive(KeysMessage, frozen=True, kw_only=True):
    """Both ways: the block is live here; only now may the peer send with its pads."""

    block_no: Count


class BlockBurned(KeysMessage, frozen=True, kw_only=True):
    """Both ways: a chunk went bad here; what is not allocated of both halves is burned."""

    block_no: Count


class Place(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """``count`` keys side by side in the announcer's half of a block, from byte ``offset``."""

    block_no: Count
    offset: Count
    count: Annotated[int, Meta(ge=1, le=1_024)]


class KeysAnnounced(KeysMessage, frozen=True, kw_only=True):
    """Owner -> peer: keys cut from the owner's half, their names, and who may have them."""

    key_ids: KeyIds
    n_bytes: Annotated[int, Meta(ge=8, le=8_192)]
    places: Annotated[tuple[Place, ...], Meta(min_length=1, max_length=1_024)]
    master: SaeName
    slaves: Annotated[tuple[SaeName, ...], Meta(max_length=64)]
    """Only those whose relay is the peer."""


class KeysHeld(KeysMessage, frozen=True, kw_only=True):
    """Peer -> owner: on disk here; ``refused`` are burned (their block went bad)."""

    held: KeyIds
    refused: KeyIds


class KeysConfirmed(KeysMessage, frozen=True, kw_only=True):
    """Owner -> peer: what became of keys; may wait and be batched."""

    delivered: KeyIds
    burned: KeyIds


class KeysSettled(KeysMessage, frozen=True, kw_only=True):
    """Peer -> owner: noted; ``fetched`` were burned too late, a slave has them: delivered."""

    settled: KeyIds
    fetched: KeyIds


class PendingBlock(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True
):
    block_no: Count
    n_bits: Count
    auth_bytes: Count
    lane_bits: Count = 0


class LiveBlock(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True
):
    """A live block with something left; cursors are bytes into each half."""

    block_no: Count
    n_bits: Count
    auth_bytes: Count
    alice_used: Count
    bob_used: Count
    burned: bool
    lane_bits: Count = 0


class StoreState(KeysMessage, frozen=True, kw_only=True):
    """Both ways, first of a session: all that the other end may not know."""

    next_block: Count
    last_block: Count
    auth_end: Count
    tx_spent: Count
    rx_spent: Count
    pending: tuple[PendingBlock, ...]
    live: tuple[LiveBlock, ...]
    delivered: KeyIds
    """Own keys that were delivered and that the peer has not settled; others held are burned."""
    fetched: KeyIds
    """The peer's keys of unknown fate of which a slave here has its copy."""
    lane_bits: Count = 0
    """Lane bits that have become keys, as counted here."""
    more: bool = False
    """Another part follows: :mod:`qkdd.keys.state_parts`."""


class StoreAgreed(KeysMessage, frozen=True, kw_only=True):
    """Both ways: the resolution is on disk here; these sums must be equal. Bits."""

    pre_shared: Count
    distilled: Count
    delivered: Count
    relayed: Count
    burned: Count
    stock: Count
    auth_end: Count
    lane_bits: Count = 0
    """Lane bits that were cut."""


Message: TypeAlias = (
    BlockPrepared
    | LanesRelayed
    | BlockLive
    | BlockBurned
    | KeysAnnounced
    | KeysHeld
    | KeysConfirmed
    | KeysSettled
    | StoreState
    | StoreAgreed
)


def join_ids(ids: list[bytes]) -> bytes:
    return b"".join(ids)


def split_ids(ids: bytes) -> list[bytes]:
    """Undo :func:`join_ids`; ValueError if the length is no multiple of 16."""
    if len(ids) % ID_BYTES:
        raise ValueError(f"{len(ids)} bytes are not whole key IDs of {ID_BYTES} bytes")
    return [ids[i : i + ID_BYTES] for i in range(0, len(ids), ID_BYTES)]
