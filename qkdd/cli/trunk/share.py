"""How processors are shared: laboratories stand for hardware, which waits for no relay.

Where the kernel groups processes by session (sched_autogroup), groups share first, and niceness
counts only inside one. A relay with a session of its own would pay for its distillation with the
time of its light: the thread that steps back steps back behind its own loop alone. So many relays
stay in our session, where every loop goes before every distillation; laboratories have their own.
"""

import math
import os
from contextlib import suppress

WEIGHT_PER_NICE = 1.25
"""Each step of niceness takes this factor of a process's weight (sched(7))."""
MAX_NICE = 9
"""The threads that distil step back by ten more, and the last step is 19."""
FEW = 4
"""So many relays for each laboratory leave it enough."""


def are_many(n_relays: int, n_labs: int) -> bool:
    """Say whether relays must be kept from starving laboratories, and each other's light."""
    return n_relays > FEW * n_labs


def relay_nice(n_relays: int, n_labs: int) -> int:
    """Niceness at which all relays together weigh no more than all laboratories, as far as it goes.

    Shared evenly among processes, a busy machine would starve a laboratory of many links first: its
    instruments fall silent, and every relay loses its light at once.
    """
    if not are_many(n_relays, n_labs):
        return 0
    return min(MAX_NICE, max(0, math.ceil(math.log(n_relays / n_labs, WEIGHT_PER_NICE))))


def be_nice(pid: int, nice: int) -> None:
    """Lower the weight of a process that has just started; threads to come inherit it."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
