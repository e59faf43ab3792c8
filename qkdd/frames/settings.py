"""Settings of the receiver's view of the light; both ends bind them into every block."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qkdd.base.light import LightPlan

MIN_TICKS_PER_PERIOD = 3
"""At three ticks a period or less, the clock's line and its alias cannot be told apart."""

MAX_BLOCK_PULSES = 15_000_000_000
"""What the announcement of a block's clicks has room for (qkdd/sift/gaps.py says the same)."""


class FrameSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How time tags become clicks. Times are ps; probabilities and QBER are fractions."""

    gate_ps: Annotated[int, Meta(ge=1, le=1_000_000)] = 4_000
    """Full width of the gate around each pulse; at most one pulse period."""

    dead_time_ps: Annotated[int, Meta(ge=1, le=100_000_000)] = 40_000
    """Common dead time after any event of any detector; extends with every event."""

    detector_recovery_ps: Annotated[int, Meta(ge=0, le=100_000_000)] = 30_000
    """The slowest detector is fully sensitive again after this time (its data sheet)."""

    tick_ps: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    """Resolution of the time tagger."""

    clock_search_ppm: Annotated[float, Meta(gt=0, le=200)] = 100.0
    """The two ends' clocks differ by no more than this."""

    max_calibration_qber: Annotated[float, Meta(gt=0, lt=0.45)] = 0.2
    """A calibration segment that is worse has slipped, or its light is of no use."""

    def __post_init__(self) -> None:
        needed_ps = self.detector_recovery_ps + 2 * self.tick_ps
        if self.dead_time_ps < needed_ps:
            raise ValueError(
                f"dead_time_ps {self.dead_time_ps} must be at least {needed_ps} "
                f"(detector_recovery_ps {self.detector_recovery_ps} + 2 ticks of {self.tick_ps}): "
                "a shorter common dead time makes the efficiency depend on the basis, and the "
                "proof of security does not hold"
            )


def check_light(plan: LightPlan, settings: FrameSettings) -> None:
    """Raise ValueError if such light cannot be received with these settings."""
    if settings.gate_ps > plan.period_ps:
        raise ValueError(
            f"gate_ps {settings.gate_ps} exceeds the pulse period {plan.period_ps:g} ps"
        )
    if plan.period_ps <= MIN_TICKS_PER_PERIOD * settings.tick_ps:
        raise ValueError(
            f"pulse period {plan.period_ps:g} ps must exceed {MIN_TICKS_PER_PERIOD} ticks of "
            f"{settings.tick_ps} ps, or the pulse clock is ambiguous"
        )
    longest = max(plan.ramp_frames) * plan.frame_pulses
    if longest > MAX_BLOCK_PULSES:
        raise ValueError(
            f"ramp_frames {max(plan.ramp_frames)} of {plan.frame_pulses} pulses make a block of "
            f"{longest}, at most {MAX_BLOCK_PULSES} are allowed"
        )
