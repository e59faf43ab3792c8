"""How a block's key is shared out at its birth, by a rule both ends of a link compute alone.

[authentication and stock, cut further by the key store][lane a][lane b]...

A lane is due what its rate gives for the block's stretch of the run's light, so that nothing is
lost to rounding from block to block of a run. If the block is short, authentication goes first,
then lanes and the promised stock by priority, and in proportion within one priority.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

from qkdd.base.secret import Secret
from qkdd.relay.settings import UNIT_BITS, UNIT_BYTES, Lane
from qkdd.relay.units import UnitBlock

US_PER_1000_S = 1_000_000_000
MIN_STOCK_BITS = 128
"""The key store commits no block of less."""
STOCK = ""
"""Stands for the promised stock among the lanes; no lane is called so."""


@dataclass(frozen=True, slots=True)
class PromisedStock:
    """Key for direct delivery between the two neighbours that lanes of less priority respect."""

    bits_per_s: int = 0
    priority: int = 5


@dataclass(frozen=True, slots=True)
class LightSpan:
    """The stretch of the run's light that made a block, in us from the run's first pulse."""

    start_us: int
    stop_us: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_us < self.stop_us:
            raise ValueError(f"light from {self.start_us} to {self.stop_us} us")


@dataclass(frozen=True, slots=True)
class Share:
    """Units ``0 <= u < n_units`` of a lane lie from byte ``offset`` of the block on."""

    offset: int
    n_units: int


@dataclass(frozen=True, slots=True)
class BlockCut:
    """``n_bits = stock_bits + lane_bits``, to the bit."""

    n_bits: int
    shares: Mapping[str, Share]
    short: Mapping[str, int]
    """Units (of the stock: units' worth) that were due and are not there, by lane."""

    @property
    def lane_bits(self) -> int:
        return UNIT_BITS * sum(share.n_units for share in self.shares.values())

    @property
    def stock_bits(self) -> int:
        """What goes to the key store, authentication included."""
        return self.n_bits - self.lane_bits


def units_due(keys_per_1000_s: int, span: LightSpan) -> int:
    """Return how many units a lane of ``keys_per_1000_s`` units per 1000 s is due for ``span``."""
    return (
        keys_per_1000_s * span.stop_us // US_PER_1000_S
        - keys_per_1000_s * span.start_us // US_PER_1000_S
    )


def cut_block(
    n_bits: int,
    *,
    auth_bytes: int,
    span: LightSpan,
    lanes: Sequence[Lane],
    promised: PromisedStock,
) -> BlockCut:
    """Share out a block of ``n_bits``; ``auth_bytes`` are wanted for each direction's tags."""
    if len({lane.id for lane in lanes}) != len(lanes):
        raise ValueError("two lanes of one name on one link")
    n_left = max(0, n_bits - 16 * auth_bytes) // UNIT_BITS
    stock_due = -(-promised.bits_per_s * (span.stop_us - span.start_us) // 1_000_000)
    dues = [(lane.priority, lane.id, units_due(lane.keys_per_1000_s, span)) for lane in lanes]
    dues.append((promised.priority, STOCK, -(-stock_due // UNIT_BITS)))
    given: dict[str, int] = {}
    short: dict[str, int] = {}
    for _, group in groupby(sorted(dues), key=lambda due: due[0]):
        wanted = {name: n_units for _, name, n_units in group}
        got = _split(wanted, n_left)
        n_left -= sum(got.values())
        given |= got
        short |= {name: n - got[name] for name, n in wanted.items() if n > got[name]}
    del given[STOCK]
    if n_bits - UNIT_BITS * sum(given.values()) < MIN_STOCK_BITS and any(given.values()):
        last = max((priority, name) for priority, name, _ in dues if given.get(name))[1]
        given[last] -= 1
        short[last] = short.get(last, 0) + 1
    return BlockCut(n_bits, MappingProxyType(_places(n_bits, given)), MappingProxyType(short))


def _split(wanted: Mapping[str, int], n_left: int) -> dict[str, int]:
    """Give each what it wants, or its proportional part; odd units go by name."""
    total = sum(wanted.values())
    if total <= n_left:
        return dict(wanted)
    got = {name: n * n_left // total for name, n in wanted.items()}
    for name in sorted(wanted):
        if sum(got.values()) < n_left and got[name] < wanted[name]:
            got[name] += 1
    return got


def _places(n_bits: int, given: Mapping[str, int]) -> dict[str, Share]:
    """Lay the lanes at the end of the block's whole bytes, by name."""
    offset = n_bits // 8 - UNIT_BYTES * sum(given.values())
    shares: dict[str, Share] = {}
    for name in sorted(given):
        if given[name]:
            shares[name] = Share(offset, given[name])
            offset += UNIT_BYTES * given[name]
    return shares


def take_units(
    key: Secret, cut: BlockCut, *, block_no: int, now_s: float
) -> tuple[Secret, dict[str, UnitBlock]]:
    """Carry out ``cut`` on a block's packed key, which is wiped.

    Returns
    -------
    stock : Secret
        ``cut.stock_bits`` packed bits for the key store.
    units : dict
        The units of each lane.
    """
    if len(key) != -(-cut.n_bits // 8):
        raise ValueError(f"{len(key)} bytes cannot be {cut.n_bits} bits")
    view = key.reveal()
    units = {
        lane: UnitBlock(
            block_no,
            Secret.from_bytes(view[share.offset : share.offset + UNIT_BYTES * share.n_units]),
            now_s,
        )
        for lane, share in cut.shares.items()
    }
    n_whole = cut.n_bits // 8
    stock = Secret(-(-cut.stock_bits // 8))
    n_first = n_whole - cut.lane_bits // 8
    stock.reveal()[:n_first] = view[:n_first]
    stock.reveal()[n_first:] = view[n_whole:]  # the odd bits of the block's last byte
    key.wipe()
    return stock, units
