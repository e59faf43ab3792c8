"""How processors are shared: laboratories stand for hardware, which waits for no relay."""

import math
import os
from contextlib import suppress
from pathlib import Path

WEIGHT_PER_NICE = 1.25
"""Each step of niceness takes this factor of a process's weight (sched(7))."""
MAX_NICE = 19
FEW = 4
"""So many relays for each laboratory leave it enough."""


def relay_nice(n_relays: int, n_labs: int) -> int:
    """Niceness at which all relays together weigh no more than all laboratories.

    Shared evenly among processes, a busy machine would starve a laboratory of many links first: its
    instruments fall silent, and every relay loses its light at once.
    """
    if n_relays <= FEW * n_labs:
        return 0
    return min(MAX_NICE, max(0, math.ceil(math.log(n_relays / n_labs, WEIGHT_PER_NICE))))


def be_nice(pid: int, nice: int) -> None:
    """Lower the weight of a process that has just started, and of its session.

    Where the kernel groups processes by session (sched_autogroup), only the group's niceness
    counts; elsewhere that file is missing.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
