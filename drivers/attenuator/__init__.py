"""What a variable optical attenuator with a shutter is; one file per model beside this."""

from typing import Protocol

from drivers.identity import Identity as Identity


class Attenuator(Protocol):
    """Every method raises NoReply or BadReply when the talk breaks down."""

    async def identity(self) -> Identity: ...

    async def set_loss_db(self, loss_db: float) -> None:
        """Go there and wait until it stands still; Refused if it is out of range."""

    async def loss_db(self) -> float:
        """The attenuation that is set, in dB, positive."""
        ...

    async def set_shutter(self, open: bool) -> None:  # noqa: A002  the word of the trade
        """Open or close the shutter; Refused if it stays as it was."""

    async def shutter_open(self) -> bool: ...
