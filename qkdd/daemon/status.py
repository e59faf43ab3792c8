"""What one end of a link has done so far, counted by its tasks."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from qkdd.auth.budget import AuthBudget
from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot
from qkdd.daemon.watchdog import Loop
from qkdd.keys.epsilon_book import EpsilonYear
from qkdd.station.detectors import DetectorFacts
from qkdd.station.polarization import PolarizationFacts

RATE_WINDOW_S = 64.0
STALE_S = 4 * RATE_WINDOW_S
"""After this time a block says nothing about the light that is there now."""
KEY_BITS, AUTH_BITS_PER_KEY = 256, 512
"""A key asked for alone costs four tags: announced, held, confirmed, settled."""


@dataclass(slots=True)
class LinkStatus:
    """Counters of one end of a link; written by its tasks, read for snapshots."""

    name: str
    peer: str
    role: str
    budget: AuthBudget = field(default_factory=AuthBudget)
    state: str = "down"
    reason: str | None = None
    silence: str | None = None
    """What the neighbour owes us a word of, while it says nothing at all."""
    clock_offset_ppm: float | None = None
    calibration_errors: list[int] = field(default_factory=lambda: [0, 0])
    calibration_matched: list[int] = field(default_factory=lambda: [0, 0])
    eps_sec_total: float = 0.0
    eps_cor_total: float = 0.0
    epsilon_year: EpsilonYear | None = None
    eps_year_limit: float = 1.0
    n_blocks: int = 0
    n_blocks_without_key: int = 0
    n_blocks_void: int = 0
    odd_clicks: dict[str, int] = field(
        default_factory=lambda: {"double": 0, "cross": 0, "out_of_gate": 0, "dead": 0}
    )
    n_spoilt_records: int = 0
    tap_ratio: float | None = None
    tap_levels: dict[str, float] | None = None
    polarization: PolarizationFacts | None = None
    detectors: DetectorFacts | None = None
    n_alarms: int = 0
    alarm: str | None = None
    last_block: BlockFacts | None = None
    recent: deque[tuple[float, BlockFacts]] = field(default_factory=deque)
    light: Loop = field(default_factory=Loop)
    """Turns with the loop that reads or feeds the instruments, while they are open."""

    def enter(self, state: str, reason: str | None = None) -> None:
        """Note a new state; a step forward without a reason clears the last one."""
        self.state = state
        if reason is not None or state in ("session", "light"):
            self.reason = reason
        if state != "light":
            self.measured((0, 0), (0, 0))

    @property
    def why(self) -> str | None:
        """The reason as it is told: a neighbour that says nothing goes before the rest."""
        return "; ".join(one for one in (self.silence, self.reason) if one) or None

    def gave_up(self, reason: str) -> None:
        """Count a block that makes no key because it failed on the way."""
        self.n_blocks_void += 1
        self.reason = reason

    def watched(self, alarms: list[str]) -> None:
        """Take what the monitors say of a block; nothing is well."""
        self.n_alarms += bool(alarms)
        self.alarm = "; ".join(alarms) or None

    def measured(self, matched: tuple[int, int], errors: tuple[int, int]) -> None:
        """Take the counts of about a second of calibration segments."""
        self.calibration_matched = list(matched)
        self.calibration_errors = list(errors)

    def distilled(self, facts: BlockFacts, now_s: float) -> None:
        """Count a block that went through every stage, with or without key."""
        self.n_blocks += 1
        self.eps_sec_total += facts.eps_sec if facts.n_secret_bits else 0.0
        self.eps_cor_total += facts.eps_cor if facts.n_secret_bits else 0.0
        self.n_blocks_without_key += facts.n_secret_bits == 0
        self.reason = facts.reason
        self.last_block = facts
        self.recent.append((now_s, facts))
        seconds = sum(block.pulse_seconds for _, block in self.recent)
        while len(self.recent) > 1 and seconds - self.recent[0][1].pulse_seconds > RATE_WINDOW_S:
            seconds -= self.recent.popleft()[1].pulse_seconds

    def secret_bits_per_s(self, now_s: float) -> float | None:
        """Return what recent light has made; None if there was none."""
        blocks = [block for told_s, block in self.recent if told_s >= now_s - STALE_S]
        seconds = sum(block.pulse_seconds for block in blocks)
        return sum(block.n_secret_bits for block in blocks) / seconds if seconds else None

    def snapshot(
        self,
        now_s: float,
        *,
        account: dict[str, int],
        auth_left_bits: int,
        promised_bits_per_s: float,
    ) -> LinkSnapshot:
        """Take all of it together; ``account`` and authentication key are the store's."""
        blocks = [block for told_s, block in self.recent if told_s >= now_s - STALE_S]
        seconds = sum(block.pulse_seconds for block in blocks)

        def rate(total: int) -> float | None:
            return total / seconds if seconds else None

        matched, errors = self.calibration_matched, self.calibration_errors
        year = self.epsilon_year
        return LinkSnapshot(
            name=self.name,
            peer=self.peer,
            role=self.role,
            state=self.state,
            reason=self.why,
            clock_offset_ppm=self.clock_offset_ppm,
            qber_calibration_key=errors[0] / matched[0] if matched[0] else None,
            qber_calibration_test=errors[1] / matched[1] if matched[1] else None,
            click_rate=rate(sum(block.n_clicks for block in blocks)),
            sifted_bits_per_s=rate(sum(block.n_sifted_bits for block in blocks)),
            secret_bits_per_s=self.secret_bits_per_s(now_s),
            disclosed_bits_per_s=rate(sum(block.disclosed_both_ways_bits for block in blocks)),
            eps_sec_total=self.eps_sec_total,
            eps_cor_total=self.eps_cor_total,
            eps_year=None if year is None else year.year,
            eps_year_blocks=0 if year is None else year.n_blocks,
            eps_year_secrecy=0.0 if year is None else year.secrecy,
            eps_year_correctness=0.0 if year is None else year.correctness,
            eps_year_limit=self.eps_year_limit,
            n_blocks=self.n_blocks,
            n_blocks_without_key=self.n_blocks_without_key,
            n_blocks_void=self.n_blocks_void,
            odd_clicks=dict(self.odd_clicks),
            tap_ratio=self.tap_ratio,
            tap_levels=self.tap_levels,
            polarization=self.polarization,
            detectors=self.detectors,
            n_alarms=self.n_alarms,
            alarm=self.alarm,
            last_block=self.last_block,
            stock_bits=account.get("stock", 0),
            auth_left_bits=auth_left_bits,
            auth_tags=self.budget.n_tags,
            auth_bad_tags=self.budget.n_bad_tags,
            auth_forgery_bound=self.budget.forgery_bound,
            n_spoilt_records=self.n_spoilt_records,
            hours_of_stock=hours_of_stock(
                account.get("stock", 0), auth_left_bits, promised_bits_per_s
            ),
            account=account,
        )


def hours_of_stock(
    stock_bits: int, auth_left_bits: int, promised_bits_per_s: float
) -> float | None:
    """How long the promise can be kept without light; None if nothing is promised.

    Key for applications and key to authenticate its delivery end apart: whichever is first.
    """
    if not promised_bits_per_s:
        return None
    auth_bits_per_s = promised_bits_per_s / KEY_BITS * AUTH_BITS_PER_KEY
    seconds = min(stock_bits / promised_bits_per_s, auth_left_bits / auth_bits_per_s)
    return seconds / 3600


def in_one_line(links: Iterable[LinkStatus]) -> str:
    """Say every link's state, and the reason where it has one."""
    return "; ".join(
        f"{link.name} {link.state}" + (f" ({link.why})" if link.why else "") for link in links
    )
