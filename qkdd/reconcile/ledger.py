"""Every bit that reconciliation disclosed about a block, by cause and direction."""

from dataclasses import dataclass, fields
from math import log2

CHECK_BITS = 32
HASH_BITS = 64


def entropy(qber: float) -> float:
    """Return the binary entropy of a QBER, in bits."""
    if not 0 < qber < 1:
        return 0.0
    return -qber * log2(qber) - (1 - qber) * log2(1 - qber)


def error_count_bits(n_bits: int) -> int:
    """Return what three error counts of 0 to ``n_bits`` disclose at most, in bits."""
    return 3 * n_bits.bit_length()


@dataclass(slots=True)
class Ledger:
    """Disclosed bits of one block of ``n_bits``; both ends keep one, and they are equal.

    A frame that was disclosed whole counts with all its bits on top of what went before it.
    """

    n_bits: int
    syndrome: int = 0
    check: int = 0
    revealed: int = 0
    lost: int = 0
    """Frames disclosed whole after the last blind round."""
    remainder: int = 0
    """A last piece that was cheaper to disclose than to reconcile."""
    block_hash: int = 0
    verdict: int = 0
    """Bob's again/done bits, and his result on the block hash."""
    error_counts: int = 0

    @property
    def one_way_bits(self) -> int:
        """Alice -> Bob."""
        return (
            self.syndrome
            + self.check
            + self.revealed
            + self.lost
            + self.remainder
            + self.block_hash
        )

    @property
    def both_ways_bits(self) -> int:
        """What the length of the secret key must pay for."""
        return self.one_way_bits + self.verdict + self.error_counts

    def f_one_way(self, qber: float) -> float:
        """Disclosed bits over the Shannon limit n h(qber); infinite for an empty block."""
        return _ratio(self.one_way_bits, self.n_bits * entropy(qber))

    def f_both_ways(self, qber: float) -> float:
        return _ratio(self.both_ways_bits, self.n_bits * entropy(qber))

    def as_dict(self) -> dict[str, int]:
        """Return the entries by name, for logs and status."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _ratio(bits: int, limit: float) -> float:
    return bits / limit if limit > 0 else float("inf")
