"""How Cascade goes through a block: batches of frames, sizes of blocks, and when to give up.

Whole numbers throughout, so that both ends compute the same plan on any machine.
"""

from dataclasses import dataclass

from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.settings import ReconcileSettings

FRAME_DEPTH = FRAME_BITS.bit_length() - 1
BATCH_FRAMES = 32
"""Searched through together: 2 million bits, 25 MB of trees. One batch after the other."""

SMALLEST_BITS = 256
"""A remainder below this is disclosed."""

FEWEST_ERRORS_PPM = 100
"""Blocks are not made larger for estimates below this."""

CLOSING_PASSES = 8
"""Halves of a failed frame, in as many random orders. Two errors hide from all of them with
probability 2^-8, and then from the next closing's."""


@dataclass(frozen=True, slots=True)
class Point:
    """One way to trade parities for round trips.

    ``first``, ``second``: millionths of errors expected in a block of the first and second pass;
    ``budget``: share of the expected errors, in thousandths, that may be asked for in one step;
    ``closing``: parities that a step of a closing search may ask for, while all the batch waits.
    """

    first: int
    second: int
    budget: int
    closing: int


POINTS = {
    "few-rounds": Point(640_000, 1_450_000, 70, 1024),
    "short": Point(700_000, 2_900_000, 3, 64),
}
"""Found by trying (`python -m benchmarks.cascade`)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames of equal size, ``2^depth`` or (a single one) less; depth 0: disclosed as it is."""

    start: int
    n_frames: int
    frame_bits: int
    depth: int


def batches(n_bits: int) -> tuple[Batch, ...]:
    """Cut a block into batches of whole frames, and the remainder."""
    n_whole, rest = divmod(n_bits, FRAME_BITS)
    cut = [
        Batch(first * FRAME_BITS, min(BATCH_FRAMES, n_whole - first), FRAME_BITS, FRAME_DEPTH)
        for first in range(0, n_whole, BATCH_FRAMES)
    ]
    if rest:
        depth = (rest - 1).bit_length() if rest >= SMALLEST_BITS else 0
        cut.append(Batch(n_whole * FRAME_BITS, 1, rest, depth))
    return tuple(cut)


def nearest_power(numerator: int, denominator: int) -> int:
    """log2 of the power of two nearest to a ratio, in ratio; at least 1."""
    log2_size = 1
    while 2 ** (2 * log2_size + 1) * denominator**2 <= numerator**2:
        log2_size += 1
    return log2_size


def stages(qber_ppm: int, depth: int, settings: ReconcileSettings) -> tuple[tuple[int, ...], ...]:
    """log2 of the block sizes, stage by stage: see :class:`Point`; then large ones together."""
    point = POINTS[settings.cascade_point]
    errors_ppm = max(qber_ppm, FEWEST_ERRORS_PPM)
    first = min(depth - 3, nearest_power(point.first, errors_ppm))
    second = min(depth - 2, nearest_power(point.second, errors_ppm))
    return ((first,), (second,), (depth - 3, depth - 2, depth - 1))


def budget(qber_ppm: int, n_bits: int, settings: ReconcileSettings) -> int:
    """Parities that may be asked for in one step to save steps."""
    return (
        n_bits * max(qber_ppm, FEWEST_ERRORS_PPM) * POINTS[settings.cascade_point].budget // 10**9
    )


def closing_budget(settings: ReconcileSettings) -> int:
    return POINTS[settings.cascade_point].closing


def closing_stages(depth: int) -> tuple[tuple[int, ...], ...]:
    return ((depth - 1,) * CLOSING_PASSES,)
