"""Units of one lane from one block: 256 bits each, in one wipeable buffer, zeroed one by one."""

from qkdd.base.secret import Secret
from qkdd.relay.settings import UNIT_BYTES


class UnitBlock:
    """Owns ``units`` from birth on; nothing here is ever written to a disk."""

    def __init__(self, block_no: int, units: Secret, born_s: float) -> None:
        n_units, rest = divmod(len(units), UNIT_BYTES)
        if rest or not n_units:
            raise ValueError(f"block {block_no}: {len(units)} bytes are no whole units")
        self.block_no = block_no
        self.born_s = born_s
        self.n_units = n_units
        self.n_left = n_units
        self._units = units
        self._gone = bytearray(n_units)

    def is_left(self, index: int) -> bool:
        return not self._gone[index]

    def unit(self, index: int) -> memoryview:
        """Return the live bytes of a unit, writable; they turn to zeros on :meth:`wipe_unit`."""
        if self._gone[index]:
            raise RuntimeError(f"unit {index} of block {self.block_no} has been wiped")
        return self._units.reveal()[UNIT_BYTES * index : UNIT_BYTES * (index + 1)]

    def wipe_unit(self, index: int) -> None:
        self.unit(index)[:] = bytes(UNIT_BYTES)
        self._gone[index] = 1
        self.n_left -= 1
        if not self.n_left:
            self._units.wipe()

    def wipe(self) -> None:
        """Wipe whatever is left."""
        self._gone[:] = b"\1" * self.n_units
        self.n_left = 0
        self._units.wipe()
