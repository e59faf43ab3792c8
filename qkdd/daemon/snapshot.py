"""What a relay says about itself: one snapshot, all of it public."""

import msgspec

from qkdd.base.counts import ByIntensity
from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.deliver.tally import CallFacts
from qkdd.station.detectors import DetectorFacts
from qkdd.station.polarization import PolarizationFacts


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
    correction: str
    """How errors were corrected: method and operating point."""
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
    tap_levels: dict[str, float] | None
    """What it read of each intensity before the run: the signal over its calibration, the others
    over the signal."""
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
    n_spoilt_records: int
    """Sessions since the start that ended because a TLS record came other than it was sent."""
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
