"""Where the units of a lane went on one link: counted alike at both ends of the link."""

from dataclasses import dataclass

from qkdd.relay.settings import UNIT_BITS


@dataclass(slots=True)
class LaneAccount:
    """Bits that a lane was given on a link.

    cut = relayed + burned + under way; the two ends of the link agree once nothing is under way.
    """

    cut: int = 0
    relayed: int = 0
    """Units of numbers that became READY (keys, and what renewed the association)."""
    burned: int = 0
    """Units that expired, or whose number was voided on any link of the lane."""

    @property
    def under_way(self) -> int:
        return self.cut - self.relayed - self.burned

    def born(self, n_units: int) -> None:
        self.cut += UNIT_BITS * n_units

    def settle(self, *, relayed: bool) -> None:
        """Count one unit whose fate is known."""
        if relayed:
            self.relayed += UNIT_BITS
        else:
            self.burned += UNIT_BITS

    def came_through(self) -> None:
        """Move a unit that was counted as burned: the two ends had its key all the same."""
        self.burned -= UNIT_BITS
        self.relayed += UNIT_BITS

    def restarted(self) -> None:
        """Burn what was under way: the units were only in the memory of the process before."""
        self.burned += self.under_way
