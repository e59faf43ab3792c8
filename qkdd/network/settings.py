"""A network as its planners write it down: nodes, links, routes, lanes, applications, goals.

One file for a whole trunk, ring or mesh. What a single relay needs to know is cut out of it; what
only the laboratory that stands in for the fibre may know (loss, detectors, dice) is in it too, so
that no relay ever reads this file.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from qkdd.amplify.settings import ProofSettings
from qkdd.base.light import Intensities
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.relay.settings import LaneTimes

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Rate = Annotated[float, Meta(ge=0)]
Tagger = Literal["s15-tdc1", "idq-id1000"]

DEFAULT = "default"
LOSS_DB_PER_KM, PATCHING_DB = 0.22, 1.0
"""Of a fibre whose loss nobody has measured."""


class Light(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that the two ends of a link agree on, under a name that links refer to."""

    intensities: Intensities = Intensities()
    proof: ProofSettings = ProofSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    frame_ms: Annotated[float, Meta(gt=0, le=1000)] = 100.0
    calibration_share: Annotated[float, Meta(gt=0, lt=0.5)] = 0.005
    """Share of a frame whose states become public; it makes no key."""
    preamble_ms: Annotated[float, Meta(gt=0, le=1000)] = 50.0
    ramp_s: Annotated[tuple[Annotated[float, Meta(gt=0, le=600)], ...], Meta(min_length=1)] = (
        2.0,
        4.0,
        8.0,
        16.0,
    )
    """Length of a run's first blocks; the last value repeats."""
    stagger_s: Annotated[float, Meta(ge=0, le=600)] = 0.0
    """The block before the last length is longer by up to so much, by another part of it on each
    link: on one machine all links' blocks would else end, and be distilled, together."""


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A passive receiver: splitter, four alike detectors, the tagger's clock."""

    loss_db: Annotated[float, Meta(ge=0, le=200)] = 3.0
    key_basis_share: Annotated[float, Meta(gt=0, lt=1)] = 0.84
    efficiency: Annotated[float, Meta(gt=0, le=1)] = 0.8
    dark_hz: Annotated[float, Meta(ge=0, le=1e7)] = 100.0
    """Per detector."""
    recovery_ns: Annotated[float, Meta(ge=0, le=1e5)] = 30.0
    jitter_ps: Annotated[float, Meta(ge=0, le=1e5)] = 50.0
    misalignment: Annotated[float, Meta(ge=0, le=0.5)] = 0.01
    """Probability that a photon of the right basis leaves by the wrong port."""


class LinkDefaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a link has that does not say otherwise."""

    light: Name = DEFAULT
    receiver: Name = DEFAULT
    pulse_rate_mhz: Annotated[float, Meta(ge=1, le=10_000)] = 100.0
    tagger: Tagger | None = None
    """None: a TDC1 up to 125 MHz, an ID1000 above."""
    promised_bits_per_s: Rate = 256.0
    """Key promised to applications of the two neighbours."""
    capacity_bits_per_s: Rate = 100_000.0
    """Secret key to reckon with when lanes are admitted."""


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quantum link; the light goes from ``from`` to ``to``. What is left out is the default."""

    sender: Name = msgspec.field(name="from")
    receiver_node: Name = msgspec.field(name="to")
    km: Annotated[float, Meta(ge=0, le=1000)]
    loss_db: Annotated[float, Meta(ge=0, le=200)] | None = None
    """Fibre and patching together; None: 0.22 dB per km and 1 dB."""
    name: Name | None = None
    """None: FROM--TO."""
    light: Name | None = None
    receiver: Name | None = None
    pulse_rate_mhz: Annotated[float, Meta(ge=1, le=10_000)] | None = None
    tagger: Tagger | None = None
    promised_bits_per_s: Rate | None = None
    capacity_bits_per_s: Rate | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way through the network, node by node, that lanes may follow in part and either way."""

    name: Name
    nodes: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=256)]


class NetworkLane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A standing order for end-to-end keys: along a named route between two nodes of it."""

    id: Name
    along: Name
    first: Name | None = msgspec.field(name="from", default=None)
    last: Name | None = msgspec.field(name="to", default=None)
    """Left out: the route's own ends."""
    generation: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    keys_per_1000_s: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_200
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    epoch_s: Annotated[int, Meta(ge=1, le=86_400)] = 1
    saes: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=2)] | None = None
    """The two applications that it serves, at its first and its last node."""


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application, and the relay that is its home."""

    sae: Name
    node: Name


class Goals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan is held against."""

    secret_bits_per_s: Rate = 100_000.0
    """Of every link."""
    ec_efficiency: Annotated[float, Meta(ge=1, le=3)] = 1.21
    """Disclosed bits, both ways, over the Shannon limit: measured at 1 % in blocks of 16 s."""
    outages_s: tuple[Annotated[float, Meta(gt=0)], ...] = (60.0, 3600.0)
    """How long a lane should last without one of its links."""
    cpu_ns_per_click: Annotated[float, Meta(gt=0)] = 250.0
    """What a click costs the machine that runs everything: both relays and the laboratory."""


class Applications(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the applications of a run do."""

    begin_with_s: Annotated[float, Meta(ge=0)] = 0.0
    """A lane's begin to ask for keys once there is a READY key for every epoch of so long."""


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    name: Name
    nodes: Annotated[tuple[Name, ...], Meta(min_length=2)]
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
    """Of the laboratory's dice."""
    link_defaults: LinkDefaults = LinkDefaults()
    links: Annotated[tuple[Link, ...], Meta(min_length=1)]
    light: dict[Name, Light] = msgspec.field(default_factory=lambda: {DEFAULT: Light()})
    receivers: dict[Name, Receiver] = msgspec.field(default_factory=lambda: {DEFAULT: Receiver()})
    routes: tuple[Route, ...] = ()
    lanes: tuple[NetworkLane, ...] = ()
    lane_times: LaneTimes = LaneTimes()
    clients: tuple[Client, ...] = ()
    goals: Goals = Goals()
    applications: Applications = Applications()
