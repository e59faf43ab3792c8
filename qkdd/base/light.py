"""What both ends of a link agree on before the first pulse: pulses, intensities, blocks.

A *run* is one uninterrupted emission. Its pulses are numbered from 0: first the preamble, then
frames of equal length, each opening with a short calibration segment whose states become public.
A block is a whole number of frames; the calibration segments inside it belong to no block.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta


class Basis(IntEnum):
    KEY = 0
    TEST = 1


class Intensity(IntEnum):
    SIGNAL = 0
    WEAK = 1
    VACUUM = 2


BASIS_SCALE = 1 << 15
INTENSITY_SCALE = 1 << 16


class Intensities(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean photon numbers and probabilities (Lim et al. 2014: mu1 > mu2 + mu3, mu2 > mu3 >= 0)."""

    signal_mu: Annotated[float, Meta(gt=0, lt=2)] = 0.50
    weak_mu: Annotated[float, Meta(gt=0, lt=2)] = 0.19
    vacuum_mu: Annotated[float, Meta(ge=0, lt=1)] = 0.001
    signal_probability: Annotated[float, Meta(gt=0, lt=1)] = 0.65
    weak_probability: Annotated[float, Meta(gt=0, lt=1)] = 0.29
    key_basis_probability: Annotated[float, Meta(gt=0, lt=1)] = 0.84
    """Probability of the key basis at the transmitter; the receiver's splitter has its own."""

    def __post_init__(self) -> None:
        if not self.signal_mu > self.weak_mu + self.vacuum_mu:
            raise ValueError(
                f"signal_mu {self.signal_mu} must exceed weak_mu + vacuum_mu "
                f"{self.weak_mu + self.vacuum_mu:g} (Lim et al. 2014)"
            )
        if not self.weak_mu > self.vacuum_mu:
            raise ValueError(f"weak_mu {self.weak_mu} must exceed vacuum_mu {self.vacuum_mu}")
        if self.signal_threshold + self.weak_threshold >= INTENSITY_SCALE:
            raise ValueError(
                f"signal_probability {self.signal_probability} + weak_probability "
                f"{self.weak_probability} leave nothing for the vacuum"
            )
        if not (self.signal_threshold and self.weak_threshold):
            raise ValueError(f"a probability is below the encoder's step of 1/{INTENSITY_SCALE}")
        if not 0 < self.key_threshold < BASIS_SCALE:
            raise ValueError(
                f"key_basis_probability {self.key_basis_probability} rounds to 0 or 1 at the "
                f"encoder's step of 1/{BASIS_SCALE}"
            )

    @property
    def key_threshold(self) -> int:
        """The encoder chooses the key basis if a 15-bit number is below this."""
        return round(self.key_basis_probability * BASIS_SCALE)

    @property
    def key_basis_share(self) -> float:
        """The probability of the key basis that the encoder really has (whole steps)."""
        return self.key_threshold / BASIS_SCALE

    @property
    def signal_threshold(self) -> int:
        """The encoder chooses the signal if a 16-bit number is below this."""
        return round(self.signal_probability * INTENSITY_SCALE)

    @property
    def weak_threshold(self) -> int:
        """Width of the weak state's range of 16-bit numbers, above the signal's."""
        return round(self.weak_probability * INTENSITY_SCALE)

    @property
    def mus(self) -> tuple[float, float, float]:
        """Mean photon numbers, indexed by :class:`Intensity`."""
        return (self.signal_mu, self.weak_mu, self.vacuum_mu)

    @property
    def probabilities(self) -> tuple[float, float, float]:
        """The probabilities that the encoder really has (whole steps), by :class:`Intensity`."""
        signal = self.signal_threshold / INTENSITY_SCALE
        weak = self.weak_threshold / INTENSITY_SCALE
        return (signal, weak, 1.0 - signal - weak)


@dataclass(frozen=True, slots=True)
class Span:
    """Pulses ``start <= i < stop`` of a run."""

    start: int
    stop: int


class LightPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pulses of a run. All counts are pulses; blocks are counted in frames."""

    pulse_rate_hz: Annotated[int, Meta(ge=1_000_000, le=10_000_000_000)] = 100_000_000
    preamble_pulses: Annotated[int, Meta(ge=100_000, le=1_000_000_000)] = 5_000_000
    frame_pulses: Annotated[int, Meta(ge=100_000, le=1_000_000_000)] = 10_000_000
    calibration_pulses: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 50_000
    ramp_frames: Annotated[tuple[int, ...], Meta(min_length=1, max_length=16)] = (
        20,
        40,
        80,
        160,
    )
    """Frames of block 0, 1, 2, ... of a run; the last value repeats."""

    def __post_init__(self) -> None:
        if self.calibration_pulses >= self.frame_pulses:
            raise ValueError(
                f"calibration_pulses {self.calibration_pulses} must be below frame_pulses "
                f"{self.frame_pulses}"
            )
        if any(not 1 <= frames <= 65_535 for frames in self.ramp_frames):
            raise ValueError(f"ramp_frames {self.ramp_frames} must be 1 to 65535 each")

    @property
    def period_ps(self) -> float:
        return 1e12 / self.pulse_rate_hz

    def block_frames(self, index: int) -> int:
        """Frames of the ``index``-th block of a run."""
        return self.ramp_frames[min(index, len(self.ramp_frames) - 1)]

    def first_frame(self, index: int) -> int:
        """Number of the first frame of the ``index``-th block of a run."""
        ramp = len(self.ramp_frames)
        return sum(self.ramp_frames[:index]) + max(0, index - ramp) * self.ramp_frames[-1]

    def block_span(self, index: int) -> Span:
        """Pulses of the ``index``-th block of a run, calibration segments included."""
        start = self.preamble_pulses + self.first_frame(index) * self.frame_pulses
        return Span(start, start + self.block_frames(index) * self.frame_pulses)

    def block_of_frame(self, frame: int) -> int:
        """Index of the block that holds ``frame``."""
        index = 0
        for frames in self.ramp_frames[:-1]:
            if frame < frames:
                return index
            frame -= frames
            index += 1
        return index + frame // self.ramp_frames[-1]

    def frame_span(self, frame: int) -> Span:
        """Pulses of frame ``frame``, its calibration segment included."""
        start = self.preamble_pulses + frame * self.frame_pulses
        return Span(start, start + self.frame_pulses)

    def payload_pulses(self, index: int) -> int:
        """How many pulses of the ``index``-th block may make key."""
        return self.block_frames(index) * (self.frame_pulses - self.calibration_pulses)
