"""What both ends agree on before they reconcile: bound into every block."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from qkdd.reconcile.codes import CODE_FAMILY, ROUNDS
from qkdd.reconcile.tight import TIGHT_FAMILY


class ReconcileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of code and end of patience; equal at both ends, or no key is made."""

    method: Literal["ldpc", "cascade"] = "ldpc"
    """LDPC codes with blind rounds, or Cascade: see docs/decisions/0031."""

    ldpc_point: Literal["fast", "tight"] = "fast"
    """With LDPC codes: frames of 65,536 bits, or of 1,048,576 for fewer parities and more time;
    what is left of a block goes into short ones."""

    cascade_point: Literal["few-rounds", "short"] = "few-rounds"
    """With Cascade: fewer round trips, or fewer parities."""

    code_family: str = CODE_FAMILY
    """The parity-check matrices; only the family in this release is known."""

    tight_family: str = TIGHT_FAMILY
    """The same, of the long frames."""

    max_rounds: Annotated[int, Meta(ge=0, le=ROUNDS)] = ROUNDS
    """Blind rounds (Cascade: closing searches) before a frame is disclosed whole."""

    margin: Annotated[float, Meta(ge=-0.2, le=1.0)] = 0.02
    spread: Annotated[float, Meta(ge=-5.0, le=5.0)] = 2.0
    """A frame starts with the cheapest code whose threshold is at least ``qber * (1 +
    margin)`` less ``spread`` standard deviations of a frame's own QBER: frames with fewer errors
    than most pass at once, the others buy more parities in blind rounds. Larger margins and smaller
    spreads spend key to save time. A long frame begins with 0.02 and 2 less of them."""

    max_qber: Annotated[float, Meta(gt=0, le=0.12)] = 0.11
    """No block with a larger estimate is reconciled."""

    max_iterations: Annotated[int, Meta(ge=1, le=1000)] = 40
    """Passes of the decoder per frame and round, at most."""

    @property
    def correction(self) -> str:
        """Method and operating point, as status tells them."""
        point = self.cascade_point if self.method == "cascade" else self.ldpc_point
        return f"{self.method} {point}"

    def __post_init__(self) -> None:
        if self.code_family != CODE_FAMILY:
            raise ValueError(f"code_family {self.code_family!r} is not {CODE_FAMILY!r}")
        if self.tight_family != TIGHT_FAMILY:
            raise ValueError(f"tight_family {self.tight_family!r} is not {TIGHT_FAMILY!r}")
