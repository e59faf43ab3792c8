"""Lanes as provisioned, the same text on every node of the route; and a node's time limits."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]

UNIT_BITS = 256
UNIT_BYTES = UNIT_BITS // 8
MIN_UNITS_PER_AGED_BATCH = 4
ENDS = 2


class Lane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A standing order for end-to-end keys over a fixed route."""

    id: Name
    generation: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    """Raised with each re-provisioning; numbers of another generation are other numbers."""
    route: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=256)]
    """Nodes from the first end to the last."""
    keys_per_1000_s: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_200
    """Units of each link per 1000 s; 1200 is one key a second and a fifth to grow the stock."""
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    """0 is served first when a link runs short of key."""
    epoch_s: Annotated[int, Meta(ge=1, le=86_400)] = 1
    """Number e is meant for the e-th period of this length since 1970 (UTC)."""
    saes: tuple[Name, ...] = ()
    """The application of the first end and the one of the last whose lane this is; without, any
    two whose homes the ends are."""

    def __post_init__(self) -> None:
        if self.saes and (len(self.saes) != ENDS or len(set(self.saes)) != ENDS):
            raise ValueError(
                f"lane {self.id}: saes are two, of the first end and of the last, or none; not "
                f"{list(self.saes)}"
            )
        if len(set(self.route)) != len(self.route):
            raise ValueError(f"lane {self.id}: a node stands twice in the route")

    @property
    def n_links(self) -> int:
        return len(self.route) - 1


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Neighbours in a row, over which keys outside lanes may go either way."""

    nodes: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=256)]

    def __post_init__(self) -> None:
        if len(set(self.nodes)) != len(self.nodes):
            raise ValueError(f"route {'-'.join(self.nodes)}: a node stands twice in it")


class LaneTimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a node's lanes; ends and relays need not agree on them."""

    hold_s: Annotated[float, Meta(gt=0, le=64)] = 64.0
    """How long a unit waits for its partner before it is burned."""
    announce_ahead: Annotated[int, Meta(ge=16, le=4_096)] = 32
    """Numbers that the first end keeps announced and not yet bound to a unit of its link."""
    jump_ahead_epochs: Annotated[int, Meta(ge=1, le=86_400)] = 10
    """The first keys, and those after the stock has run out, are meant for so many epochs after
    the present one, so that they are READY in time."""
    batch_units: Annotated[int, Meta(ge=1, le=4_096)] = 16
    """A confirmation waits for so many units, ..."""
    batch_age_s: Annotated[float, Meta(gt=0)] = 30.0
    """... or until the oldest has waited so long."""
    retry_s: Annotated[float, Meta(gt=0)] = 5.0
    """A confirmation without a verdict is sent again."""
    confirm_timeout_s: Annotated[float, Meta(gt=0)] = 600.0
    """After this the first end gives up a number that nobody confirmed."""
    renew_below_pairs: Annotated[int, Meta(ge=0, le=1_000_000)] = 512
    """With fewer pairs of pads than this, each batch gives one of its units to the association."""

    window_epochs: Annotated[int, Meta(ge=0, le=86_400)] = 10
    """A key is still given out so many epochs after its own; then it is burned."""
    trust_unsynchronised_clock: bool = False
    """Serve epochs although the kernel does not call this host's clock synchronised: it is kept
    by other means, or all relays are on one host."""
    clock_drift_ppm: Annotated[float, Meta(gt=0, le=500)] = 100.0
    """What this host's clock may drift between two corrections."""

    def check(self, lane: Lane) -> None:
        """Raise ValueError if batches closed by age would feed little but the association."""
        units = lane.keys_per_1000_s * self.batch_age_s / 1000
        if units < min(MIN_UNITS_PER_AGED_BATCH, self.batch_units):
            raise ValueError(
                f"lane {lane.id}: batch_age_s {self.batch_age_s} collects {units:.1f} units, at "
                f"least {MIN_UNITS_PER_AGED_BATCH} are needed: one of a batch pays for its tags"
            )
