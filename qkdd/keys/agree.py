"""After a reconnect: from both ends' states, the one resolution that both reach alone.

What either end may have used counts as used; what only one end has is burned.
"""

from dataclasses import dataclass

from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.keys.layout import BlockLayout, Role
from qkdd.keys.messages import LiveBlock, PendingBlock, StoreState, split_ids


@dataclass(frozen=True, slots=True)
class Cursors:
    """How far both halves of a live block are used after the agreement, in bytes."""

    alice_used: int
    bob_used: int
    burned: bool


@dataclass(frozen=True, slots=True)
class Resolution:
    """What one end has to do; block numbers in rising order."""

    go_live: tuple[int, ...]
    burn: tuple[int, ...]
    cursors: dict[int, Cursors]
    next_block: int
    last_block: int
    credit_tx: int
    """Bytes of our sending stream that the peer checked and that we forgot in a crash."""
    credit_rx: int
    delivered: frozenset[bytes]
    fetched: frozenset[bytes]


def resolve(role: Role, mine: StoreState, theirs: StoreState) -> Resolution:
    """Resolve for the end that is ``role`` and sent ``mine``.

    Raises
    ------
    PeerError
        The peer's state contradicts itself.
    SecurityAlarm
        It contradicts ours as only a store restored from an old image can.
    """
    _check(theirs)
    my_pending = {block.block_no: block for block in mine.pending}
    their_pending = {block.block_no: block for block in theirs.pending}
    my_live = {block.block_no: block for block in mine.live}
    their_live = {block.block_no: block for block in theirs.live}
    go_live = [
        number
        for number, block in sorted(my_pending.items())
        if _same(block, their_pending.get(number)) or _same(block, their_live.get(number))
    ]
    cursors = {
        number: _join(role, block, their_live.get(number), number in their_pending)
        for number, block in my_live.items()
    }
    for number in go_live:
        if number in their_live:
            fresh = _fresh(my_pending[number])
            cursors[number] = _join(role, fresh, their_live[number], False)
    return Resolution(
        go_live=tuple(go_live),
        burn=tuple(sorted(my_pending.keys() - set(go_live))),
        cursors=cursors,
        next_block=max(mine.next_block, theirs.next_block),
        last_block=max(mine.last_block, theirs.last_block),
        credit_tx=max(0, theirs.rx_spent - mine.tx_spent),
        credit_rx=max(0, theirs.tx_spent - mine.rx_spent),
        delivered=frozenset(split_ids(theirs.delivered)),
        fetched=frozenset(split_ids(theirs.fetched)),
    )


def _check(state: StoreState) -> None:
    numbers = [block.block_no for block in state.live]
    numbers += [block.block_no for block in state.pending]
    if numbers != sorted(set(numbers)) or 0 in numbers:
        raise PeerError("the peer's blocks do not rise from live to pending")
    if not state.last_block < state.next_block:
        raise PeerError(f"the peer's last block, {state.last_block}, is not below its next")
    if numbers and numbers[-1] > state.last_block:
        raise PeerError(f"block {numbers[-1]} is past the peer's last, {state.last_block}")
    for block in state.live:
        half = _half(block)
        if max(block.alice_used, block.bob_used) > half:
            raise PeerError(f"block {block.block_no}: a cursor is past its half of {half} bytes")
    if len(state.delivered) % 16 or len(state.fetched) % 16:
        raise PeerError("key IDs are not whole")


def _half(block: LiveBlock | PendingBlock) -> int:
    return (block.n_bits // 8 - 2 * block.auth_bytes) // 2


def _same(mine: PendingBlock, theirs: PendingBlock | LiveBlock | None) -> bool:
    """Tell whether the peer has our pending block, cut alike."""
    return (
        theirs is not None
        and _cut(mine) == _cut(theirs)
        and BlockLayout.of(mine.n_bits, mine.auth_bytes).auth_bytes == mine.auth_bytes
    )


def _cut(block: LiveBlock | PendingBlock) -> tuple[int, int, int]:
    return block.n_bits, block.auth_bytes, block.lane_bits


def _fresh(block: PendingBlock) -> LiveBlock:
    return LiveBlock(
        block_no=block.block_no,
        n_bits=block.n_bits,
        auth_bytes=block.auth_bytes,
        alice_used=0,
        bob_used=0,
        burned=False,
        lane_bits=block.lane_bits,
    )


def _join(role: Role, mine: LiveBlock, theirs: LiveBlock | None, pending: bool) -> Cursors:
    """Take the larger cursors; a block that the peer has no more is used up."""
    half = _half(mine)
    if theirs is None:
        if pending:
            return Cursors(mine.alice_used, mine.bob_used, mine.burned)
        return Cursors(half, half, mine.burned)
    if _cut(mine) != _cut(theirs):
        raise SecurityAlarm(f"block {mine.block_no} is live at both ends with different sizes")
    if role == "alice":
        behind = theirs.bob_used < mine.bob_used
    else:
        behind = theirs.alice_used < mine.alice_used
    if behind and not mine.burned:
        raise SecurityAlarm(
            f"block {mine.block_no}: the peer knows less of its own half than it has told us; "
            "its store was restored from an old image"
        )
    if mine.burned or theirs.burned:
        return Cursors(half, half, True)
    return Cursors(
        max(mine.alice_used, theirs.alice_used), max(mine.bob_used, theirs.bob_used), False
    )
