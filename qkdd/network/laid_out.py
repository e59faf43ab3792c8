"""A network laid out: every default filled in, every name resolved."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from qkdd.base.light import LightPlan
from qkdd.frames.settings import FrameSettings
from qkdd.network.settings import (
    LOSS_DB_PER_KM,
    PATCHING_DB,
    Client,
    Light,
    Link,
    Network,
    NetworkLane,
    Receiver,
    Tagger,
)
from qkdd.relay.settings import Lane

TICK_PS = {"s15-tdc1": 2_000, "idq-id1000": 1}
GATE_PS = {"s15-tdc1": 4_000, "idq-id1000": 400}
FASTEST_TDC1_MHZ = 125.0
"""Above, a period has too few ticks of 2 ns to tell the slot and the gate well."""
MAX_NAME = 63

GOLDEN = (5**0.5 - 1) / 2
T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class LaidLink:
    """One link with everything that it says or inherits."""

    name: str
    sender: str
    receiver_node: str
    km: float
    loss_db: float
    light: Light
    receiver: Receiver
    tagger: Tagger
    plan: LightPlan
    frames: FrameSettings
    promised_bits_per_s: float
    capacity_bits_per_s: float

    @property
    def ends(self) -> frozenset[str]:
        return frozenset((self.sender, self.receiver_node))


@dataclass(frozen=True, slots=True)
class LaidLane:
    """A lane as the relays on its route know it, and the two applications that use it."""

    lane: Lane
    saes: tuple[str, str]
    bound: bool
    """The file itself names the applications."""
    links: tuple[LaidLink, ...]
    """From the first end on."""


@dataclass(frozen=True, slots=True)
class LaidOut:
    """The whole network; ``nodes`` in the order of the file."""

    network: Network
    nodes: tuple[str, ...]
    links: tuple[LaidLink, ...]
    lanes: tuple[LaidLane, ...]
    clients: tuple[Client, ...]

    def links_of(self, node: str) -> tuple[LaidLink, ...]:
        return tuple(link for link in self.links if node in link.ends)


def lay_out(network: Network) -> LaidOut:
    """Fill in and resolve a network without mistakes."""
    links = tuple(laid_link(network, link) for link in network.links)
    lanes = tuple(_lane(network, lane, links) for lane in network.lanes)
    named = {client.sae: client.node for client in network.clients}
    for lane in lanes:
        for sae, node in zip(lane.saes, (lane.lane.route[0], lane.lane.route[-1]), strict=True):
            named.setdefault(sae, node)
    clients = tuple(Client(sae=sae, node=node) for sae, node in named.items())
    return LaidOut(network, network.nodes, links, lanes, clients)


def link_name(link: Link) -> str:
    return link.name or f"{link.sender}--{link.receiver_node}"


def laid_link(network: Network, link: Link) -> LaidLink:
    """Fill in one link.

    ValueError, msgspec.ValidationError: its settings contradict each other or a limit.
    """
    default = network.link_defaults
    light = network.light[link.light or default.light]
    receiver = network.receivers[link.receiver or default.receiver]
    rate_mhz = link.pulse_rate_mhz or default.pulse_rate_mhz
    tagger = link.tagger or default.tagger or _tagger_for(rate_mhz)
    loss_db = LOSS_DB_PER_KM * link.km + PATCHING_DB if link.loss_db is None else link.loss_db
    promised, capacity = link.promised_bits_per_s, link.capacity_bits_per_s
    return LaidLink(
        name=link_name(link),
        sender=link.sender,
        receiver_node=link.receiver_node,
        km=link.km,
        loss_db=loss_db,
        light=light,
        receiver=receiver,
        tagger=tagger,
        plan=_plan(light, rate_mhz, _place_in_turn(network.links.index(link))),
        frames=_frames(receiver, tagger, rate_mhz),
        promised_bits_per_s=default.promised_bits_per_s if promised is None else promised,
        capacity_bits_per_s=default.capacity_bits_per_s if capacity is None else capacity,
    )


def _tagger_for(rate_mhz: float) -> Tagger:
    return "s15-tdc1" if rate_mhz <= FASTEST_TDC1_MHZ else "idq-id1000"


def _place_in_turn(number: int) -> float:
    """Spread any number of links evenly over 0 to 1, neighbours far apart (golden section)."""
    return number * GOLDEN % 1.0


def _plan(light: Light, rate_mhz: float, place: float) -> LightPlan:
    ramp_s = list(light.ramp_s)
    ramp_s[-2:-1] = [length_s + place * light.stagger_s for length_s in ramp_s[-2:-1]]
    frame_pulses = round(light.frame_ms * rate_mhz * 1e3)
    plan = LightPlan(
        pulse_rate_hz=round(rate_mhz * 1e6),
        preamble_pulses=round(light.preamble_ms * rate_mhz * 1e3),
        frame_pulses=frame_pulses,
        calibration_pulses=round(light.calibration_share * frame_pulses),
        ramp_frames=tuple(max(1, round(1e3 * s / light.frame_ms)) for s in ramp_s),
    )
    return _checked(plan)


def _frames(receiver: Receiver, tagger: Tagger, rate_mhz: float) -> FrameSettings:
    tick_ps, recovery_ps = TICK_PS[tagger], round(1e3 * receiver.recovery_ns)
    frames = FrameSettings(
        gate_ps=min(GATE_PS[tagger], int(1e6 / rate_mhz)),
        dead_time_ps=recovery_ps + 2 * tick_ps,
        detector_recovery_ps=recovery_ps,
        tick_ps=tick_ps,
    )
    return _checked(frames)


def _checked(settings: T) -> T:
    """Hold settings to their limits, which msgspec looks at only while it decodes."""
    return msgspec.convert(msgspec.to_builtins(settings), type(settings))


def part_of(nodes: Sequence[str], lane: NetworkLane) -> list[str]:
    """Walk the part of a route that a lane follows, in the lane's direction."""
    start = nodes.index(lane.first or nodes[0])
    stop = nodes.index(lane.last or nodes[-1])
    if start <= stop:
        return list(nodes[start : stop + 1])
    return list(nodes[stop : start + 1])[::-1]


def _lane(network: Network, lane: NetworkLane, links: Sequence[LaidLink]) -> LaidLane:
    nodes = part_of(next(r.nodes for r in network.routes if r.name == lane.along), lane)
    between = {link.ends: link for link in links}
    homes = {client.node: client.sae for client in reversed(network.clients)}
    saes = lane.saes or (sae_at(homes, nodes[0]), sae_at(homes, nodes[-1]))
    return LaidLane(
        lane=Lane(
            id=lane.id,
            generation=lane.generation,
            route=tuple(nodes),
            keys_per_1000_s=lane.keys_per_1000_s,
            priority=lane.priority,
            epoch_s=lane.epoch_s,
            saes=lane.saes or (),
        ),
        saes=(saes[0], saes[1]),
        bound=lane.saes is not None,
        links=tuple(between[frozenset(pair)] for pair in itertools.pairwise(nodes)),
    )


def sae_at(homes: dict[str, str], node: str) -> str:
    """Name the application of a node: the file's first there, or one made for it."""
    return homes.get(node) or f"sae-{node}"[:MAX_NAME]
