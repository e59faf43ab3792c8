"""Cutting a block into frames, and choosing each frame's code; both ends compute the same cut."""

from dataclasses import dataclass
from math import sqrt

from qkdd.reconcile import tight
from qkdd.reconcile.codes import FRAME_BITS, Code, Z, code_for, code_with_rows, family
from qkdd.reconcile.ledger import CHECK_BITS
from qkdd.reconcile.settings import ReconcileSettings

BATCH_FRAMES = 16
"""Frames of 65,536 bits in one message, or one long frame: about 0.1 s of a fast link's key, and
40 kB on the wire."""

LONG_MARGIN, LONG_SPREAD = 0.02, 2.0
"""Of a long frame, margin and spread count from here: with these it begins where half of them pass,
for its first rounds reveal a quarter of a per cent each."""

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


def load_codes(settings: ReconcileSettings) -> None:
    """Read the codes from the disk, once in a process.

    It holds the interpreter for up to 0.1 s: do it before there is light to be read.
    """
    family()
    if settings.ldpc_point == "tight":
        tight.code_for(0.0)


def first_threshold(qber: float, settings: ReconcileSettings) -> float:
    """Return the QBER up to which the first code must decode; see ReconcileSettings.spread."""
    return _threshold(qber, settings.margin, settings.spread, FRAME_BITS)


def long_threshold(qber: float, settings: ReconcileSettings) -> float:
    """Return the same of a long frame."""
    margin, spread = settings.margin - LONG_MARGIN, settings.spread - LONG_SPREAD
    return _threshold(qber, margin, spread, tight.FRAME_BITS)


def _threshold(qber: float, margin: float, spread: float, frame_bits: int) -> float:
    deviation = sqrt(qber * (1 - qber) / frame_bits)
    return max(0.0, qber * (1 + margin) - spread * deviation)


def cut(n_bits: int, qber_ppm: int, settings: ReconcileSettings) -> tuple[Frame, ...]:
    """Cut a block of ``n_bits`` into long frames (if ``tight``), full frames and one remainder."""
    frames = []
    if settings.ldpc_point == "tight" and n_bits >= tight.FRAME_BITS:
        long = tight.code_for(long_threshold(qber_ppm * 1e-6, settings))
        n_long = n_bits // tight.FRAME_BITS
        frames = [Frame(i * tight.FRAME_BITS, tight.FRAME_BITS, long) for i in range(n_long)]
    begin = len(frames) * tight.FRAME_BITS
    whole = code_for(first_threshold(qber_ppm * 1e-6, settings))
    n_whole, rest = divmod(n_bits - begin, FRAME_BITS)
    frames += [Frame(begin + i * FRAME_BITS, FRAME_BITS, whole) for i in range(n_whole)]
    if rest:
        short: Code | None = code_with_rows(SHORT_SLACK * whole.rows * rest / FRAME_BITS + 1)
        assert short is not None
        if short.rows * Z + CHECK_BITS >= rest:
            short = None
        frames.append(Frame(begin + n_whole * FRAME_BITS, rest, short))
    return tuple(frames)


def batches(frames: tuple[Frame, ...]) -> tuple[int, ...]:
    """Return the first frame of each batch; a block without frames is one empty batch."""
    firsts = [0]
    while (after := firsts[-1] + len(batch_at(frames, firsts[-1]))) < len(frames):
        firsts.append(after)
    return tuple(firsts)


def batch_at(frames: tuple[Frame, ...], first: int) -> tuple[Frame, ...]:
    """Return the frames of the batch that begins with frame ``first``."""
    frames = frames[first : first + BATCH_FRAMES]
    n_bits, n_frames = 0, 0
    while n_frames < len(frames) and n_bits + frames[n_frames].size <= BATCH_FRAMES * FRAME_BITS:
        n_bits += frames[n_frames].size
        n_frames += 1
    return frames[:n_frames]
