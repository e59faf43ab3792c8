"""The state of a store in parts that fit a message: a long stock has very many blocks."""

from collections.abc import Iterator

from msgspec.structs import replace

from qkdd.base.errors import PeerError
from qkdd.keys.messages import ID_BYTES, StoreState

PART_ITEMS = 8_000
"""Of each list: together they stay below 1 MiB, whatever the numbers in them are."""
MAX_PARTS = 128
"""Half a year of blocks of 16 s, or a million keys: more is no honest peer's stock."""


def cut_state(state: StoreState, part_items: int = PART_ITEMS) -> Iterator[StoreState]:
    """Cut a state into one or more parts, all but the last with ``more``."""
    part_bytes = ID_BYTES * part_items
    n_items = max(
        len(state.pending),
        len(state.live),
        len(state.delivered) // ID_BYTES,
        len(state.fetched) // ID_BYTES,
    )
    n_parts = max(1, -(-n_items // part_items))
    for number in range(n_parts):
        items = slice(number * part_items, (number + 1) * part_items)
        ids = slice(number * part_bytes, (number + 1) * part_bytes)
        yield replace(
            state,
            pending=state.pending[items],
            live=state.live[items],
            delivered=state.delivered[ids],
            fetched=state.fetched[ids],
            more=number + 1 < n_parts,
        )


class StateGatherer:
    """Puts the parts of the peer's state together again."""

    def __init__(self) -> None:
        self._parts: list[StoreState] = []

    def receive(self, part: StoreState) -> StoreState | None:
        """Take the next part; return the state when this was the last one.

        Raises
        ------
        PeerError
            If it does not belong to the parts before, or there are too many.
        """
        if self._parts and _numbers(part) != _numbers(self._parts[0]):
            raise PeerError("a part of the peer's StoreState differs from those before")
        if len(self._parts) == MAX_PARTS:
            raise PeerError(f"the peer's StoreState has over {MAX_PARTS} parts")
        self._parts.append(part)
        if part.more:
            return None
        parts, self._parts = self._parts, []
        if len(parts) == 1:
            return part
        return replace(
            part,
            pending=tuple(item for one in parts for item in one.pending),
            live=tuple(item for one in parts for item in one.live),
            delivered=b"".join(one.delivered for one in parts),
            fetched=b"".join(one.fetched for one in parts),
        )


def _numbers(part: StoreState) -> tuple[int, int, int, int, int]:
    return (part.next_block, part.last_block, part.auth_end, part.tx_spent, part.rx_spent)
