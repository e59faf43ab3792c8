"""What neighbours say about keys that go hop by hop, each hop under fresh pads of its link.

A pad is a key of the link's store, announced beforehand by block and offset
(:class:`qkdd.keys.messages.KeysAnnounced`) and named here by its ID.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from qkdd.relay.settings import Name

MAX_KEYS = 1_024
MAX_KEY_BYTES = 8_192
MAX_MASKED_BYTES = 512 * 1024
"""Of one transfer, so that a message stays below the limit of the wire."""
MAX_ROUTE = 256
MAX_REASON = 500
ID_BYTES = 16

Transfer: TypeAlias = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Route: TypeAlias = Annotated[tuple[Name, ...], Meta(min_length=2, max_length=MAX_ROUTE)]
Hop: TypeAlias = Annotated[int, Meta(ge=1, lt=MAX_ROUTE)]
"""Place of the receiver in the route."""
Ids: TypeAlias = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES * MAX_KEYS)]


class HopMessage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    array_like=True,
    tag=True,
    forbid_unknown_fields=True,
):
    """A message about one transfer: keys of one request on their way to one node."""

    transfer: Transfer
    """Drawn by the first node."""


class HopKeys(HopMessage, frozen=True, kw_only=True):
    """Downstream: the keys, each masked with one pad that is used for nothing else."""

    route: Route
    hop: Hop
    n_relays: Annotated[int, Meta(ge=0, le=65_535)]
    """Relays that the keys trust, on this route and on those to other slaves."""
    master: Name
    slaves: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=64)]
    """Whose home is the last node."""
    n_bytes: Annotated[int, Meta(ge=8, le=MAX_KEY_BYTES)]
    key_ids: Ids
    pads: Ids
    masked: Annotated[bytes, Meta(min_length=8, max_length=MAX_MASKED_BYTES)]


class HopHeld(HopMessage, frozen=True, kw_only=True):
    """Upstream: the last node has the keys on disk."""


class HopFailed(HopMessage, frozen=True, kw_only=True):
    """Upstream: the keys got no further than ``at``, and are burned from there on."""

    at: Name
    reason: Annotated[str, Meta(max_length=MAX_REASON)]


class HopBurned(HopMessage, frozen=True, kw_only=True):
    """Downstream: the keys are given up; whoever has them burns them."""

    route: Route
    hop: Hop
    key_ids: Ids


HopAny: TypeAlias = HopKeys | HopHeld | HopFailed | HopBurned
