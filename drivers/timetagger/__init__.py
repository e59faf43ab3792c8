"""What a time tagger is; one file per model beside this."""

from typing import Protocol

from drivers.identity import Identity as Identity
from drivers.tags import TagBlock as TagBlock


class TimeTagger(Protocol):
    """Every method raises NoReply or BadReply when the talk breaks down."""

    async def identity(self) -> Identity:
        """Ask who it is; only while it does not run."""
        ...

    async def start(self) -> None:
        """Start an acquisition; times count from about now."""

    async def read(self) -> TagBlock:
        """Wait until there is something new, and return it.

        ``until_ps`` rises with every block even if nothing clicks. A read that is cancelled
        loses nothing.
        """
        ...

    async def stop(self) -> TagBlock:
        """End the acquisition and return what was still on its way.

        Its ``lost`` is also set if the tagger says that events were lost at any time since
        ``start``: some cannot tell while they run.
        """
        ...
