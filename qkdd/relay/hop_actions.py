"""What the machine of keys that go hop by hop wants done, in this order."""

from dataclasses import dataclass
from typing import TypeAlias

from qkdd.base.secret import Secret
from qkdd.relay.hop_messages import ID_BYTES, HopAny


@dataclass(frozen=True, slots=True)
class HopOrder:
    """What is to be carried, without the keys themselves."""

    transfer: bytes
    route: tuple[str, ...]
    n_relays: int
    master: str
    slaves: tuple[str, ...]
    n_bytes: int
    key_ids: bytes

    @property
    def n_keys(self) -> int:
        return len(self.key_ids) // ID_BYTES


@dataclass(frozen=True, slots=True)
class WantPads:
    """Cut pads from the store of the link to ``neighbour``, consumed on disk at both ends: then
    :meth:`~qkdd.relay.hops.HopNode.got_pads`, or :meth:`~qkdd.relay.hops.HopNode.no_pads`."""

    order: HopOrder
    neighbour: str


@dataclass(frozen=True, slots=True)
class Say:
    neighbour: str
    message: HopAny


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """Put the keys on disk for their slaves and wipe ``keys``: then
    :meth:`~qkdd.relay.hops.HopNode.held`, or
    :meth:`~qkdd.relay.hops.HopNode.not_held`."""

    order: HopOrder
    keys: Secret


@dataclass(frozen=True, slots=True)
class Burn:
    """Burn these keys if they are held here."""

    key_ids: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """To the first node: the last one has the keys on disk."""

    transfer: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """To the first node: the keys got no further than ``at``."""

    transfer: bytes
    at: str
    reason: str


Action: TypeAlias = WantPads | Say | Hold | Burn | Arrived | Failed
