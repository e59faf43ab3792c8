"""How far this host's clock may be from UTC: the kernel is asked (adjtimex(2)), nothing is set."""

import ctypes

from qkdd.relay.clock import ClockReading, KernelClock, judge
from qkdd.relay.settings import LaneTimes

TIME_ERROR = 5  # timex.h: the clock is not synchronised
STA_UNSYNC, STA_CLOCKERR, STA_NANO = 0x0040, 0x1000, 0x2000


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (adjtimex(2)); the padding is larger than its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),  # 0: asks, and sets nothing
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # us
        ("esterror", ctypes.c_long),  # us
        ("status", ctypes.c_int),
        ("padding", ctypes.c_char * 256),
    )


_LIBC = ctypes.CDLL(None, use_errno=True)


def read_kernel_clock() -> KernelClock | None:
    """Ask the kernel; None if it refuses (a sandbox without adjtimex). Takes a microsecond."""
    timex = _Timex()
    state = _LIBC.adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    bad = timex.status & (STA_UNSYNC | STA_CLOCKERR)
    return KernelClock(
        synchronised=state != TIME_ERROR and not bad,
        slewing_s=timex.offset * (1e-9 if timex.status & STA_NANO else 1e-6),
        est_error_s=1e-6 * timex.esterror,
        max_error_s=1e-6 * timex.maxerror,
    )


class Clock:
    """The clock by which lanes serve epochs."""

    def __init__(self, times: LaneTimes) -> None:
        self._times = times

    def reading(self) -> ClockReading:
        return judge(
            read_kernel_clock(),
            drift_ppm=self._times.clock_drift_ppm,
            trust_unsynchronised=self._times.trust_unsynchronised_clock,
        )

    def offset_s(self) -> float:
        """Return how far it is off at most; NaN if nobody knows."""
        return self.reading().offset_s
