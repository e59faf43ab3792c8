"""What an electrically driven polarisation controller is; one file per model beside this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.identity import Identity as Identity


@dataclass(frozen=True, slots=True)
class PolarizationStatus:
    scrambling: bool
    """The polarisation is being stirred: the voltages wait, and nothing is held."""
    voltages_mv: tuple[int, ...]
    """One for each channel, the first channel first."""
    lowest_mv: int
    highest_mv: int


class PolarizationController(Protocol):
    """Channels count from 1. Every method raises NoReply or BadReply when the talk breaks down."""

    async def identity(self) -> Identity: ...

    async def set_voltage_mv(self, channel: int, voltage_mv: int) -> None:
        """Set one channel; Refused if out of range, and then nothing has changed.

        How long the fibre takes to follow is not known to the controller: the caller waits.
        """

    async def set_voltages_mv(self, voltages_mv: Sequence[int]) -> None:
        """Set every channel, in order; Refused if any is out of range, before the first is set."""

    async def set_scrambling(self, on: bool) -> None:
        """Stir the polarisation, or hold it at the voltages."""

    async def status(self) -> PolarizationStatus: ...
