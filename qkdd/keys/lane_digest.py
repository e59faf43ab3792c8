"""Keyed digests of a lane's READY keys, to compare its two ends by eye or script.

Works beside the daemon, on a read-only connection of its own. The digest key comes from the
couriered end-to-end key, so both ends print the same and nobody else can make anything of it.
"""

import hmac
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from qkdd.base.errors import StoreError
from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.keys.digest import no_dice, snapshot
from qkdd.keys.lane_seal import LANE_KEY_BYTES, Kind, Shelf, open_records, unpack
from qkdd.keys.vault import SealBroken, Vault

WINDOW = 64
"""Numbers under one digest: those that both ends still have whole are the future ones."""


@dataclass(frozen=True, slots=True)
class LaneDigestRow:
    """The keys that are left of numbers ``first <= e < first + 64``; equal at both ends if both
    have the same ones left."""

    lane: str
    generation: int
    first: int
    n_keys: int
    state: str
    """``ready``, or ``damaged`` (no digest)."""
    digest: str


def read_lane_digests(path: Path, master_key: Secret, node: NodeId) -> list[LaneDigestRow]:
    """Digest every lane's READY keys; one snapshot, however busy the daemon is.

    Raises
    ------
    StoreError
        No store there, another version, or another master key or node.
    """
    vault = Vault(master_key, no_dice)
    with snapshot(path) as connection:
        lanes = connection.execute("SELECT * FROM lanes ORDER BY lane").fetchall()
        return [row for lane in lanes for row in _digests_of(connection, vault, node, lane)]


def _digests_of(
    connection: sqlite3.Connection, vault: Vault, node: NodeId, lane: sqlite3.Row
) -> list[LaneDigestRow]:
    shelf = Shelf(lane["lane"], Kind.READY, lane["generation"])
    bound = f"qkdd keys 1|{node}|lane {shelf.lane}|digest key".encode()
    try:
        digest_key = vault.unwrap(lane["digest_key"], bound)
    except SealBroken as error:
        raise StoreError(
            f"lane {shelf.lane}: the master key or the node name {node!r} is not the store's"
        ) from error
    rows = connection.execute(
        "SELECT * FROM lane_keys WHERE lane = ? AND kind = ?", (shelf.lane, shelf.kind)
    ).fetchall()
    with digest_key:
        windows = _windows(rows)
        return [
            _digest(vault, shelf, node, digest_key, first, windows[first])
            for first in sorted(windows)
        ]


def _windows(rows: list[sqlite3.Row]) -> dict[int, list[tuple[int, sqlite3.Row]]]:
    """Sort the numbers of rows into windows; a row that makes no sense counts as its first."""
    windows: dict[int, list[tuple[int, sqlite3.Row]]] = defaultdict(list)
    for row in rows:
        try:
            numbers = unpack(row)
        except SealBroken:
            numbers = [row["first"]]
        for number in numbers:
            windows[number - number % WINDOW].append((number, row))
    return windows


def _digest(
    vault: Vault,
    shelf: Shelf,
    node: NodeId,
    digest_key: Secret,
    first: int,
    places: list[tuple[int, sqlite3.Row]],
) -> LaneDigestRow:
    key = bytearray(digest_key.reveal())
    mac = hmac.new(key, digestmod="sha256")
    key[:] = bytes(len(key))
    mac.update(f"{shelf.lane}|{shelf.generation}|{first}|".encode())
    state = "ready"
    with Secret(LANE_KEY_BYTES) as plain:
        for number, row in sorted(places, key=lambda place: place[0]):
            try:
                open_records(vault, shelf.context(node), row, [number], plain.reveal())
            except SealBroken:
                state = "damaged"
            mac.update(number.to_bytes(8, "big"))
            mac.update(plain.reveal())
    digest = mac.hexdigest() if state == "ready" else ""
    return LaneDigestRow(shelf.lane, shelf.generation, first, len(places), state, digest)
