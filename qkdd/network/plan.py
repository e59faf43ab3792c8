"""Whether a network works on paper: key rate of every link, budget of every lane, stock, cost."""

from collections.abc import Iterator, Sequence

import msgspec

from qkdd.network.expect import honest
from qkdd.network.laid_out import LaidLane, LaidLink, LaidOut
from qkdd.relay.admission import (
    LaneRefused,
    LinkCapacity,
    admit,
    capacity_of,
    lane_bps,
    lane_tag_bps,
)
from qkdd.relay.settings import Lane


class LinkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One link, expected; rates are per second of a run's longest blocks."""

    name: str
    km: float
    loss_db: float
    pulse_rate_mhz: float
    tagger: str
    clicks_per_s: float
    qber: float
    phase_error_bound: float
    secret_bits_per_s: float
    first_block_bits: int
    """Key of the first, short block: with 0 the first key comes later."""
    capacity_bits_per_s: float
    """What the file reckons with."""
    lanes_bits_per_s: float
    promised_bits_per_s: float
    auth_bits_per_s: float
    spare_bits_per_s: float
    """Left of the capacity for the stock; negative if too much is promised."""


class OutagePlan(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    keys: int
    """READY keys that last so long."""
    ready_after_s: float | None
    """When the lane has them, from its first key on; None: its stock does not grow."""


class LanePlan(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    first: str
    last: str
    n_links: int
    km: float
    keys_per_s: float
    """Units that the lane is provisioned with; an application takes one per epoch."""
    surplus_per_s: float
    relays_trusted: int
    admitted: bool
    outages: tuple[OutagePlan, ...]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``qkdd plan --json``."""

    ok: bool
    name: str
    nodes: int
    km: float
    clicks_per_s: float
    cores: float
    """Processor cores for relays and laboratory, at the goal's cost of a click."""
    links: tuple[LinkPlan, ...]
    lanes: tuple[LanePlan, ...]
    missing: tuple[str, ...]
    """Every reason why it does not work."""


def plan_network(network: LaidOut) -> Plan:
    """Reckon a network through; pure, and of expected counts only."""
    refusals, admitted = _admissions(network)
    carried = [lane for lane in network.lanes if lane.lane.id in admitted]
    links = [_link_plan(network, link, carried) for link in network.links]
    lanes = [_lane_plan(network, lane, lane.lane.id in admitted) for lane in network.lanes]
    missing = [*_shortfalls(network, links), *refusals, *_of_lanes(lanes)]
    missing += _apart(network)
    clicks_per_s = sum(link.clicks_per_s for link in links)
    return Plan(
        ok=not missing,
        name=network.network.name,
        nodes=len(network.nodes),
        km=sum(link.km for link in network.links),
        clicks_per_s=clicks_per_s,
        cores=clicks_per_s * network.network.goals.cpu_ns_per_click * 1e-9,
        links=tuple(links),
        lanes=tuple(lanes),
        missing=tuple(missing),
    )


def _link_plan(network: LaidOut, link: LaidLink, carried: Sequence[LaidLane]) -> LinkPlan:
    model = honest(link, network.network.goals.ec_efficiency)
    longest = len(link.plan.ramp_frames) - 1
    n_pulses = link.plan.payload_pulses(longest)
    block_s = link.plan.block_frames(longest) * link.plan.frame_pulses / link.plan.pulse_rate_hz
    counts, length = model.counts(n_pulses), model.length_of(n_pulses, link.light.proof)
    lanes = tuple(lane.lane for lane in carried if link in lane.links)
    capacity = _capacity(link, lanes)
    return LinkPlan(
        name=link.name,
        km=link.km,
        loss_db=link.loss_db,
        pulse_rate_mhz=link.plan.pulse_rate_hz / 1e6,
        tagger=link.tagger,
        clicks_per_s=model.clicks_hz * model.live_share,
        qber=sum(counts.key_errors or ()) / counts.n_key if counts.n_key else 0.0,
        phase_error_bound=length.phi,
        secret_bits_per_s=length.n_out / block_s,
        first_block_bits=model.length_of(link.plan.payload_pulses(0), link.light.proof).n_out,
        capacity_bits_per_s=link.capacity_bits_per_s,
        lanes_bits_per_s=sum(map(lane_bps, lanes)),
        promised_bits_per_s=link.promised_bits_per_s,
        auth_bits_per_s=capacity.auth_bps,
        spare_bits_per_s=capacity.free_bps,
    )


def _admissions(network: LaidOut) -> tuple[list[str], set[str]]:
    """Ask for lane after lane in the order of the file, as its relays would."""
    carried: dict[str, tuple[Lane, ...]] = {link.name: () for link in network.links}
    refusals: list[str] = []
    admitted: set[str] = set()
    for lane in network.lanes:
        capacities = [_capacity(link, carried[link.name]) for link in lane.links]
        try:
            admit(lane.lane, capacities, tag_bps=lane_tag_bps(lane.lane))
        except LaneRefused as refused:
            refusals.append(str(refused))
            continue
        admitted.add(lane.lane.id)
        for link in lane.links:
            carried[link.name] += (lane.lane,)
    return refusals, admitted


def _capacity(link: LaidLink, lanes: tuple[Lane, ...]) -> LinkCapacity:
    return capacity_of(link.name, link.capacity_bits_per_s, link.promised_bits_per_s, lanes)


def _lane_plan(network: LaidOut, lane: LaidLane, admitted: bool) -> LanePlan:
    provisioned = lane.lane.keys_per_1000_s / 1000
    surplus = provisioned - 1 / lane.lane.epoch_s
    outages = []
    for seconds in network.network.goals.outages_s:
        keys = -int(-seconds // lane.lane.epoch_s)
        after = keys / surplus if surplus > 1e-9 else None
        outages.append(OutagePlan(seconds=seconds, keys=keys, ready_after_s=after))
    return LanePlan(
        id=lane.lane.id,
        first=lane.lane.route[0],
        last=lane.lane.route[-1],
        n_links=lane.lane.n_links,
        km=sum(link.km for link in lane.links),
        keys_per_s=provisioned,
        surplus_per_s=surplus,
        relays_trusted=len(lane.lane.route) - 2,
        admitted=admitted,
        outages=tuple(outages),
    )


def _shortfalls(network: LaidOut, links: Sequence[LinkPlan]) -> Iterator[str]:
    goal = network.network.goals.secret_bits_per_s
    for link in links:
        rate = link.secret_bits_per_s
        if rate < goal:
            yield f"link {link.name} makes {rate:.0f} bit/s, {goal - rate:.0f} short of the goal"
        if rate < link.capacity_bits_per_s:
            yield (
                f"link {link.name} makes {rate:.0f} bit/s, but its lanes are reckoned with "
                f"capacity_bits_per_s {link.capacity_bits_per_s:.0f}"
            )
        if link.spare_bits_per_s < 0:
            yield f"link {link.name} has promised {-link.spare_bits_per_s:.0f} bit/s too much"


def _of_lanes(lanes: Sequence[LanePlan]) -> Iterator[str]:
    for lane in lanes:
        if lane.surplus_per_s < 0:
            yield (
                f"lane {lane.id} is provisioned with {lane.keys_per_s:g} keys a second, "
                f"{-lane.surplus_per_s:g} fewer than its epochs take"
            )
        elif lane.surplus_per_s < 1e-9 and lane.outages:
            yield f"lane {lane.id} has no surplus: its stock never grows, and no outage is covered"


def _apart(network: LaidOut) -> Iterator[str]:
    """Name the nodes that no link joins to the first one."""
    joined, fresh = {network.nodes[0]}, {network.nodes[0]}
    while fresh:
        ends = [link.ends for link in network.links if link.ends & fresh]
        fresh = {node for pair in ends for node in pair} - joined
        joined |= fresh
    for node in network.nodes:
        if node not in joined:
            yield f"node {node} has no way to {network.nodes[0]}"
