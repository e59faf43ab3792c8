"""Which applications are served, and where; the limits of keys are those of the store."""

from typing import Annotated

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]

MAX_SLAVES = 64
"""What an announcement to the peer may name (:class:`qkdd.keys.messages.KeysAnnounced`)."""


class Sae(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application, and the relay that is its home."""

    id: Name
    node: Name
    quota_bits_per_s: Annotated[float, Meta(gt=0)] | None = None
    """Key that it may draw as a master, on average; without, any amount."""
    reserved_bits_per_s: Annotated[float, Meta(ge=0)] = 0.0
    """Key that others leave for it in the stock of each link of its home."""


class DeliverySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: Annotated[str, Meta(pattern=r"^\S+:\d{1,5}$")] = "127.0.0.1:8443"
    max_sae_id_count: Annotated[int, Meta(ge=0, le=MAX_SLAVES - 1)] = 8
    """Slaves of one request beside the one in its path."""
    max_connections_per_sae: Annotated[int, Meta(ge=1, le=10_000)] = 64
    quota_burst_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """So much of its quota an SAE may draw at once."""
    reserve_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    """For how long the reserved rates are kept in stock."""
    saes: tuple[Sae, ...] = ()

    def __post_init__(self) -> None:
        ids = [sae.id for sae in self.saes]
        for one in ids:
            if ids.count(one) > 1:
                raise ValueError(f"two SAEs are called {one}")

    @property
    def homes(self) -> dict[str, str]:
        """SAE ID -> node ID."""
        return {sae.id: sae.node for sae in self.saes}
