"""What lies between two nodes of a lane: a connection, and blocks on their way to be live."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Wire:
    """One link: messages in order while it is up."""

    down: deque[bytes] = field(default_factory=deque)
    up: deque[bytes] = field(default_factory=deque)
    is_up: bool = False


@dataclass
class Births:
    """Blocks of a link, live at each end in its own time but in one order."""

    upstream: deque[tuple[int, bytes]] = field(default_factory=deque)
    downstream: deque[tuple[int, bytes]] = field(default_factory=deque)
