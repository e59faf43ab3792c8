"""What a set of single-photon detectors with one controller is; one file per model beside this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.identity import Identity as Identity


@dataclass(frozen=True, slots=True)
class DetectorStatus:
    """Tuples have one entry for each detector."""

    enabled: bool
    """They are biased, and can click."""
    bias_ua: tuple[float, ...]
    """The set points; what flows while ``enabled``."""
    bias_voltage: tuple[float, ...]
    """Over the detectors, in the controller's own unit: a latched nanowire is resistive, and shows
    a voltage that its neighbours do not. It counts again when disabled and enabled."""
    trigger_mv: tuple[float, ...]
    period_ms: int
    """Time over which counts are taken."""
    errors: tuple[str, ...]
    """What it complained of since the last status."""


@dataclass(frozen=True, slots=True)
class DetectorCounts:
    time_s: float
    """When the period ended, by the controller's clock, in seconds since 1970."""
    period_ms: int
    counts: tuple[int, ...]

    @property
    def rates_hz(self) -> tuple[float, ...]:
        return tuple(1000.0 * counts / self.period_ms for counts in self.counts)


class Detector(Protocol):
    """Every method raises NoReply or BadReply when the talk breaks down."""

    async def identity(self) -> Identity: ...

    async def set_bias_ua(self, bias_ua: Sequence[float]) -> None:
        """Set the bias current of every detector; Refused if it does not take them."""

    async def set_trigger_mv(self, trigger_mv: Sequence[float]) -> None:
        """Set the level of every comparator; Refused if it does not take them."""

    async def set_enabled(self, on: bool) -> None:
        """Bias the detectors, or take the bias away; Refused if they stay as they were."""

    async def set_period_ms(self, period_ms: int) -> None:
        """Count over so long at a time; Refused if it does not take it."""

    async def counts(self) -> DetectorCounts:
        """Wait for the end of a period, and return its counts.

        It may have begun before the call: to see what a setting did, take the second. Periods
        nobody waits for are dropped.
        """
        ...

    async def temperature_k(self) -> float:
        """Ask how cold the detectors are."""
        ...

    async def status(self) -> DetectorStatus: ...
