"""The JSON bodies of ETSI GS QKD 014 V1.1.1, clause 6, spelled as the standard spells them.

Extensions of our own are prefixed ``qkdd_``, as clause 6.2 wants it.
"""

from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

KeyClass = Literal["direct", "relayed"]
"""Between neighbours, nobody else has the key; or relays on the way had it in their memory."""
UuidText = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Base64 = Annotated[str, Meta(extra_json_schema={"format": "byte"})]


class StatusExtension(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What Table 9 has no field for: how the keys of these two applications come about."""

    qkdd_class: KeyClass
    qkdd_relays_trusted: int
    qkdd_quota_bits_per_s: float | None = None
    """What this application may draw on average; absent: any amount."""
    qkdd_lane: str | None = None
    qkdd_epoch: int | None = None
    """Number of the present epoch of the lane."""
    qkdd_epochs_ahead: int | None = None
    """Epochs from the next on, up to the first whose key does not lie at both ends."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Table 9. Sizes are bits."""

    source_KME_ID: str  # noqa: N815 - the standard's spelling
    target_KME_ID: str  # noqa: N815
    master_SAE_ID: str  # noqa: N815
    slave_SAE_ID: str  # noqa: N815
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_SAE_ID_count: int  # noqa: N815
    status_extension: StatusExtension


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Table 10. Unknown members are ignored, as the standard's extensions expect."""

    number: int = 1
    size: int | None = None
    additional_slave_SAE_IDs: list[str] | None = None  # noqa: N815
    extension_mandatory: list[dict[str, Any]] = []
    extension_optional: list[dict[str, Any]] = []


class KeyId(msgspec.Struct, frozen=True, kw_only=True):
    key_ID: str  # noqa: N815


class KeyIds(msgspec.Struct, frozen=True, kw_only=True):
    """Table 12. Clients echo whole key objects back: other members are ignored."""

    key_IDs: list[KeyId]  # noqa: N815


class KeyExtension(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a key trusts besides the two KMEs that hand it out."""

    qkdd_class: KeyClass
    qkdd_relays_trusted: int

    @classmethod
    def of(cls, n_relays: int) -> Self:
        return cls(
            qkdd_class="relayed" if n_relays else "direct",
            qkdd_relays_trusted=n_relays,
        )


class KeyIdExtension(msgspec.Struct, frozen=True, kw_only=True):
    """Of which a lane's key_ID is made."""

    qkdd_lane: str
    qkdd_epoch: int


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key of Table 11. The schema of an answer only: its key is never held in a ``str``."""

    key_ID: UuidText  # noqa: N815
    key_ID_extension: KeyIdExtension | UnsetType = UNSET  # noqa: N815
    key: Base64
    key_extension: KeyExtension


class KeyContainer(msgspec.Struct, frozen=True, kw_only=True):
    """Table 11, as :func:`qkdd.deliver.body.key_container` writes it."""

    keys: list[Key]


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Table 13."""

    message: str
    details: list[dict[str, str]] = []
