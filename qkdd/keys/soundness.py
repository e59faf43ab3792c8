"""Can a store have written what its file holds? Looked at once, when the file is opened.

Pages have no check of their own. A bit that turned over in a record makes another number of a
number, or a text of it; sealed key is noticed by its tag, the account by its sum, the rest here.
"""

import sqlite3
from pathlib import Path

from qkdd.base.errors import StoreError

SEALED = "sealed"
"""By far the largest table; each of its rows is checked by its tag when it is opened."""
KINDS = {"INTEGER": "integer", "TEXT": "text", "BLOB": "blob", "REAL": "real"}
RULES = {
    "links": ("role IN ('alice', 'bob')", "min(next_block, auth_end, tx_mark, rx_mark) >= 0"),
    "segments": (
        "state IN (0, 1)",
        "alice_used BETWEEN 0 AND half_bytes",
        "bob_used BETWEEN 0 AND half_bytes",
        "min(block_no, n_bits, auth_bytes, lane_bits) >= 0",
    ),
    "chunks": ("left >= 0",),
    "keys": (
        "region IN (2, 3)",
        "state BETWEEN 0 AND 6",
        "offset >= 0",
        "n_bytes BETWEEN 1 AND 8192",
        "length(key_id) = 16",
    ),
    "lane_keys": ("kind BETWEEN 0 AND 3",),
}
"""What holds of every row, beside the types of its columns."""


def check_values(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError unless every value is of its column's kind and every rule holds."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' "
        "ESCAPE '^'"
    ).fetchall()
    for name in sorted(row[0] for row in names):
        if name == SEALED:
            continue
        rules = [*_kinds(connection, name), *RULES.get(name, ())]
        wrong = " OR ".join(f"({rule}) IS NOT TRUE" for rule in rules)
        if connection.execute(f"SELECT 1 FROM {name} WHERE {wrong} LIMIT 1").fetchone():  # noqa: S608
            raise StoreError(f"{path} is damaged: table {name} holds what no store has written")


def _kinds(connection: sqlite3.Connection, table: str) -> list[str]:
    """Say of each column that its values are of the kind it was declared with."""
    rules = []
    for _, column, declared, not_null, _, primary in connection.execute(
        f"PRAGMA table_info({table})"
    ).fetchall():
        kinds = [KINDS[declared]] + ([] if not_null or primary else ["null"])
        rules.append(f"typeof({column}) IN ({', '.join(repr(kind) for kind in kinds)})")
    return rules
