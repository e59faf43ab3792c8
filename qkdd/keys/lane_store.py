"""What the two ends of a lane ask of their stores; a relay between them never does.

All of it may run inside a group commit. Secrets that go in are copied under seal and stay the
caller's to wipe; secrets that come out are the caller's, and are wiped if the group commit fails.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from qkdd.base.errors import StoreError
from qkdd.base.ids import SaeId
from qkdd.base.secret import Secret
from qkdd.keys.core import StoreCore
from qkdd.keys.errors import DamagedLane
from qkdd.keys.lane_book import RE_KEY, LaneMemory
from qkdd.keys.lane_rows import DamagedRow
from qkdd.keys.lane_seal import Kind
from qkdd.keys.lane_stock import LaneNumbers, LaneStock

T = TypeVar("T")


class LaneStore(StoreCore):
    """The part of the store that remembers lanes; see :class:`qkdd.keys.store.KeyStore`."""

    def install_lane_psk(self, lane: str, psk: Secret, *, rekey: bool = False) -> None:
        """Lay in the couriered end-to-end key: 32 bytes of hash keys, 32 for each pair of pads,
        and 32 at its end for digests. ``rekey`` first burns all keys of the lane here; its numbers
        go on."""
        self._do_lane(lambda: self._lane_book.install(lane, psk, rekey=rekey))

    def lane_psk_name(self, lane: str) -> str:
        """Return the public name of a lane's end-to-end key, so that two people can compare."""
        return self._lane_book.psk_name(lane)

    def lanes(self) -> list[str]:
        """Return the lanes that have an end-to-end key here."""
        return self._lane_book.all()

    def lane_memory(self, lane: str, generation: int) -> LaneMemory | None:
        """Open a generation of a lane, once before any other call for it; return what this end
        resumes with, or None if no end-to-end key is installed.

        A later generation than the last burns the keys of that one.

        Raises
        ------
        StoreError
            The store has seen a later generation, or what it has sealed does not open.
        """
        memory = self._do_lane(lambda: self._lane_book.memory(lane, generation))
        if memory is not None:
            held = [] if memory.held is None else [memory.held[1]]
            self._hand_out([memory.hash_keys, memory.pairs, *held])
        return memory

    def mark_lane(self, lane: str, generation: int, next_number: int) -> None:
        """First end: no number below ``next_number`` will ever be announced again."""
        self._do_lane(lambda: self._lane_book.mark(lane, generation, next_number))

    def hold_lane(
        self,
        lane: str,
        generation: int,
        confirm: bytes,
        numbers: Sequence[int],
        keys: Secret,
        pair: int,
    ) -> None:
        """Last end: keep unconfirmed keys (32 bytes for each of the rising ``numbers``) and the
        very bytes of their confirmation, in the place of older ones. The pair is spent with the
        verdict only, for it has to check that."""
        self._do_lane(
            lambda: self._lane_stocks.hold(lane, generation, confirm, numbers, keys, pair)
        )

    def ready_lane(
        self,
        lane: str,
        generation: int,
        numbers: Sequence[int],
        keys: Secret,
        verdict: bytes,
        pair: int,
        renewal: Secret | None,
    ) -> list[int]:
        """Both ends: these are keys (32 bytes for each number); keep the verdict, spend the pair,
        append ``renewal`` to the pads, and forget what was held. Return the numbers that may
        still be asked for: not those that every SAE of this end got while they were held."""
        return self._do_lane(
            lambda: self._lane_stocks.ready(lane, generation, numbers, keys, verdict, pair, renewal)
        )

    def judge_lane(self, lane: str, generation: int, verdict: bytes, pair: int) -> None:
        """Both ends: nothing became READY; keep the verdict, spend the pair, forget what was
        held."""
        self._do_lane(lambda: self._lane_stocks.judge(lane, generation, verdict, pair))

    def trim_lane_pads(self, lane: str, first_pair: int, end_pair: int) -> None:
        """First end: the last end has the pairs ``first_pair <= n < end_pair`` only, for a
        generation ended with a batch under way; cut the others out of the disk."""
        self._do_lane(lambda: self._lane_book.trim(lane, first_pair, end_pair))

    def lane_tried(self, lane: str, failures: int) -> None:
        """Keep how many bad tags the association has seen."""
        self._do_lane(lambda: self._lane_book.tried(lane, failures))

    def lane_numbers(self, lane: str, generation: int) -> LaneNumbers:
        """Return every number whose key lies here (for the start; it reads the whole stock)."""
        return self._do_lane(lambda: self._lane_stocks.numbers(lane, generation))

    def take_lane_key(
        self, lane: str, generation: int, number: int, sae: SaeId, entitled: Sequence[SaeId]
    ) -> Secret:
        """Hand a key to ``sae``, at most once ever, marked on disk before.

        ``entitled`` are the SAEs of this end that may have it; those of the first call for a
        number stand. When the last of them has it, its bytes are gone from the disk. A number
        whose verdict is not in may be taken, too; its bytes stay until the verdict, and the
        last one of a batch is not given, as it may become the association's pads.

        Raises
        ------
        KeyNotEntitled, KeyNotFound
            See their docstrings.
        DamagedLane
            It did not open, and is burned.
        """
        (key,) = self._hand_out(
            [self._do_lane(lambda: self._lane_stocks.take(lane, generation, number, sae, entitled))]
        )
        return key

    def burn_lane_keys(self, lane: str, generation: int, numbers: Collection[int]) -> int:
        """Burn READY keys; return how many there were that no SAE had. Keys whose verdict is not
        in stay: the verdict is checked with them."""
        return self._do_lane(lambda: self._lane_stocks.burn(lane, generation, numbers))

    def lane_stock(self, lane: str) -> LaneStock | None:
        """Return the account of a lane's keys at this end; StoreError if it does not balance."""
        return self._lane_stocks.stock(lane)

    def _do_lane(self, operation: Callable[[], T]) -> T:
        """Run one operation, all or nothing; burn keys that turn out to be damaged."""
        try:
            return self._do(operation)
        except DamagedRow as damage:
            raise self._lane_damaged(damage) from damage

    def _lane_damaged(self, damage: DamagedRow) -> StoreError:
        lane, kind = damage.shelf.lane, damage.shelf.kind
        if kind in (Kind.PAD, Kind.HELD):
            what = "pads" if kind is Kind.PAD else "keys without a verdict"
            return StoreError(f"lane {lane}: {what} do not open; {RE_KEY}")
        with self._db.transaction():
            self._lane_stocks.burn_damaged(damage)
        return DamagedLane(f"lane {lane}: keys do not open; they are burned")
