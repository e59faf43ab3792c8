"""What an eavesdropper does to the pulses that she attacks, as the click kernels take it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ATTACK_SCALE = 1 << 30
RESENDS, ONE_EACH = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Eve:
    """What an eavesdropper does to the pulses that she attacks."""

    attacked_below: int
    """Attacked share of the pulses, in 1 / ATTACK_SCALE."""

    rungs: npt.NDArray[np.uint64]
    """(16, 4) of the light that she sends on, by the state in which she sends it."""

    resends: bool = False
    """She measures in a basis drawn evenly and sends what she saw, at the original intensity."""

    one_each: bool = False
    """An attacked pulse makes one click at most."""

    shift_ps: float = 0.0
    """How late her light is."""

    def __post_init__(self) -> None:
        if not 0 <= self.attacked_below <= ATTACK_SCALE or self.rungs.shape != (16, 4):
            raise ValueError(f"attacked_below {self.attacked_below}, rungs {self.rungs.shape}")

    @property
    def how(self) -> int:
        """The flags as the kernels take them."""
        return RESENDS * self.resends | ONE_EACH * self.one_each
