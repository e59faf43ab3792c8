"""The result of ``qkdd trunk``, computed from what relays and applications showed."""

from collections.abc import Sequence

import msgspec

from qkdd.cli.trunk.chaos import Outage
from qkdd.cli.trunk.processes import KindUsage
from qkdd.cli.trunk.watch import Watch, WatchedLane, WatchedLink
from qkdd.daemon.snapshot import LinkSnapshot


class LinkSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One link; ``None`` where nothing was seen."""

    name: str
    state: str
    reason: str | None
    secret_bits_per_s: float | None
    """By the clock on the wall; None with fewer than two full-size blocks."""
    block_bits_per_s: float | None
    """Of the last full-size block, over its seconds of light."""
    blocks: int
    blocks_void: int
    blocks_without_key: int
    click_rate: float | None
    qber: float | None
    f_ec_both_ways: float | None
    stock_bits: int | None
    hours_of_stock: float | None
    auth_share: float | None
    """Pads used, of pre-shared key too, over the key distilled since the start."""
    account_balances: bool | None
    """Every bit at both ends is somewhere and nowhere twice; None if an end did not tell."""
    first_light_s: float | None


class LaneSummary(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    first: str
    last: str
    n_links: int
    state: str
    reason: str | None
    first_ready_s: float | None
    first_key_s: float | None
    """Since the relays began to start: keys READY at both ends, a key at both applications."""
    ready: int | None
    """READY keys of epochs to come, at the end of the run."""
    came: int
    """Keys that became READY."""
    void: int | None
    """Numbers that never will, since the start of the first end."""
    delivered: int
    missed: int
    """Refreshes missed although both applications' relays lived."""
    missed_at_dead_relay: int
    unequal: int
    twice: int
    latency_median_s: float | None
    latency_p99_s: float | None
    latency_max_s: float | None
    last_miss: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of ``qkdd trunk --json``."""

    ok: bool
    reason: str | None
    name: str
    relays: int
    seconds: float
    """Since the relays began to start."""
    start_s: float | None
    """Until every relay answered."""
    all_lit_s: float | None
    first_key_s: float | None
    """First end-to-end key at both applications, of any lane."""
    links_at_goal: int
    """Links that made the goal of the network's file, by the clock on the wall."""
    keys_delivered: int
    keys_missed: int
    keys_unequal: int
    keys_twice: int
    usage: dict[str, KindUsage]
    cpu_s_total: float
    peak_mb_total: float
    outages: tuple[Outage, ...]
    links: tuple[LinkSummary, ...]
    lanes: tuple[LaneSummary, ...]


def summarise(
    watch: Watch,
    usage: dict[str, KindUsage],
    *,
    end_s: float,
    reason: str | None,
    outages: Sequence[Outage] = (),
) -> Summary:
    """Put everything together; ``ok`` only if every refresh after a lane's first key was right."""
    network = watch.network
    links = [_link(link) for link in watch.links.values()]
    lanes = [_lane(lane) for lane in watch.lanes.values()]
    first_keys = [lane.first_key_s for lane in lanes if lane.first_key_s is not None]
    reason = reason or _complaint(links, lanes)
    goal = network.network.goals.secret_bits_per_s
    started = list(watch.relays_started_s.values())
    lit = [link.first_light_s for link in links]
    all_lit = [at for at in lit if at is not None]
    return Summary(
        ok=reason is None,
        reason=reason,
        name=network.network.name,
        relays=len(network.nodes),
        seconds=end_s,
        start_s=max(started) if len(started) == len(network.nodes) else None,
        all_lit_s=max(all_lit) if len(all_lit) == len(links) else None,
        first_key_s=min(first_keys, default=None),
        links_at_goal=sum((link.secret_bits_per_s or 0) >= goal for link in links),
        keys_delivered=sum(lane.delivered for lane in lanes),
        keys_missed=sum(lane.missed for lane in lanes),
        keys_unequal=sum(lane.unequal for lane in lanes),
        keys_twice=sum(lane.twice for lane in lanes),
        usage=usage,
        cpu_s_total=round(sum(kind.cpu_s for kind in usage.values()), 2),
        peak_mb_total=round(sum(kind.peak_mb for kind in usage.values()), 1),
        outages=tuple(outages),
        links=tuple(links),
        lanes=tuple(lanes),
    )


