"""What the two ends of the light say to each other about runs and blocks."""

from typing import Annotated

import msgspec
from msgspec import Meta

Seed = Annotated[bytes, Meta(min_length=32, max_length=32)]
Number = Annotated[int, Meta(ge=0, le=2**62)]
MAX_REASON = 500
"""Characters: whoever says why cuts it there."""
Text = Annotated[str, Meta(max_length=MAX_REASON)]


class RunMessage(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    run: Number


class RunAnnounced(RunMessage, frozen=True, kw_only=True):
    """Transmitter: a run will start when you are ready. The calibration states become public."""

    first_block: Number
    calibration_seed: Seed


class RunReady(RunMessage, frozen=True, kw_only=True):
    """Receiver: the tagger runs and I am looking for the first pulse."""


class RunWaits(RunMessage, frozen=True, kw_only=True):
    """Receiver: I have heard of this run, and cannot take it up yet."""

    reason: Text


class LightLocked(RunMessage, frozen=True, kw_only=True):
    """Receiver: clock and first pulse are found."""

    clock_offset_ppm: float
    errors: Number
    matched: Number


REPORT_FRAMES = 10
"""So many frames are summed into one report: a message costs 16 bytes of authentication key."""


class LightMeasured(RunMessage, frozen=True, kw_only=True):
    """Receiver: the error counts of REPORT_FRAMES calibration segments, of no block."""

    frame: Number
    matched: tuple[Number, Number]
    errors: tuple[Number, Number]


class RunLost(RunMessage, frozen=True, kw_only=True):
    """Receiver: this run is over for me; every block of it that has not ended is void."""

    reason: Text


class RunStopped(RunMessage, frozen=True, kw_only=True):
    """Transmitter: this run is over; every block of it that has not ended is void. Also: there is
    no light, since an instrument is at fault, and a run is announced when there can be."""

    reason: Text


class BlockVoid(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    """Either end: this block makes no key; forget it."""

    block_no: Number
    reason: Text
