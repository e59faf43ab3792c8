"""What the demonstration says at its end, computed from what the two relays and clients showed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from qkdd.cli.demo.processes import Child, Usage
from qkdd.cli.demo.refresh import Refreshes
from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot

FULL_BLOCKS_WANTED = 4


@dataclass(slots=True)
class Watch:
    """Blocks seen committed at both relays, and when; times are seconds since the start."""

    full_seconds: float
    """Pulse seconds of a full-size block."""
    blocks: dict[int, BlockFacts] = field(default_factory=dict)
    first_commit_s: float | None = None
    first_key_s: float | None = None
    last_reason: str | None = None
    """What the relays last said is wrong."""

    def see(self, ends: Sequence[LinkSnapshot | None], now_s: float) -> BlockFacts | None:
        """Note a block that both ends report as their last; return it if it is new."""
        self.last_reason = next((end.reason for end in ends if end and end.reason), None)
        lasts = [end.last_block if end is not None else None for end in ends]
        first, second = lasts
        if first is None or second is None or first.block_no != second.block_no:
            return None
        if first.block_no in self.blocks:
            return None
        self.blocks[first.block_no] = first
        if first.n_secret_bits and self.first_commit_s is None:
            self.first_commit_s = now_s
        return first

    def secret_rates(self, end_s: float) -> tuple[float | None, float | None]:
        """Net and gross secret bit/s from the first commit to ``end_s``.

        The first block is left out, since its light came before the time that is counted. None
        with fewer than FULL_BLOCKS_WANTED full-size blocks.
        """
        full = [b for b in self.blocks.values() if b.pulse_seconds >= self.full_seconds]
        if self.first_commit_s is None or len(full) < FULL_BLOCKS_WANTED:
            return None, None
        with_key = [block for block in self.blocks.values() if block.n_secret_bits][1:]
        gross = sum(block.n_secret_bits for block in with_key)
        authentication = sum(block.n_auth_bits for block in with_key)
        seconds = end_s - self.first_commit_s
        return (gross - authentication) / seconds, gross / seconds


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``qkdd demo --json``; rates are per second, times seconds."""

    ok: bool
    reason: str | None
    seconds: float
    secret_bits_per_s: float | None
    secret_bits_per_s_gross: float | None
    blocks: int
    blocks_without_key: int
    qber: float | None
    f_ec_one_way: float | None
    f_ec_both_ways: float | None
    first_key_s: float | None
    keys_compared: int
    keys_unequal: int
    refresh_missed: int
    refresh_latency_median_s: float | None
    refresh_latency_max_s: float | None
    eps_sec: float | None
    eps_cor: float | None
    distance_km: float
    click_rate: float | None
    cpu_s: dict[str, float]
    rss_mb: dict[str, float]


def summarise(
    watch: Watch,
    refreshes: Refreshes,
    children: Sequence[Child],
    *,
    km: float,
    end_s: float,
    reason: str | None,
) -> Summary:
    """Put everything together; ``ok`` only if every refresh after the first key was right."""
    net, gross = watch.secret_rates(end_s)
    blocks = list(watch.blocks.values())
    sifted = sum(block.n_sifted_bits for block in blocks)
    seconds = sum(block.pulse_seconds for block in blocks)
    reason = reason or _complaint(watch, refreshes)
    ordered = sorted(refreshes.latencies_s)
    usages: dict[str, Usage] = {child.name: child.usage for child in children}
    return Summary(
        ok=reason is None,
        reason=reason,
        seconds=end_s,
        secret_bits_per_s=net,
        secret_bits_per_s_gross=gross,
        blocks=len(blocks),
        blocks_without_key=sum(not block.n_secret_bits for block in blocks),
        qber=_mean([(b.qber_key, b.n_sifted_bits) for b in blocks]),
        f_ec_one_way=_mean([(b.f_one_way, b.n_sifted_bits) for b in blocks]),
        f_ec_both_ways=_mean([(b.f_both_ways, b.n_sifted_bits) for b in blocks]),
        first_key_s=watch.first_key_s,
        keys_compared=refreshes.compared,
        keys_unequal=refreshes.unequal,
        refresh_missed=refreshes.missed,
        refresh_latency_median_s=ordered[len(ordered) // 2] if ordered else None,
        refresh_latency_max_s=ordered[-1] if ordered else None,
        eps_sec=blocks[-1].eps_sec if blocks else None,
        eps_cor=blocks[-1].eps_cor if blocks else None,
        distance_km=km,
        click_rate=sum(b.n_clicks for b in blocks) / seconds if sifted else None,
        cpu_s={name: round(usage.cpu_s, 2) for name, usage in usages.items()},
        rss_mb={name: round(usage.rss_mb, 1) for name, usage in usages.items()},
    )


def _complaint(watch: Watch, refreshes: Refreshes) -> str | None:
    if refreshes.unequal:
        return f"{refreshes.unequal} keys differ between the two relays"
    if watch.first_key_s is None:
        return f"no key: {watch.last_reason or 'no block was distilled in this time'}"
    if refreshes.missed:
        return f"{refreshes.missed} refreshes missed, the last: {refreshes.last_miss}"
    return None


def _mean(weighted: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
