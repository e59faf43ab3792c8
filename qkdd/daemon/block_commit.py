"""The two-end commit of distilled blocks over one session."""

from collections.abc import Callable, Sequence

import msgspec
import trio

from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.secret import Secret
from qkdd.daemon.store_service import StoreService
from qkdd.keys.messages import BlockLive

LIVE_TIMEOUT_S = 20.0


class Commit:
    """Waits until the block is live here; if lanes have a share of it, at the peer, too.

    A block is live here once both ends have it on disk; that the peer knows so much, it says.
    """

    def __init__(self, *, both: bool) -> None:
        self.done = trio.Event()
        """Set, too, when the session is over."""
        self._both = both
        self._here = self._there = False

    @property
    def is_live(self) -> bool:
        return self._here and (self._there or not self._both)

    def live(self, *, here: bool = False, there: bool = False) -> None:
        self._here |= here
        self._there |= there
        if self.is_live:
            self.done.set()


class BlockCommits:
    """The blocks of one session that are not live yet."""

    def __init__(
        self,
        link: LinkId,
        store: StoreService,
        queue: Callable[[Sequence[msgspec.Struct]], None],
    ) -> None:
        """``queue`` takes what may be sent, in the order of the store's commits."""
        self._link = link
        self._store = store
        self._queue = queue
        self._commits: dict[int, Commit] = {}
        self._over = False

    def heard(self, message: msgspec.Struct, *, from_peer: bool) -> None:
        """Note that a block is live at one of the ends, if this says so."""
        if isinstance(message, BlockLive) and message.block_no in self._commits:
            self._commits[message.block_no].live(here=not from_peer, there=from_peer)

    def end(self) -> None:
        """The session is over."""
        self._over = True
        for commit in self._commits.values():
            commit.done.set()

    async def commit(self, block_no: BlockNo, key: Secret, auth_bytes: int, lane_bits: int) -> bool:
        """Return whether the block is live here, and at the peer, too, if lanes have ``lane_bits``
        of it: those of a block that is not count as burned. Wipes ``key``."""
        commit = self._commits[block_no] = Commit(both=lane_bits > 0)
        live = False
        try:
            with key:
                await self._store.do(
                    lambda store: store.prepare_block(
                        self._link,
                        block_no,
                        key,
                        n_bits=8 * len(key),
                        auth_bytes=auth_bytes,
                        lane_bits=lane_bits,
                    ),
                    then=self._queue,
                )
            with trio.move_on_after(LIVE_TIMEOUT_S):
                await commit.done.wait()
            live = commit.is_live and not self._over
        finally:
            del self._commits[block_no]
            if lane_bits and not live:
                with trio.CancelScope(shield=True):
                    await self._store.do(lambda store: store.drop_lane_units(self._link, block_no))
        return live
