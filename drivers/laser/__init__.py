"""What a laser is to the rest of the world; one file per model beside this."""

from dataclasses import dataclass
from typing import Protocol

from drivers.identity import Identity as Identity


@dataclass(frozen=True, slots=True)
class LaserStatus:
    on: bool
    current_ma: float
    """The set point; what flows while ``on``."""
    diode_v: float
    monitor_ma: float
    """Current of the photodiode behind the laser's back facet: is there light?"""
    thermistor_ohm: float
    errors: tuple[str, ...]
    """Empty while all is well."""


@dataclass(frozen=True, slots=True)
class LaserLight:
    """What must be known every second while there is light."""

    on: bool
    errors: tuple[str, ...]
    """Empty while all is well."""


class Laser(Protocol):
    """Every method raises NoReply or BadReply when the talk breaks down."""

    async def identity(self) -> Identity: ...

    async def set_current_ma(self, current_ma: float) -> None:
        """Set the current; Refused if the laser would not take it. Does not switch it on."""

    async def set_output(self, on: bool) -> None:
        """Switch the light; Refused if the laser stays as it was (interlock)."""

    async def status(self) -> LaserStatus: ...

    async def light(self) -> LaserLight:
        """As ``status``, in as few words as can be."""
        ...
