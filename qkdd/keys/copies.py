"""Copies of keys for SAEs, which owner and peer hand out alike: at most once to each."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from qkdd.base.errors import LinkLost, QkdError
from qkdd.base.ids import LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.layout import Region
from qkdd.keys.links import Links, Phase
from qkdd.keys.schema import RELAY, KeyState
from qkdd.keys.segments import Segments

OVER = (KeyState.DELIVERED, KeyState.BURNED, KeyState.CONFIRMED)
FETCHABLE = (KeyState.DELIVERED, KeyState.HELD, KeyState.CONFIRMED, KeyState.DISPUTED)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be entered: its name, where it lies, and who may have a copy of it here."""

    key_id: bytes
    segment: int
    region: Region
    offset: int
    n_bytes: int
    master: str
    saes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """What a slave asks for: keys by their names."""

    key_ids: tuple[UUID, ...]
    sae: SaeId
    master: SaeId


class Copies:
    """Rows of keys and who may still have a copy; the bytes go when nobody may."""

    def __init__(self, database: Database, segments: Segments, links: Links) -> None:
        self._db = database
        self._segments = segments
        self._links = links

    def row(self, key_id: bytes) -> sqlite3.Row | None:
        return self._db.one("SELECT * FROM keys WHERE key_id = ?", key_id)

    def rows(self, key_ids: Sequence[bytes]) -> dict[bytes, sqlite3.Row]:
        """Return the rows of those keys that there are, by name."""
        found = self._db.among("SELECT * FROM keys WHERE key_id IN ({})", key_ids)
        return {row["key_id"]: row for row in found}

    def enter(self, link: LinkId, keys: Sequence[NewKey], state: KeyState, now_s: int) -> None:
        """Write down new keys."""
        last = self._db.one("SELECT coalesce(max(id), 0) AS id FROM keys")
        assert last is not None
        numbered = list(enumerate(keys, last["id"] + 1))
        self._db.each(
            "INSERT INTO keys (id, key_id, link, segment, region, offset, n_bytes, master, state,"
            " told, settled, fetched, gone, created_s) VALUES (?,?,?,?,?,?,?,?,?,0,0,0,0,?)",
            [
                (
                    *(row, one.key_id, link, one.segment, int(one.region), one.offset),
                    *(one.n_bytes, one.master, int(state), now_s),
                )
                for row, one in numbered
            ],
        )
        self._db.each(
            "INSERT INTO recipients VALUES (?, ?, 0)",
            [(row, sae) for row, one in numbered for sae in one.saes],
        )

    def count(self, rows: Sequence[sqlite3.Row]) -> None:
        """Count keys of a link as gone: to applications, or between relays."""
        for column, relays in (("delivered", False), ("relayed", True)):
            n_bytes = sum(row["n_bytes"] for row in rows if (row["master"] == RELAY) == relays)
            if n_bytes:
                self._links.add(rows[0]["link"], column, 8 * n_bytes)

    def read(self, rows: Sequence[sqlite3.Row]) -> list[Secret]:
        """Open keys, all or none."""
        keys = Secret.side_by_side([row["n_bytes"] for row in rows])
        try:
            self._segments.read_all(
                (row["segment"], Region(row["region"]), row["offset"], key.reveal())
                for row, key in zip(rows, keys, strict=True)
            )
        except BaseException:
            for key in keys:
                key.wipe()
            raise
        return keys

    def drop_bytes(self, row: sqlite3.Row) -> None:
        """Let go of the bytes of a key, once."""
        if self._db.run("UPDATE keys SET gone = 1 WHERE id = ? AND gone = 0", row["id"]).rowcount:
            region = Region(row["region"])
            self._segments.dispose(row["segment"], region, row["offset"], row["n_bytes"])

    def drop_all(self, rows: Sequence[sqlite3.Row]) -> None:
        """Let go of the bytes of keys that have them still."""
        ids = [(row["id"],) for row in rows]
        if self._db.each("UPDATE keys SET gone = 1 WHERE id = ? AND gone = 0", ids) != len(ids):
            raise RuntimeError("bytes of a key would be disposed of twice")
        self._dispose(rows)

    def _dispose(self, rows: Iterable[sqlite3.Row]) -> None:
        self._segments.dispose_all(
            (row["segment"], Region(row["region"]), row["offset"], row["n_bytes"]) for row in rows
        )

    def give_to_masters(self, rows: Sequence[sqlite3.Row]) -> None:
        """Note that masters have these keys; the bytes go unless a slave here may come for them."""
        waiting = self._db.among(
            "SELECT key FROM recipients WHERE done = 0 AND key IN ({})",
            [row["id"] for row in rows],
        )
        awaited = {row["key"] for row in waiting}
        n_given = self._db.each(
            "UPDATE keys SET state = ?, gone = ? WHERE id = ? AND state = ? AND gone = 0",
            [
                (KeyState.DELIVERED, row["id"] not in awaited, row["id"], KeyState.AWARE)
                for row in rows
            ],
        )
        if n_given != len(rows):
            raise RuntimeError("a key would be delivered twice")
        self._dispose(row for row in rows if row["id"] not in awaited)

    def forget(self, row: sqlite3.Row) -> None:
        if not row["gone"]:
            self.drop_bytes(row)
        self._db.run("DELETE FROM recipients WHERE key = ?", row["id"])
        self._db.run("DELETE FROM keys WHERE id = ?", row["id"])

    def forget_if_done(self, keys: Iterable[int]) -> None:
        """Delete rows that both ends know the fate of and that nobody waits for."""
        rows = self._db.among("SELECT id, state, gone, settled FROM keys WHERE id IN ({})", [*keys])
        self._delete(
            [row["id"] for row in rows if row["gone"] and row["settled"] and row["state"] in OVER]
        )

    def _delete(self, keys: Sequence[int]) -> None:
        self._db.each("DELETE FROM recipients WHERE key = ?", [(key,) for key in keys])
        self._db.each("DELETE FROM keys WHERE id = ?", [(key,) for key in keys])

    def fetch(self, requests: Sequence[Fetch]) -> list[list[Secret] | QkdError]:
        """Hand keys to slaves: of each request all or none, each key at most once to each."""
        rows = self.rows([key_id.bytes for one in requests for key_id in one.key_ids])
        places = self._db.among(
            "SELECT key, sae, done FROM recipients WHERE key IN ({})",
            [row["id"] for row in rows.values()],
        )
        free = {(place["key"], place["sae"]): not place["done"] for place in places}
        found: list[list[sqlite3.Row] | QkdError] = []
        for one in requests:
            try:
                found.append(self._entitled(one, rows, free))
            except (KeyNotEntitled, KeyNotFound, LinkLost) as refusal:
                found.append(refusal)
        awaited = {key for (key, _), is_free in free.items() if is_free}
        return self._hand_over(requests, found, awaited)

    def _hand_over(
        self,
        requests: Sequence[Fetch],
        found: Sequence[list[sqlite3.Row] | QkdError],
        awaited: set[int],
    ) -> list[list[Secret] | QkdError]:
        """``awaited``: rows of keys that others may still come for."""
        taken = [
            (row, one.sae)
            for one, rows in zip(requests, found, strict=True)
            if not isinstance(rows, QkdError)
            for row in rows
        ]
        keys = iter(self.read([row for row, _ in taken]))
        given = {row["id"]: row for row, _ in taken}
        n_given = self._db.each(
            "UPDATE keys SET fetched = 1, gone = ? WHERE id = ? AND gone = 0",
            [(key not in awaited, key) for key in given],
        )
        if n_given != len(given):
            raise RuntimeError("a key would be fetched twice")
        self._db.each(  # of those that are gone nobody asks any more who has them
            "UPDATE recipients SET done = 1 WHERE key = ? AND sae = ?",
            [(row["id"], sae) for row, sae in taken if row["id"] in awaited],
        )
        gone = [row for key, row in given.items() if key not in awaited]
        self._dispose(gone)
        self._delete([row["id"] for row in gone if row["settled"] and row["state"] in OVER])
        return [
            rows if isinstance(rows, QkdError) else [next(keys) for _ in rows] for rows in found
        ]

    def _entitled(
        self, asked: Fetch, rows: dict[bytes, sqlite3.Row], free: dict[tuple[int, str], bool]
    ) -> list[sqlite3.Row]:
        """Return the rows of a request, and note in ``free`` that its SAE has them.

        Raises
        ------
        KeyNotEntitled, KeyNotFound, LinkLost
            See :meth:`qkdd.keys.hop_store.HopStore.fetch_keys`.
        """
        if len(set(asked.key_ids)) != len(asked.key_ids):
            raise ValueError("a key ID is asked for twice")
        found, missing = list[sqlite3.Row](), list[UUID]()
        for key_id in asked.key_ids:
            row = rows.get(key_id.bytes)
            if row is None or not self._has(key_id, row, asked, free):
                missing.append(key_id)
            else:
                found.append(row)
        if missing:
            raise KeyNotFound(
                f"{len(missing)} of {len(asked.key_ids)} keys, the first {missing[0]}"
            )
        for row in found:
            free[row["id"], asked.sae] = False
        return found

    def _has(
        self, key_id: UUID, row: sqlite3.Row, asked: Fetch, free: dict[tuple[int, str], bool]
    ) -> bool:
        """Tell whether a key is there to be fetched."""
        if row["master"] != asked.master or asked.sae == asked.master:
            raise KeyNotEntitled(f"key {key_id} was not made for {asked.sae} by {asked.master}")
        if (row["id"], asked.sae) not in free:
            raise KeyNotEntitled(f"key {key_id} was not made for {asked.sae}")
        if row["state"] == KeyState.HELD and self._links.session(row["link"]).phase in (
            Phase.AGREEING,
            Phase.APPLIED,
        ):
            raise LinkLost(f"link {row['link']}: the fate of key {key_id} is being agreed")
        return row["state"] in FETCHABLE and not row["gone"] and free[row["id"], asked.sae]

    def expire(self, link: LinkId, before_s: int) -> int:
        """Wipe copies of delivered keys that nobody fetched; the account does not change."""
        rows = self._db.all(
            "SELECT * FROM keys WHERE link = ? AND state IN (?, ?, ?) AND gone = 0"
            " AND created_s < ?",
            *(link, KeyState.DELIVERED, KeyState.CONFIRMED, KeyState.DISPUTED, before_s),
        )
        self.drop_all(rows)
        self.forget_if_done([row["id"] for row in rows])
        return len(rows)
