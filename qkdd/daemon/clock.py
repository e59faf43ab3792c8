"""How far this host's clock may be from UTC, as far as the kernel knows."""

import ctypes
import math

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
STA_NANO = 0x2000


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (adjtimex(2)); the padding is larger than its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("padding", ctypes.c_char * 256),
    )


def clock_offset_s() -> float:
    """Return how far the clock is off, estimated, or NaN if nothing keeps it.

    It is what is left to be slewed and the estimated error, both as the kernel was told by chrony,
    ntpd or systemd-timesyncd.
    """
    timex = _Timex()
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    if state in (-1, TIME_ERROR):
        return math.nan
    offset_s: float = abs(timex.offset) * (1e-9 if timex.status & STA_NANO else 1e-6)
    esterror_s: float = 1e-6 * timex.esterror
    return offset_s + esterror_s
