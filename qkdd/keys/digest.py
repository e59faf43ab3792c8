"""Keyed digests of what is left in a store, to compare the two ends of a link by eye or script.

Works beside the daemon, on a read-only connection of its own. The digest key comes from the
pre-shared key, so both ends print the same and nobody else can make anything of it.
"""

import hmac
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from qkdd.base.errors import StoreError
from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.keys import schema
from qkdd.keys.database import UNREADABLE
from qkdd.keys.layout import HALVES, Region, chunk_id, pieces
from qkdd.keys.schema import BlockState
from qkdd.keys.segments import USED
from qkdd.keys.vault import SealBroken, SegmentKey, Vault


@dataclass(frozen=True, slots=True)
class DigestRow:
    """What is left of one half of a live block, from byte ``offset`` of the half."""

    link: str
    block_no: int
    half: str
    offset: int
    length: int
    state: str
    """``live``, ``pending``, or ``damaged`` (no digest)."""
    digest: str


def read_digests(path: Path, master_key: Secret, node: NodeId) -> list[DigestRow]:
    """Digest every half that has something left; one snapshot, however busy the daemon is.

    Raises
    ------
    StoreError
        No store there, a later version, or another master key or node.
    """
    vault = Vault(master_key, no_dice)
    with snapshot(path) as connection:
        links = connection.execute("SELECT link, digest_key FROM links ORDER BY link")
        rows: list[DigestRow] = []
        for link in links.fetchall():
            rows += _digests_of(connection, vault, node, link)
        return rows


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a store as it is at one moment; every failure of the file is a StoreError."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.isolation_level = None
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            schema.check(application, version, path)
            schema.check_tables(connection, path)
            connection.execute("BEGIN")
            yield connection
    except UNREADABLE as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _digests_of(
    connection: sqlite3.Connection, vault: Vault, node: NodeId, link: sqlite3.Row
) -> list[DigestRow]:
    context = f"qkdd keys 1|{node}|{link['link']}"
    try:
        digest_key = vault.unwrap(link["digest_key"], f"{context}|digest key".encode())
    except SealBroken as error:
        raise StoreError(
            f"link {link['link']}: the master key or the node name {node!r} is not the store's"
        ) from error
    blocks = connection.execute(
        "SELECT * FROM segments WHERE link = ? AND half_bytes > 0 ORDER BY block_no",
        (link["link"],),
    )
    with digest_key:
        return [
            _row(connection, vault, block, region, context, digest_key)
            for block in blocks.fetchall()
            for region in HALVES
            if block[USED[region]] < block["half_bytes"]
        ]


def _row(
    connection: sqlite3.Connection,
    vault: Vault,
    block: sqlite3.Row,
    region: Region,
    context: str,
    digest_key: Secret,
) -> DigestRow:
    bound = f"{context}|block {block['block_no']}".encode()
    offset = block[USED[region]]
    length = block["half_bytes"] - offset
    state = BlockState(block["state"]).name.lower()
    key = bytearray(digest_key.reveal())
    mac = hmac.new(key, digestmod="sha256")
    key[:] = bytes(len(key))
    mac.update(f"{block['link']}|{block['block_no']}|{region.name}|{offset}|{length}|".encode())
    try:
        with vault.unwrap(block["wrapped_key"], bound) as wrapped:
            opener = SegmentKey(wrapped, bound)
        for piece in pieces(offset, length):
            found = connection.execute(
                "SELECT data FROM sealed WHERE id = ?",
                (chunk_id(block["id"], region, piece.number),),
            ).fetchone()
            if found is None:
                raise SealBroken
            with opener.open(region, piece.number, found["data"]) as plain:
                mac.update(plain.reveal()[piece.start : piece.start + piece.n_bytes])
        digest = mac.hexdigest()
    except SealBroken:
        state, digest = "damaged", ""
    return DigestRow(block["link"], block["block_no"], region.name, offset, length, state, digest)


def no_dice(_n_bytes: int) -> bytes:
    raise RuntimeError("reading digests needs no entropy")
