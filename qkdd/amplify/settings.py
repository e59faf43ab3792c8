"""The proof of security that a link uses, and its epsilons; both ends must agree on every field."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Proof: TypeAlias = Literal["variable-length", "certified", "lim-2014", "rusca-2018"]

MAX_SPREAD = 0.2
"""Detectors less alike than this leave no key under any bound known here."""


MIN_EPS_SEC = 1e-100
"""Far below any use; the squares of much smaller ones are 0 in float64."""

MIN_EPS_COR = 1e-19
"""What a 64-bit block hash can promise: 2^-64 and a little, for blocks of any length."""


class ProofSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which theorem gives the length, and with what probabilities of failure per block."""

    proof: Proof = "variable-length"
    eps_sec: Annotated[float, Meta(ge=MIN_EPS_SEC, le=1e-3)] = 1e-12
    """Secrecy of one block: half the trace distance to a key Eve knows nothing of."""
    eps_cor: Annotated[float, Meta(ge=MIN_EPS_COR, le=1e-3)] = 1e-15
    """Probability that the two ends hold different keys after a block was accepted."""
    mu_uncertainty: Annotated[float, Meta(ge=0, le=0.2)] = 0.0
    """Relative uncertainty of each mean photon number; the shortest length over the corners of
    this box is used. 0 says that the configured values are believed as they stand."""
    announced_bits_per_pulse: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """For the fixed-length proofs, which know only accept (this length) or abort (no key)."""

    efficiency_spread: Annotated[float, Meta(ge=0, le=MAX_SPREAD)] | None = None
    """For "certified": every detector's efficiency is within this of the middle one, relatively,
    whatever the light's time, colour and mode; a measured number."""
    dark_spread: Annotated[float, Meta(ge=0, le=MAX_SPREAD)] | None = None
    """The same of the detectors' dark counts."""

    def __post_init__(self) -> None:
        # msgspec checks the ranges above on decode only; a wrong epsilon built by hand is worse.
        if not MIN_EPS_SEC <= self.eps_sec <= 1e-3:
            raise ValueError(f"eps_sec {self.eps_sec} is not in [{MIN_EPS_SEC}, 0.001]")
        if not MIN_EPS_COR <= self.eps_cor <= 1e-3:
            raise ValueError(f"eps_cor {self.eps_cor} is not in [{MIN_EPS_COR}, 0.001]")
        if not 0.0 <= self.mu_uncertainty <= 0.2:
            raise ValueError(f"mu_uncertainty {self.mu_uncertainty} is not in [0, 0.2]")
        self._check_spreads()
        fixed = self.proof in ("lim-2014", "rusca-2018")
        if fixed and self.announced_bits_per_pulse is None:
            raise ValueError(
                f"proof {self.proof} is for a length fixed beforehand: announced_bits_per_pulse "
                "must be set"
            )
        if not fixed and self.announced_bits_per_pulse is not None:
            raise ValueError(
                f"announced_bits_per_pulse has no meaning with proof {self.proof}, which takes "
                "the length from each block's own counts"
            )

    def _check_spreads(self) -> None:
        for name in ("efficiency_spread", "dark_spread"):
            spread = getattr(self, name)
            if self.proof == "certified" and spread is None:
                raise ValueError(
                    f"proof certified needs {name}, measured at the receiver: how far its "
                    "detectors are from their middle, relatively"
                )
            if self.proof != "certified" and spread is not None:
                raise ValueError(f"{name} has no meaning with proof {self.proof}: only certified")
            if spread is not None and not 0.0 <= spread <= MAX_SPREAD:
                raise ValueError(f"{name} {spread} is not in [0, {MAX_SPREAD}]")
