"""What reconciliation hands on: equal bits at both ends, and all that was said about them."""

from dataclasses import dataclass

from qkdd.base.bits import Bits
from qkdd.reconcile.ledger import Ledger


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Reconciled:
    """The end of one block.

    ``ok`` is False if the block hash differed: the bits must be thrown away. ``key_errors`` are
    Bob's errors in the key basis, by :class:`qkdd.base.light.Intensity` (zeros if not ``ok``).
    ``bits`` is the array that the machine was given, corrected in place at Bob; its owner wipes it.
    """

    block_no: int
    ok: bool
    bits: Bits
    key_errors: tuple[int, int, int]
    ledger: Ledger

    def __repr__(self) -> str:
        return f"<Reconciled block {self.block_no}: {self.bits.size} bits, ok={self.ok}>"
