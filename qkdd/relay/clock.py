"""How far the clock of this host may be off UTC, from what the kernel tells of it.

The kernel (adjtimex(2)) has two figures from whatever keeps the clock: ``esterror``, its estimate
at the last correction, and ``maxerror``, a bound that the kernel raises by 500 ppm of the time
since. No oscillator drifts by so much, so that the bound counts at ``drift_ppm`` of those 500.
"""

import math
from dataclasses import dataclass

KERNEL_DRIFT_PPM = 500.0
"""MAXFREQ of the kernel's clock (kernel/time/ntp.c): what ``maxerror`` grows by."""


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What adjtimex(2) says of the clock."""

    synchronised: bool
    slewing_s: float
    """What is left to be corrected."""
    est_error_s: float
    max_error_s: float


@dataclass(frozen=True, slots=True)
class ClockReading:
    offset_s: float
    """The clock is off UTC by no more, as far as is known; NaN if nothing keeps it."""
    reason: str
    """In words, for an operator."""


def judge(
    kernel: KernelClock | None, *, drift_ppm: float, trust_unsynchronised: bool
) -> ClockReading:
    """Return how far the clock may be off; ``kernel`` is None if the kernel does not tell."""
    if kernel is not None and kernel.synchronised:
        drift_s = kernel.max_error_s * drift_ppm / KERNEL_DRIFT_PPM
        offset_s = abs(kernel.slewing_s) + kernel.est_error_s + drift_s
        return ClockReading(offset_s, f"synchronised within {offset_s:.3f} s, says the kernel")
    why = "the kernel's clock is not synchronised"
    if kernel is None:
        why = "the kernel does not tell: adjtimex is refused (systemd/lanes.conf)"
    if trust_unsynchronised:
        return ClockReading(0.0, f"{why}; trusted, as lane_times says")
    return ClockReading(math.nan, why)
