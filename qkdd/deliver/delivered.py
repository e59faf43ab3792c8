"""A key as it is handed to an application: its name, its bytes, and whom it trusts."""

from dataclasses import dataclass
from uuid import UUID

from qkdd.base.secret import Secret
from qkdd.deliver.messages import KeyExtension, KeyIdExtension


@dataclass(frozen=True, slots=True)
class DeliveredKey:
    key_id: UUID
    key: Secret
    n_relays: int = 0
    """Relays, besides the KMEs of master and slave, that have seen the key or could have."""
    lane: str | None = None
    epoch: int | None = None
    """Of a lane's key: the number in its key_ID."""

    @property
    def extension(self) -> KeyExtension:
        return KeyExtension.of(self.n_relays)

    @property
    def id_extension(self) -> KeyIdExtension | None:
        if self.lane is None or self.epoch is None:
            return None
        return KeyIdExtension(qkdd_lane=self.lane, qkdd_epoch=self.epoch)
