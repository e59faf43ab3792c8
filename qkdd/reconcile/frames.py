"""Cutting a block into frames, and choosing each frame's code; both ends compute the same cut."""

from dataclasses import dataclass
from math import sqrt

from qkdd.reconcile.codes import FRAME_BITS, Code, Z, code_for, code_with_rows
from qkdd.reconcile.ledger import CHECK_BITS
from qkdd.reconcile.settings import ReconcileSettings

BATCH_FRAMES = 16
"""Frames in one message: about 0.1 s of a fast link's key, and 40 kB on the wire."""

SHORT_SLACK = 1.05
"""A shortened frame is further from its limit: this many times the parities per bit."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Bits ``start <= i < start + size`` of a block.

    ``code`` is None for a remainder that is disclosed. Positions ``size`` and later of the code
    are known zeros.
    """

    start: int
    size: int
    code: Code | None


def first_threshold(qber: float, settings: ReconcileSettings) -> float:
    """Return the QBER up to which the first code must decode; see ReconcileSettings.spread."""
    deviation = sqrt(qber * (1 - qber) / FRAME_BITS)
    return max(0.0, qber * (1 + settings.margin) - settings.spread * deviation)


def cut(n_bits: int, qber_ppm: int, settings: ReconcileSettings) -> tuple[Frame, ...]:
    """Cut a block of ``n_bits`` into full frames and one remainder."""
    whole = code_for(first_threshold(qber_ppm * 1e-6, settings))
    n_whole, rest = divmod(n_bits, FRAME_BITS)
    frames = [Frame(i * FRAME_BITS, FRAME_BITS, whole) for i in range(n_whole)]
    if rest:
        short: Code | None = code_with_rows(SHORT_SLACK * whole.rows * rest / FRAME_BITS + 1)
        assert short is not None
        if short.rows * Z + CHECK_BITS >= rest:
            short = None
        frames.append(Frame(n_whole * FRAME_BITS, rest, short))
    return tuple(frames)


def batches(frames: tuple[Frame, ...]) -> range:
    """Return the first frame of each batch; a block without frames is one empty batch."""
    return range(0, max(len(frames), 1), BATCH_FRAMES)
