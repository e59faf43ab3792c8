"""Blocks become key only together: prepared on both disks, then live at both ends."""

import sqlite3
from collections.abc import Iterator

from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.lane_bits import LaneShares
from qkdd.keys.layout import HALVES, TAIL_BYTES, BlockLayout, Region
from qkdd.keys.links import Links
from qkdd.keys.messages import BlockBurned, BlockLive, BlockPrepared
from qkdd.keys.schema import BlockState
from qkdd.keys.segments import USED, Segments

MAX_EARLY = 16
"""The peer's blocks that wait for ours; more is no honest peer's pipeline."""
MAX_BLOCK_BITS = 2**33


class Blocks:
    """PENDING --own key and the peer's BlockPrepared--> LIVE; a number prepared by one end only
    is burned as soon as the peer has gone past it."""

    def __init__(
        self, database: Database, segments: Segments, links: Links, shares: LaneShares
    ) -> None:
        self._db = database
        self._segments = segments
        self._links = links
        self._shares = shares

    def prepare(
        self,
        link: LinkId,
        block_no: BlockNo,
        key: Secret,
        layout: BlockLayout,
        facts: bytes,
        lane_bits: int,
    ) -> tuple[BlockPrepared | BlockLive, ...] | PeerError:
        """Put our copy on disk. A PeerError comes back, not up, so that it can be kept."""
        session = self._links.require_up(link)
        last = self._links.row(link)["last_block"]
        if layout.auth_bytes == 0 and layout.half_bytes < TAIL_BYTES:
            raise ValueError(f"link {link}: {layout.n_bits} bits are too few for a block")
        if block_no <= last:
            raise ValueError(f"link {link}: block {block_no} after block {last}")
        self._db.run(
            "UPDATE links SET last_block = ?, next_block = max(next_block, ?) WHERE link = ?",
            *(block_no, block_no + 1, link),
        )
        early = session.early.get(block_no)
        mine = BlockPrepared(
            block_no=block_no,
            n_bits=layout.n_bits,
            auth_bytes=layout.auth_bytes,
            lane_bits=lane_bits,
        )
        answer: tuple[BlockPrepared | BlockLive, ...] | PeerError = (mine,)
        if early is not None and early != mine:
            answer = _mismatch(mine, early)
        else:
            segment = self._segments.create(link, block_no, key, layout, facts, lane_bits)
            if early is not None:
                self.make_live(link, segment)
                answer = (mine, BlockLive(block_no=block_no))
        for number in [number for number in session.early if number <= block_no]:
            del session.early[number]  # numbers that we skipped: the peer burns them likewise
        return answer

    def peer_prepared(
        self, link: LinkId, theirs: BlockPrepared
    ) -> tuple[BlockLive, ...] | PeerError:
        session = self._links.peer_speaks(link, "BlockPrepared")
        n_bits = theirs.n_bits + theirs.lane_bits
        if theirs.block_no <= session.peer_block or n_bits > MAX_BLOCK_BITS:
            raise PeerError(
                f"link {link}: block {theirs.block_no} of {n_bits} bits after block "
                f"{session.peer_block}"
            )
        if len(session.early) >= MAX_EARLY:
            raise PeerError(f"link {link}: {MAX_EARLY} blocks are prepared ahead of ours")
        self._burn_below(link, theirs.block_no)
        session.peer_block = theirs.block_no
        row = self._segments.by_block(link, theirs.block_no)
        if row is None:
            if theirs.block_no > self._links.row(link)["last_block"]:
                session.early[theirs.block_no] = theirs
            return ()
        if row["state"] != BlockState.PENDING:
            raise PeerError(f"link {link}: block {theirs.block_no} is live already")
        mine = BlockPrepared(
            block_no=theirs.block_no,
            n_bits=row["n_bits"],
            auth_bytes=row["auth_bytes"],
            lane_bits=row["lane_bits"],
        )
        if mine != theirs:
            self._segments.destroy(row["id"])
            return _mismatch(mine, theirs)
        self.make_live(link, row["id"])
        return (BlockLive(block_no=theirs.block_no),)

    def _burn_below(self, link: LinkId, block_no: int) -> None:
        """Burn pending blocks that the peer went past."""
        for row in self._db.all(
            "SELECT id FROM segments WHERE link = ? AND state = ? AND block_no < ?",
            *(link, BlockState.PENDING, block_no),
        ):
            self._segments.destroy(row["id"])

    def make_live(self, link: LinkId, segment: int, *, units_lost: bool = False) -> None:
        """Enter a block into the account and its authentication part into both streams.

        ``units_lost``: the session in which its lanes' units should have been born is over.
        """
        row = self._db.one("SELECT * FROM segments WHERE id = ?", segment)
        assert row is not None
        layout = BlockLayout(row["n_bits"], row["auth_bytes"], row["half_bytes"])
        auth_start = self._links.row(link)["auth_end"]
        lost = units_lost or bool(row["lanes_lost"])
        self._db.run(
            "UPDATE segments SET state = ?, auth_start = ?, lanes_lost = ? WHERE id = ?",
            *(BlockState.LIVE, auth_start, lost, segment),
        )
        self._db.run(
            "UPDATE links SET auth_end = auth_end + ?, distilled = distilled + ?,"
            " burned = burned + ? WHERE link = ?",
            *(layout.auth_bytes, layout.n_bits + row["lane_bits"], layout.spare_bits, link),
        )
        self._shares.cut(link, row["lane_bits"], lost=lost)
        for region in HALVES:  # a half may be all tail
            self._segments.advance(segment, region, 0, burn_from=0)

    def peer_live(self, link: LinkId, message: BlockLive) -> None:
        """From now on the peer can check pads of this block, so we may send with them."""
        self._links.peer_speaks(link, "BlockLive")
        row = self._segments.by_block(link, message.block_no)
        if row is None and 0 < message.block_no <= self._links.row(link)["last_block"]:
            return  # nothing is left of it
        if row is None or row["state"] != BlockState.LIVE:
            raise PeerError(f"link {link}: block {message.block_no} is not live here")
        end = row["auth_start"] + row["auth_bytes"]
        self._db.run("UPDATE links SET tx_end = max(tx_end, ?) WHERE link = ?", end, link)

    def peer_burned(self, link: LinkId, message: BlockBurned) -> None:
        self._links.peer_speaks(link, "BlockBurned")
        row = self._segments.by_block(link, message.block_no)
        if row is not None and row["state"] == BlockState.LIVE:
            self._segments.burn_stock(row["id"])

    def stock(self, link: LinkId, region: Region) -> Iterator[sqlite3.Row]:
        """Live blocks with a ``rest`` of a half from ``used`` on, oldest first; no more of
        them are looked at than are taken."""
        used = USED[region]
        return self._db.lazily(
            f"SELECT id, block_no, {used} AS used, half_bytes - {used} AS rest FROM segments"  # noqa: S608
            f" WHERE link = ? AND state = ? AND {used} < half_bytes ORDER BY block_no",
            *(link, BlockState.LIVE),
        )

    def unsure(self, link: LinkId, tx_end: int) -> list[sqlite3.Row]:
        """Live blocks of which the peer may know less: something is left, or it may not even
        know that they are live."""
        return self._db.all(
            "SELECT * FROM segments WHERE link = ? AND state = ? AND block_no > 0"
            " AND (alice_used < half_bytes OR bob_used < half_bytes"
            " OR auth_start + auth_bytes > ?) ORDER BY block_no",
            *(link, BlockState.LIVE, tx_end),
        )


def _mismatch(mine: BlockPrepared, theirs: BlockPrepared) -> PeerError:
    return PeerError(
        f"block {mine.block_no}: {mine.n_bits} bits with {mine.auth_bytes} bytes for "
        f"authentication and {mine.lane_bits} bits for lanes here, {theirs.n_bits}, "
        f"{theirs.auth_bytes} and {theirs.lane_bits} at the peer; burned"
    )
