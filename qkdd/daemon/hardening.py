"""What the process asks of the system for itself, before it holds any secret."""

import ctypes
import gc
import resource
import sys

SWITCH_INTERVAL_S = 0.0005
"""The loop must not wait 5 ms for a thread that holds the interpreter between two kernels."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
MAPPED_FROM_BYTES = 1024 * 1024
"""Below it is what a frame of the wire with a block's clicks needs several times over (700 kB), and
what a second of tags does: fresh pages for these cost a relay a tenth of its time."""
KEPT_FREE_BYTES = 4 * 1024 * 1024
"""At the top of each arena: with glibc's 128 KiB, every batch of tags would give its pages back
and have them made anew, which costs as much as the work on it. It is memory that each relay keeps,
and 8 MiB win no more."""
MALLOC_ARENAS = 2


def harden() -> None:
    """No core dumps, short turns of the interpreter, and freed blocks back to the system.

    glibc would raise its limit for mapped blocks to 32 MB after the first large one is freed, and
    then keep both the memory and what was in it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
        mallopt(M_ARENA_MAX, MALLOC_ARENAS)


def settle() -> None:
    """Have the collector of garbage look no more at what was made up to now, which stays: a look
    at all the modules of a relay takes longer than a key may wait."""
    gc.collect()
    gc.freeze()
