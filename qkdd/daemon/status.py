"""What a relay says about itself: one snapshot, served as JSON on a Unix socket."""

import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from qkdd.auth.budget import AuthBudget
from qkdd.base.counts import ByIntensity
from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.daemon.watchdog import Loop
from qkdd.deliver.tally import CallFacts
from qkdd.keys.epsilon_book import EpsilonYear
from qkdd.station.detectors import DetectorFacts
from qkdd.station.polarization import PolarizationFacts

RATE_WINDOW_S = 64.0
STALE_S = 4 * RATE_WINDOW_S
"""After this time a block says nothing about the light that is there now."""
WORD_TIMEOUT_S, SEND_TIMEOUT_S = 0.2, 2.0
MAX_WORD_BYTES = 64
KEY_BITS, AUTH_BITS_PER_KEY = 256, 512
"""A key asked for alone costs four tags: announced, held, confirmed, settled."""


class BlockFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One distilled block, in numbers that are all public."""

    block_no: int
    pulse_seconds: float
    n_clicks: int
    n_sifted_bits: int
    n_secret_bits: int
    n_auth_bits: int
    disclosed_one_way_bits: int
    disclosed_both_ways_bits: int
    qber_key: float | None
    qber_test: float | None
    qber_key_by_intensity: tuple[float | None, float | None, float | None]
    qber_test_by_intensity: tuple[float | None, float | None, float | None]
    key: ByIntensity
    test: ByIntensity
    key_errors: ByIntensity
    test_errors: ByIntensity
    """The counts behind the proof, as :class:`DecoyCounts` has them."""
    phase_error_bound: float | None
    f_one_way: float | None
    f_both_ways: float | None
    eps_sec: float
    eps_cor: float
    reason: str | None
    """Why there is no key, if there is none."""


class LinkSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a link, now."""

    name: str
    peer: str
    role: str
    state: str
    """down | session | dark | searching | light"""
    reason: str | None
    clock_offset_ppm: float | None
    qber_calibration_key: float | None
    qber_calibration_test: float | None
    click_rate: float | None
    sifted_bits_per_s: float | None
    secret_bits_per_s: float | None
    disclosed_bits_per_s: float | None
    eps_sec_total: float
    eps_cor_total: float
    eps_year: int | None
    """Calendar year (UTC) of the next three; None before the first session."""
    eps_year_blocks: int
    eps_year_secrecy: float
    eps_year_correctness: float
    eps_year_limit: float
    n_blocks: int
    n_blocks_without_key: int
    n_blocks_void: int
    odd_clicks: dict[str, int]
    """Of the receiver since its start: double, cross, out_of_gate, dead (docs/security.md)."""
    tap_ratio: float | None
    """The tap's last reading over its calibration; at a transmitter that has one."""
    polarization: PolarizationFacts | None
    """Of a receiver that has a polarisation controller."""
    detectors: DetectorFacts | None
    """Of a receiver whose detectors' controller is watched."""
    n_alarms: int
    """Blocks that a monitor of the receiver threw away since the start."""
    alarm: str | None
    """What the monitors said of the last block; None if all was well with it."""
    last_block: BlockFacts | None
    stock_bits: int
    auth_left_bits: int
    auth_tags: int
    auth_bad_tags: int
    auth_forgery_bound: float
    """Chance, at most, that any frame accepted on this link since the start was forged."""
    hours_of_stock: float | None
    account: dict[str, int]


class RelaySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    node: str
    pid: int
    uptime_s: float
    wall_s: float
    kernels: dict[str, str]
    entropy_failure: str | None
    """Why the source of randomness is not to be trusted: then no link works."""
    links: tuple[LinkSnapshot, ...]
    lanes: tuple[LaneSnapshot, ...] = ()
    delivery: tuple[CallFacts, ...] = ()
    clock: str = ""
    """How far the clock may be off, for lanes, and who says so."""


@dataclass(slots=True)
class LinkStatus:
    """Counters of one end of a link; written by its tasks, read for snapshots."""

    name: str
    peer: str
    role: str
    budget: AuthBudget = field(default_factory=AuthBudget)
    state: str = "down"
    reason: str | None = None
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
    tap_ratio: float | None = None
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
            reason=self.reason,
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
        f"{link.name} {link.state}" + (f" ({link.reason})" if link.reason else "") for link in links
    )


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command."""

    ok: bool
    text: str


Command = Callable[[str], Awaitable[Answer]]


def read_snapshot(answer: bytes) -> RelaySnapshot:
    """Read what a relay has answered.

    Raises
    ------
    msgspec.DecodeError
        If it is cut short, of another version, or no snapshot at all.
    """
    try:
        return msgspec.json.decode(answer, type=RelaySnapshot)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


async def serve_status(
    path: Path,
    snapshot: Callable[[], RelaySnapshot],
    command: Command | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer every connection once, as JSON, then close it. Owner only (0600).

    Who says nothing and ends its sentence is told one snapshot; a word is a ``command``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        await listening.bind(str(path))
    finally:
        os.umask(old_mask)
    listening.listen(8)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                word = await _word(stream)
                said = snapshot() if command is None or not word else await command(word)
                with trio.move_on_after(SEND_TIMEOUT_S):
                    await stream.send_all(msgspec.json.encode(said))
            except trio.BrokenResourceError:
                return  # the asker has gone: nothing is lost

    try:
        await trio.serve_listeners(
            answer, [trio.SocketListener(listening)], task_status=_Ready(task_status)
        )
    finally:
        path.unlink(missing_ok=True)


async def _word(stream: trio.SocketStream) -> str:
    """Read to the end of the asker's sentence; one that does not come soon is an empty one."""
    text = b""
    with trio.move_on_after(WORD_TIMEOUT_S):
        while len(text) < MAX_WORD_BYTES and (piece := await stream.receive_some(MAX_WORD_BYTES)):
            text += piece
        return text.decode(errors="replace").strip()
    return ""


class _Ready:
    """Passes ``started`` on without the listeners, which are nobody else's business."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status

    def started(self, _value: object = None) -> None:
        self._task_status.started()
