"""What a state encoder is: it gives every pulse its basis, bit and intensity."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from drivers.identity import Identity as Identity


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """The pulses of a run, in the encoder's own terms (docs/encoder-protocol.md, CONFIGURE)."""

    pulse_rate_hz: int
    preamble_pulses: int
    frame_pulses: int
    calibration_pulses: int
    key_threshold: int
    """P(key basis) in steps of 2^-15."""
    signal_threshold: int
    """P(signal) in steps of 2^-16."""
    weak_threshold: int
    """P(weak) in steps of 2^-16."""
    weak_ratio: float
    """Light of a weak pulse over a signal's."""
    vacuum_ratio: float
    ramp_frames: tuple[int, ...]
    """Frames of block 0, 1, ...; the last entry repeats."""


class EncoderState(IntEnum):
    UNCONFIGURED = 0
    IDLE = 1
    RUNNING = 2
    FAULT = 3
    SHOWING = 4


@dataclass(frozen=True, slots=True)
class EncoderStatus:
    state: EncoderState
    run: int
    pulses: int
    """Emitted in this run, or in the last one."""
    block: int | None
    """Being emitted; None during the preamble and when not running."""
    n_seeds: int
    """Blocks whose seed waits or is in use."""


class Encoder(Protocol):
    """Every method raises NoReply or BadReply when the talk breaks down, Refused if declined."""

    async def identity(self) -> Identity: ...

    async def configure(self, plan: EncoderPlan) -> None:
        """Set the pulses of the runs to come; every seed is wiped."""

    async def load_seed(self, block: int | None, seed: bytes | bytearray | memoryview) -> None:
        """Give it the 32 bytes that choose the pulses of a block, or of all calibration (None)."""

    async def start(self, run: int) -> None:
        """Let pulse 0 leave."""

    async def show(self, level: int) -> None:
        """Emit pulses of one intensity (0 signal, 1 weak, 2 vacuum) and of one fixed state.

        It needs no seed and keeps those that wait; `stop` or `start` ends it, and the watchdog.
        """

    async def stop(self) -> None:
        """Dark at once; every seed is wiped. Allowed in any state."""

    async def status(self) -> EncoderStatus:
        """Also keeps the watchdog of an encoder that runs or shows a level fed."""
        ...

    async def status_before(self) -> EncoderStatus | None:
        """Ask as `status` does, and return the answer to the question before, which nobody had to
        wait for; None if there was none or it is too old, or if anything else was asked since."""
        ...
