"""Tables of the store, and its version: a newer file is refused, never guessed at."""

import sqlite3
from contextlib import closing
from enum import IntEnum
from functools import cache
from pathlib import Path

from qkdd.base.errors import StoreError
from qkdd.keys.soundness import check_values

APPLICATION_ID = 0x714B4453  # "qKDS", in the file's header
SCHEMA_VERSION = 4


RELAY, NEXT_RELAY = "@relay", "@next"
"""Master and slave of a key that two neighbours use up between them as a pad: no SAE's names."""


class BlockState(IntEnum):
    PENDING = 0
    LIVE = 1


class KeyState(IntEnum):
    """Owner: RESERVED -> AWARE -> DELIVERED or BURNED. Peer: HELD -> CONFIRMED or DISPUTED."""

    RESERVED = 0
    AWARE = 1  # the peer holds it
    DELIVERED = 2
    BURNED = 3
    HELD = 4
    CONFIRMED = 5
    DISPUTED = 6  # the owner burned it, but a slave here had fetched it: delivered


DDL = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE links (
    link TEXT PRIMARY KEY, role TEXT NOT NULL, alarm TEXT,
    incarnation INTEGER NOT NULL, peer_incarnation INTEGER NOT NULL,
    next_block INTEGER NOT NULL, last_block INTEGER NOT NULL,
    psk_id BLOB NOT NULL, digest_key BLOB NOT NULL,
    auth_end INTEGER NOT NULL, tx_end INTEGER NOT NULL,
    tx_mark INTEGER NOT NULL, tx_spent INTEGER NOT NULL,
    rx_mark INTEGER NOT NULL, rx_spent INTEGER NOT NULL,
    distilled INTEGER NOT NULL, pre_shared INTEGER NOT NULL, delivered INTEGER NOT NULL,
    relayed INTEGER NOT NULL, burned INTEGER NOT NULL,
    lane_cut INTEGER NOT NULL DEFAULT 0, lane_relayed INTEGER NOT NULL DEFAULT 0,
    lane_burned INTEGER NOT NULL DEFAULT 0, lane_peer INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE epsilon (
    link TEXT NOT NULL, year INTEGER NOT NULL, n_blocks INTEGER NOT NULL,
    secrecy REAL NOT NULL, correctness REAL NOT NULL, PRIMARY KEY (link, year)
) WITHOUT ROWID;
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, link TEXT NOT NULL, block_no INTEGER NOT NULL,
    state INTEGER NOT NULL, n_bits INTEGER NOT NULL, auth_bytes INTEGER NOT NULL,
    half_bytes INTEGER NOT NULL, auth_start INTEGER, alice_used INTEGER NOT NULL,
    bob_used INTEGER NOT NULL, burned INTEGER NOT NULL, wrapped_key BLOB NOT NULL,
    facts BLOB NOT NULL, lane_bits INTEGER NOT NULL,
    lanes_lost INTEGER NOT NULL DEFAULT 0, UNIQUE (link, block_no)
);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, left INTEGER NOT NULL);
CREATE TABLE sealed (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE keys (
    id INTEGER PRIMARY KEY, key_id BLOB NOT NULL UNIQUE, link TEXT NOT NULL,
    segment INTEGER NOT NULL, region INTEGER NOT NULL, offset INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL, master TEXT NOT NULL, state INTEGER NOT NULL,
    told INTEGER NOT NULL, settled INTEGER NOT NULL, fetched INTEGER NOT NULL,
    gone INTEGER NOT NULL, created_s INTEGER NOT NULL
);
CREATE INDEX keys_by_state ON keys (link, state, told);
CREATE TABLE recipients (
    key INTEGER NOT NULL, sae TEXT NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (key, sae)
) WITHOUT ROWID;
CREATE TABLE lanes (
    lane TEXT PRIMARY KEY, psk_id BLOB NOT NULL, digest_key BLOB NOT NULL,
    hash_keys BLOB NOT NULL, first_pair INTEGER NOT NULL, end_pair INTEGER NOT NULL,
    failures INTEGER NOT NULL, generation INTEGER NOT NULL, next_number INTEGER NOT NULL,
    verdict BLOB, confirm BLOB,
    made INTEGER NOT NULL, delivered INTEGER NOT NULL, burned INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE lane_keys (
    id INTEGER PRIMARY KEY, lane TEXT NOT NULL, kind INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, n INTEGER NOT NULL, numbers BLOB NOT NULL, records BLOB NOT NULL,
    wrapped_key BLOB NOT NULL
);
CREATE INDEX lane_keys_by_number ON lane_keys (lane, kind, first, last, n);
CREATE TABLE lane_recipients (
    lane TEXT NOT NULL, number INTEGER NOT NULL, sae TEXT NOT NULL, done INTEGER NOT NULL,
    PRIMARY KEY (lane, number, sae)
) WITHOUT ROWID;
CREATE TABLE hop_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key_id BLOB NOT NULL UNIQUE, master TEXT NOT NULL,
    n_relays INTEGER NOT NULL, sealed BLOB NOT NULL, created_s INTEGER NOT NULL
);
CREATE TABLE hop_recipients (
    key INTEGER NOT NULL, sae TEXT NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (key, sae)
) WITHOUT ROWID;
"""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in a new file.

    Raises
    ------
    StoreError
        The file is another program's, was written by a later qkdd, or is damaged.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if n_tables == 0 and application == 0:
        connection.executescript(
            f"BEGIN; PRAGMA application_id={APPLICATION_ID}; "
            f"PRAGMA user_version={SCHEMA_VERSION}; {DDL} COMMIT;"
        )
        return
    check(application, version, path)
    check_tables(connection, path)
    check_values(connection, path)


EMPTY = """
SELECT 1 FROM meta UNION ALL SELECT 1 FROM links UNION ALL SELECT 1 FROM lanes
UNION ALL SELECT 1 FROM hop_keys LIMIT 1
"""
"""Finds nothing in a store that is new, or whose maker died behind its first commit."""


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError unless the file's tables are, letter by letter, those of this version.

    A bit of the text of a table turned over on the disk would give a column another name.
    """
    if _tables(connection) != _expected():
        raise StoreError(f"{path} is damaged: its tables are not those of a key store")


def _tables(connection: sqlite3.Connection) -> frozenset[tuple[object, object]]:
    """Return name and text of every table and index that somebody has named."""
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    )
    return frozenset((row[0], row[1]) for row in rows)


@cache
def _expected() -> frozenset[tuple[object, object]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(DDL)
        return _tables(connection)


def check(application: int, version: int, path: Path) -> None:
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not a key store of qkdd (application id {application:#x})")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, this qkdd knows up to {SCHEMA_VERSION}: "
            "a downgrade of the program is refused"
        )
    if version < SCHEMA_VERSION:
        raise StoreError(f"{path} has schema version {version}, which was never released")
