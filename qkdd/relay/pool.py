"""One end's units of a lane on one link: born, bound to numbers, used, counted.

The upstream end binds (`bind_next`) and says so; the downstream end follows (`bind`). Both count a
unit as relayed or burned only when the fate of its number is known, so that they count alike.
"""

from dataclasses import dataclass

from qkdd.base.errors import PeerError
from qkdd.relay.account import LaneAccount
from qkdd.relay.units import UnitBlock

MAX_REMEMBERED = 4_096
"""Burned numbers that are kept in mind, lest the ends should have had their keys all the same."""


@dataclass(frozen=True, slots=True)
class UnitRef:
    """Unit ``index`` of the lane's share of a block."""

    block_no: int
    index: int


@dataclass(slots=True)
class _Bound:
    ref: UnitRef
    since_s: float
    born: bool
    used: bool = False


class UnitPool:
    def __init__(self, account: LaneAccount) -> None:
        self.account = account
        self._blocks: dict[int, UnitBlock] = {}
        self._free: dict[UnitRef, None] = {}
        self._bound: dict[int, _Bound] = {}
        self._number_of: dict[UnitRef, int] = {}
        self._remembered: dict[int, None] = {}
        self._last_block = -1

    @property
    def n_free(self) -> int:
        return len(self._free)

    def born(self, block: UnitBlock) -> list[int]:
        """Take in a new block's units; return the numbers that were waiting for them."""
        if block.block_no <= self._last_block:
            raise ValueError(f"units of block {block.block_no} after block {self._last_block}")
        self._last_block = block.block_no
        self._blocks[block.block_no] = block
        self.account.born(block.n_units)
        numbers = []
        for index in range(block.n_units):
            ref = UnitRef(block.block_no, index)
            if ref in self._number_of:
                numbers.append(self._number_of[ref])
                self._bound[numbers[-1]].born = True
            else:
                self._free[ref] = None
        return numbers

    def bind_next(self, number: int, now_s: float) -> UnitRef | None:
        """Bind the first free unit of the newest block, if there is one (upstream end).

        After an outage the older ones would not live to see their partner.
        """
        newest = next(reversed(self._free), None)
        ref = next((one for one in self._free if newest and one.block_no == newest.block_no), None)
        if ref is not None:
            del self._free[ref]
            self._bound[number] = _Bound(ref, now_s, born=True)
            self._number_of[ref] = number
        return ref

    def check(self, number: int, ref: UnitRef) -> None:
        """Raise PeerError if the peer rebinds a number or a unit; changes nothing."""
        bound = self._bound.get(number)
        if bound is not None and bound.ref != ref:
            raise PeerError(f"number {number} is {bound.ref} here, {ref} at the peer")
        owner = self._number_of.get(ref, number)
        if owner != number:
            raise PeerError(f"{ref} is number {owner} here, {number} at the peer")
        block = self._blocks.get(ref.block_no)
        if block is not None and ref.index >= block.n_units:
            raise PeerError(f"{ref} is outside of the {block.n_units} units of its block")

    def bind(self, number: int, ref: UnitRef, now_s: float) -> bool:
        """Follow the peer's binding, checked before; False if the unit is lost here."""
        if number in self._bound:
            return True
        born = ref.block_no <= self._last_block
        if born and ref not in self._free:
            return False
        self._free.pop(ref, None)
        self._bound[number] = _Bound(ref, now_s, born)
        self._number_of[ref] = number
        return True

    def burn(self, ref: UnitRef) -> None:
        """Burn a unit that the peer bound to a number that is closed here; one that is not born
        yet will never be bound, and burns for its age."""
        if ref in self._free:
            self._burn_free([ref])

    def ref(self, number: int) -> UnitRef | None:
        bound = self._bound.get(number)
        return None if bound is None else bound.ref

    def has(self, number: int) -> bool:
        """Whether the number's unit lies here, not used yet."""
        bound = self._bound.get(number)
        return bound is not None and bound.born and not bound.used

    def unit(self, number: int) -> memoryview:
        """Return the live bytes of the number's unit."""
        ref = self._bound[number].ref
        return self._blocks[ref.block_no].unit(ref.index)

    def use(self, number: int) -> None:
        """Wipe the number's unit; its fate is still open."""
        self._wipe(self._bound[number].ref)
        self._bound[number].used = True

    def settle(self, number: int, *, relayed: bool) -> None:
        """Count the number's unit, wipe it if it is left, and forget the number."""
        bound = self._bound.pop(number, None)
        if bound is None:
            return
        del self._number_of[bound.ref]
        if not bound.born:
            return  # born later, it is free and never bound again: it burns for its age
        if not bound.used:
            self._wipe(bound.ref)
        self.account.settle(relayed=relayed)
        if not relayed:
            self._remembered[number] = None
            if len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def came_through(self, number: int) -> None:
        """Count a number as relayed, even if it was thought void here."""
        if number in self._bound:
            self.settle(number, relayed=True)
        elif number in self._remembered:
            del self._remembered[number]
            self.account.came_through()

    def expired(self, now_s: float, hold_s: float) -> list[int]:
        """Burn free units older than ``hold_s``; return the numbers whose unit is so old."""
        old = [ref for ref in self._free if now_s - self._blocks[ref.block_no].born_s >= hold_s]
        self._burn_free(old)
        return [
            number
            for number, bound in self._bound.items()
            if not bound.used and now_s - self._age_from(bound) >= hold_s
        ]

    def _age_from(self, bound: _Bound) -> float:
        return self._blocks[bound.ref.block_no].born_s if bound.born else bound.since_s

    def burn_free(self) -> None:
        """Burn every unit that is not bound: the peer has lost its copies."""
        self._burn_free(list(self._free))

    def _burn_free(self, refs: list[UnitRef]) -> None:
        for ref in refs:
            del self._free[ref]
            self._wipe(ref)
            self.account.settle(relayed=False)

    def _wipe(self, ref: UnitRef) -> None:
        block = self._blocks[ref.block_no]
        block.wipe_unit(ref.index)
        if not block.n_left:
            del self._blocks[ref.block_no]

    def wipe(self) -> None:
        """End of the generation or of the process: wipe all, and count it as burned."""
        self.burn_free()
        for number in list(self._bound):
            self.settle(number, relayed=False)
