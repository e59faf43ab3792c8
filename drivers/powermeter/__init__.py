"""What an optical power meter is; one file per model beside this."""

from dataclasses import dataclass
from typing import Protocol

from drivers.identity import Identity as Identity


@dataclass(frozen=True, slots=True)
class PowerMeterStatus:
    wavelength_nm: float
    """What the sensor's responsivity is taken at."""
    range_w: float
    """The most it can show now."""
    auto_range: bool
    n_averages: int
    """Samples that one reading is the mean of."""
    sensor: str
    """Type and serial number of the head: the calibration belongs to it."""
    errors: tuple[str, ...]
    """What the error queue held; reading empties it."""


class PowerMeter(Protocol):
    """Every method raises NoReply or BadReply when the talk breaks down."""

    async def identity(self) -> Identity: ...

    async def set_wavelength_nm(self, wavelength_nm: float) -> None:
        """Tell it the light's wavelength; Refused if the sensor is not calibrated there."""

    async def set_range_w(self, range_w: float | None) -> None:
        """Take the range that holds ``range_w``, or let the meter choose (None)."""

    async def set_averages(self, n_averages: int) -> None: ...

    async def power_w(self) -> float:
        """Measure; about zero in the dark, so that it may be negative. Fault if over range."""
        ...

    async def zero(self) -> None:
        """Take what is seen now for darkness; cover the sensor before."""

    async def status(self) -> PowerMeterStatus: ...
