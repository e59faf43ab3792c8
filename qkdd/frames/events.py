"""What the receiver of the light tells: clock and frames found, clicks, errors, loss."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ClockFound:
    """The transmitter's pulse clock, seen through the tagger's clock."""

    period_ps: float
    offset_ppm: float
    """Period over nominal period, less one: positive if the transmitter's clock is slow."""
    strength: float
    """Amplitude of the spectral line per tag: 0 for noise, near 1 for light."""


@dataclass(frozen=True, slots=True)
class FrameStartFound:
    """Pulse 0 of the run, found from the preamble's known states."""

    pulse0_ps: int
    matched: int
    """Clicks in the basis of their pulse, under the best offset."""
    errors: int
    """Of these: clicks with the wrong bit."""
    runner_up: int
    """``matched - 2 * errors`` of the second-best offset: near 0 if all is well."""
    turned: bool = False
    """The polarisation is turned so far that the errors are no measure yet."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFrame:
    """The payload clicks of one frame. Counts are those of the payload."""

    frame: int
    block_index: int
    start: int
    """The frame's first pulse, counted from the BLOCK's first: may exceed 32 bits."""
    slots: npt.NDArray[np.uint32]
    """(n,) strictly rising pulse offsets from the FRAME's first pulse; no calibration pulse."""
    detectors: npt.NDArray[np.uint8]
    """(n,) basis * 2 + bit."""
    n_double: int
    """Clicks with both detectors of one basis: a random bit was given."""
    n_cross: int
    """Clicks in both bases: a random basis was given."""
    n_out_of_gate: int
    n_dead: int
    """Events dropped by the common dead time."""

    def wipe(self) -> None:
        """Zero the arrays: for whoever took them over and is done."""
        self.slots.fill(0)
        self.detectors.fill(0)


@dataclass(frozen=True, slots=True)
class CalibrationMeasured:
    """The errors of one frame's calibration segment, whose states are public. By basis."""

    frame: int
    matched: tuple[int, int]
    errors: tuple[int, int]
    n_clicks: int


@dataclass(frozen=True, slots=True)
class BlockEnded:
    """All pulses of this block of the run have arrived."""

    block_index: int


@dataclass(frozen=True, slots=True)
class Lost:
    """This run is over for the receiver, which ignores tags until the next hunt."""

    reason: str


Event: TypeAlias = (
    ClockFound | FrameStartFound | DetectedFrame | CalibrationMeasured | BlockEnded | Lost
)
