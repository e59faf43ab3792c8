"""What one block's proof of security sees: sifted detections and errors, by intensity."""

from dataclasses import dataclass
from typing import TypeAlias

ByIntensity: TypeAlias = tuple[int, int, int]
"""Three counts, indexed by :class:`qkdd.base.light.Intensity`."""


@dataclass(frozen=True, slots=True)
class DecoyCounts:
    """Sifted detections (bases equal) of one block; both ends must hold the same.

    Raises
    ------
    ValueError
        If a count is negative, or more errors than detections are claimed.
    """

    key: ByIntensity
    """Detections in the key basis."""
    test: ByIntensity
    """Detections in the test basis."""
    test_errors: ByIntensity
    """Errors among the detections in the test basis."""
    key_errors: ByIntensity | None = None
    """Errors in the key basis; known only after reconciliation."""

    def __post_init__(self) -> None:
        pairs = [("test", self.test, self.test_errors)]
        if self.key_errors is not None:
            pairs.append(("key", self.key, self.key_errors))
        if min(self.key) < 0 or min(self.test) < 0:
            raise ValueError(f"negative counts: key {self.key}, test {self.test}")
        for name, counts, errors in pairs:
            for count, wrong in zip(counts, errors, strict=True):
                if not 0 <= wrong <= count:
                    raise ValueError(f"{wrong} errors in {count} {name}-basis detections")

    @property
    def n_key(self) -> int:
        return sum(self.key)

    @property
    def n_test(self) -> int:
        return sum(self.test)

    @property
    def qber_test(self) -> float:
        """Error fraction of the test basis, 0 where nothing was detected."""
        return sum(self.test_errors) / self.n_test if self.n_test else 0.0