def _link(watched: WatchedLink) -> LinkSummary:
    end = watched.ends[1] or watched.ends[0]
    blocks = list(watched.blocks.values())
    return LinkSummary(
        name=watched.link.name,
        state=watched.state,
        reason=watched.reason,
        secret_bits_per_s=watched.secret_bits_per_s,
        block_bits_per_s=watched.block_bits_per_s,
        blocks=len(blocks),
        blocks_void=end.n_blocks_void if end else 0,
        blocks_without_key=sum(not block.n_secret_bits for block in blocks),
        click_rate=_share(
            sum(block.n_clicks for block in blocks), sum(block.pulse_seconds for block in blocks)
        ),
        qber=_mean([(block.qber_key, block.n_sifted_bits) for block in blocks]),
        f_ec_both_ways=_mean([(block.f_both_ways, block.n_sifted_bits) for block in blocks]),
        stock_bits=end.stock_bits if end else None,
        hours_of_stock=end.hours_of_stock if end else None,
        auth_share=_auth_share(end),
        account_balances=_balances(watched.ends),
        first_light_s=watched.first_light_s,
    )


def _balances(ends: Sequence[LinkSnapshot | None]) -> bool | None:
    accounts = [end.account for end in ends if end is not None and end.account]
    came = [account["distilled"] + account["pre_shared"] for account in accounts]
    fine = [2 * n == sum(account.values()) for n, account in zip(came, accounts, strict=True)]
    return None if all(fine) and len(fine) < len(ends) else all(fine)


def _auth_share(end: LinkSnapshot | None) -> float | None:
    if end is None or not end.account.get("distilled"):
        return None
    return end.account["authentication"] / end.account["distilled"]


def _lane(watched: WatchedLane) -> LaneSummary:
    tally, route = watched.tally, watched.lane.lane.route
    ordered = sorted(tally.latencies_s)

    def quantile(share: float) -> float | None:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    return LaneSummary(
        id=watched.lane.lane.id,
        first=route[0],
        last=route[-1],
        n_links=len(route) - 1,
        state=watched.state,
        reason=next((end.reason for end in watched.ends if end is not None and end.reason), None),
        first_ready_s=watched.first_ready_s,
        first_key_s=watched.first_key_s,
        ready=watched.n_ready,
        came=watched.n_came,
        void=watched.n_void,
        delivered=tally.delivered,
        missed=watched.missed,
        missed_at_dead_relay=watched.missed_at_dead_relay,
        unequal=tally.unequal,
        twice=tally.twice,
        latency_median_s=quantile(0.5),
        latency_p99_s=quantile(0.99),
        latency_max_s=ordered[-1] if ordered else None,
        last_miss=tally.last_miss,
    )


def _complaint(links: Sequence[LinkSummary], lanes: Sequence[LaneSummary]) -> str | None:
    """Say the worst that happened, if anything did."""
    for lane in lanes:
        if lane.unequal:
            return f"lane {lane.id}: {lane.unequal} keys differ between its ends"
        if lane.twice:
            return f"lane {lane.id}: {lane.twice} keys were delivered twice"
    for lane in lanes:
        if lane.first_key_s is None:
            return f"lane {lane.id}: no key in this time; the last answer: {lane.last_miss or '-'}"
        if lane.missed:
            return f"lane {lane.id}: {lane.missed} refreshes missed, the last: {lane.last_miss}"
    for link in links:
        if link.account_balances is False:
            return f"link {link.name}: the account of an end does not balance"
        if not link.blocks or link.blocks == link.blocks_without_key:
            return f"link {link.name}: no key: {link.reason or 'no block in this time'}"
    return None


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(weighted: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
