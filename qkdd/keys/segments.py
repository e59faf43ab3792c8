"""Blocks on disk: cut, sealed, read in part, and shredded chunk by chunk as they are used up."""

import sqlite3
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable

from qkdd.base.errors import StoreError
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.layout import (
    CHUNK_BYTES,
    HALVES,
    TAIL_BYTES,
    BlockLayout,
    Region,
    chunk_id,
    pieces,
)
from qkdd.keys.schema import BlockState
from qkdd.keys.vault import SealBroken, SegmentKey, Vault

OPEN_KEYS = 8
"""Unwrapped segment keys that stay in memory."""
_ZEROS = bytes(CHUNK_BYTES)
USED = {Region.HALF_ALICE: "alice_used", Region.HALF_BOB: "bob_used"}


class Damaged(Exception):
    """A chunk does not open; caught inside the room, which burns before it tells anybody."""

    def __init__(self, segment: int, region: Region, number: int) -> None:
        super().__init__(segment, region, number)
        self.segment = segment
        self.region = region
        self.number = number


class Segments:
    """A segment is a block's row, its wrapped key and its sealed chunks.

    A chunk knows how many of its bytes are ``left`` to be disposed of; at 0 it is deleted, and
    with the last chunk the row goes, wrapped key and all.
    """

    def __init__(self, database: Database, vault: Vault, node: NodeId) -> None:
        self._db = database
        self._vault = vault
        self._node = node
        self._keys: OrderedDict[int, SegmentKey] = OrderedDict()
        self._scratch = Secret(CHUNK_BYTES)
        """Where chunks are opened; zeros but for the moment of it."""

    def context(self, link: str, what: str) -> bytes:
        """Return what every seal of a link is bound to."""
        return f"qkdd keys 1|{self._node}|{link}|{what}".encode()

    def create(
        self,
        link: LinkId,
        block_no: int,
        key: Secret,
        layout: BlockLayout,
        facts: bytes,
        lane_bits: int = 0,
    ) -> int:
        """Write a block as PENDING; return its segment id."""
        with self._vault.new_key() as segment_key:
            wrapped = self._vault.wrap(segment_key, self.context(link, f"block {block_no}"))
            sealer = SegmentKey(segment_key, self.context(link, f"block {block_no}"))
        segment = self._db.run(
            "INSERT INTO segments (link, block_no, state, n_bits, auth_bytes, half_bytes,"
            " alice_used, bob_used, burned, wrapped_key, facts, lane_bits)"
            " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, ?)",
            *(link, block_no, BlockState.PENDING, layout.n_bits, layout.auth_bytes),
            *(layout.half_bytes, wrapped, facts, lane_bits),
        ).lastrowid
        assert segment is not None
        for region in Region:
            start, size = layout.region(region)
            plain = key.reveal()[start : start + size]
            for number, first in enumerate(range(0, size, CHUNK_BYTES)):
                chunk = plain[first : first + CHUNK_BYTES]
                row = chunk_id(segment, region, number)
                self._db.run("INSERT INTO chunks VALUES (?, ?)", row, len(chunk))
                self._db.run(
                    "INSERT INTO sealed VALUES (?, ?)", row, sealer.seal(region, number, chunk)
                )
        return segment

    def by_block(self, link: LinkId, block_no: int) -> sqlite3.Row | None:
        return self._db.one(
            "SELECT * FROM segments WHERE link = ? AND block_no = ?", link, block_no
        )

    def _key(self, segment: int) -> SegmentKey:
        """Unwrap the key of a segment; SealBroken if it does not open."""
        if segment in self._keys:
            self._keys.move_to_end(segment)
            return self._keys[segment]
        row = self._db.one("SELECT link, block_no, wrapped_key FROM segments WHERE id=?", segment)
        if row is None:
            raise SealBroken
        context = self.context(row["link"], f"block {row['block_no']}")
        with self._vault.unwrap(row["wrapped_key"], context) as key:
            opened = SegmentKey(key, context)
        self._keys[segment] = opened
        if len(self._keys) > OPEN_KEYS:
            self._keys.popitem(last=False)
        return opened

    def forget_keys(self) -> None:
        """Drop unwrapped keys (a rolled back transaction may reuse segment ids)."""
        self._keys.clear()

    def read(self, segment: int, region: Region, offset: int, target: memoryview) -> None:
        """Open as many bytes of a region as ``target`` has; Damaged if a chunk does not open."""
        self.read_all([(segment, region, offset, target)])

    def read_all(self, wanted: Iterable[tuple[int, Region, int, memoryview]]) -> None:
        """As :meth:`read` for each of ``wanted``; a chunk that several lie in is opened once."""
        places: defaultdict[tuple[int, Region, int], list[tuple[int, memoryview]]] = defaultdict(
            list
        )
        for segment, region, offset, target in wanted:
            done = 0
            for piece in pieces(offset, len(target)):
                into = target[done : done + piece.n_bytes]
                places[segment, region, piece.number].append((piece.start, into))
                done += piece.n_bytes
        for (segment, region, number), parts in places.items():
            self._read_chunk(segment, region, number, parts)

    def _read_chunk(
        self, segment: int, region: Region, number: int, parts: list[tuple[int, memoryview]]
    ) -> None:
        row = self._db.one(
            "SELECT data FROM sealed WHERE id = ?", chunk_id(segment, region, number)
        )
        plain = self._scratch.reveal()
        try:
            if row is None or not isinstance(row["data"], bytes):
                raise SealBroken
            n_bytes = self._key(segment).open_into(region, number, row["data"], plain)
            for start, into in parts:
                if n_bytes < start + len(into):
                    raise SealBroken
                into[:] = plain[start : start + len(into)]
        except SealBroken as error:
            raise Damaged(segment, region, number) from error
        finally:
            plain[:] = _ZEROS

    def dispose(self, segment: int, region: Region, offset: int, n_bytes: int) -> None:
        """Count bytes as never needed again; each byte of a block once."""
        self.dispose_all([(segment, region, offset, n_bytes)])

    def dispose_all(self, places: Iterable[tuple[int, Region, int, int]]) -> None:
        """As :meth:`dispose` for each place."""
        n_gone: Counter[tuple[int, int]] = Counter()
        for segment, region, offset, n_bytes in places:
            for piece in pieces(offset, n_bytes):
                n_gone[segment, chunk_id(segment, region, piece.number)] += piece.n_bytes
        for (segment, row), n_bytes in n_gone.items():
            left = self._db.all(
                "UPDATE chunks SET left = left - ? WHERE id = ? RETURNING left", n_bytes, row
            )
            if left and left[0]["left"] <= 0:
                self._db.run("DELETE FROM chunks WHERE id = ?", row)
                self._drop_chunk(segment, row)

    def _drop_chunk(self, segment: int, row: int) -> None:
        self._db.run("DELETE FROM sealed WHERE id = ?", row)
        first, last = segment << 26, (segment + 1) << 26
        if self._db.one("SELECT 1 FROM chunks WHERE id >= ? AND id < ?", first, last) is None:
            self._delete_row(segment)

    def _delete_row(self, segment: int) -> None:
        self._keys.pop(segment, None)
        self._db.run("DELETE FROM segments WHERE id = ?", segment)
        self._db.shred_due = True

    def destroy(self, segment: int) -> None:
        """Shred a whole block at once, whatever was left of it."""
        first, last = segment << 26, (segment + 1) << 26
        self._db.run("DELETE FROM chunks WHERE id >= ? AND id < ?", first, last)
        self._db.run("DELETE FROM sealed WHERE id >= ? AND id < ?", first, last)
        self._delete_row(segment)

    def lose_chunk(self, segment: int, region: Region, number: int) -> None:
        """Drop a chunk that does not open."""
        row = chunk_id(segment, region, number)
        self._db.run("DELETE FROM chunks WHERE id = ?", row)
        self._drop_chunk(segment, row)

    def advance(self, segment: int, region: Region, to: int, *, burn_from: int | None) -> None:
        """Move a half's cursor to ``to``; burn from ``burn_from`` on, and a tail too short.

        The bytes between the old cursor and ``burn_from`` (or ``to``) are allocated, the
        caller's rows answer for them.
        """
        row = self._db.one("SELECT * FROM segments WHERE id = ?", segment)
        assert row is not None
        half = int(row["half_bytes"])
        burn = to if burn_from is None else burn_from
        if half - to < TAIL_BYTES:
            to = half
        self._db.run(f"UPDATE segments SET {USED[region]} = ? WHERE id = ?", to, segment)  # noqa: S608
        if to > burn:
            self._db.run(
                "UPDATE links SET burned = burned + ? WHERE link = ?", 8 * (to - burn), row["link"]
            )
            self.dispose(segment, region, burn, to - burn)

    def burn_stock(self, segment: int) -> None:
        """Burn what is not allocated of both halves."""
        self._db.run("UPDATE segments SET burned = 1 WHERE id = ?", segment)
        for region in HALVES:
            row = self._db.one("SELECT * FROM segments WHERE id = ?", segment)
            if row is None:
                return
            self.advance(segment, region, row["half_bytes"], burn_from=row[USED[region]])

    def open_small(self, wrapped: bytes, link: str, what: str) -> Secret:
        """Unwrap a small secret of a link (or ``lane NAME``); StoreError if it does not open."""
        try:
            return self._vault.unwrap(wrapped, self.context(link, what))
        except SealBroken as error:
            raise StoreError(f"{_owner(link)}: the sealed {what} does not open") from error

    def wrap_small(self, secret: Secret, link: str, what: str) -> bytes:
        return self._vault.wrap(secret, self.context(link, what))


def _owner(name: str) -> str:
    """Name a link, or a lane: no link has a blank in its name."""
    return name if " " in name else f"link {name}"
