"""What a source of physical noise is; one file per model beside this."""

from typing import Protocol

from drivers.identity import Identity as Identity


class EntropySource(Protocol):
    """Every method raises NoReply or BadReply when the talk breaks down."""

    async def identity(self) -> Identity:
        """Ask who it is; only while it does not run."""
        ...

    async def start(self) -> None:
        """Have it send raw noise: unwhitened, so that a health test sees what the source does."""

    async def read(self) -> bytes:
        """Wait for noise and return what there is, at least one byte. A cancel loses nothing
        that anybody would miss."""
        ...

    async def stop(self) -> None:
        """Have it fall silent."""
