"""Settings of the listeners that belong to no stage."""

from typing import Annotated

import msgspec
from msgspec import Meta


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a Prometheus server may read: plain HTTP, for loopback or a network of its own."""

    listen: Annotated[str, Meta(pattern=r"^\S+:\d{1,5}$")] = "127.0.0.1:9464"
