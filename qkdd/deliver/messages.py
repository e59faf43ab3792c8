"""The JSON bodies of ETSI GS QKD 014 V1.1.1, clause 6, spelled as the standard spells them."""

from typing import Any

import msgspec


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


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Table 13."""

    message: str
    details: list[dict[str, str]] = []
