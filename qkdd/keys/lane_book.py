"""The row of a lane at one of its ends: the couriered key, pairs of pads, marks and verdicts.

Pairs are numbered from the couriered key's first on, and are spent strictly forward. What lies
between ``first_pair`` and ``end_pair`` is on disk under seal; a spent pair is cut out.
"""

import hmac
import sqlite3
from dataclasses import dataclass

from qkdd.base.errors import StoreError
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.lane_rows import DamagedRow, LaneRows
from qkdd.keys.lane_seal import LANE_KEY_BYTES, Kind, Shelf
from qkdd.keys.links import DIGEST_KEY_BYTES
from qkdd.keys.segments import Segments

RE_KEY = "install a new end-to-end key at both ends (qkdd psk install --lane ... --rekey)"
LANE_HASH_KEYS_BYTES = 32
LANE_PSK_MIN_BYTES = LANE_HASH_KEYS_BYTES + LANE_KEY_BYTES + DIGEST_KEY_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class LaneMemory:
    """What an end of a lane resumes with. The secrets are the caller's to wipe."""

    next_number: int
    """First end: the mark; nothing at or above it was ever announced."""
    verdict: bytes | None
    """The last verdict of this generation, byte for byte."""
    held: tuple[bytes, Secret] | None
    """Last end: the confirmation without a verdict, byte for byte, and its keys in order."""
    hash_keys: Secret
    pairs: Secret
    """The unspent pairs of pads, 32 bytes each, from ``first_pair`` on."""
    first_pair: int
    failures: int
    """Bad tags of the association so far."""


class LaneBook:
    """Rows of table ``lanes``; a pair that was spent under one generation is spent under all."""

    def __init__(self, database: Database, segments: Segments, rows: LaneRows) -> None:
        self._db = database
        self._segments = segments
        self._rows = rows

    def find(self, lane: str) -> sqlite3.Row | None:
        return self._db.one("SELECT * FROM lanes WHERE lane = ?", lane)

    def all(self) -> list[str]:
        return [row["lane"] for row in self._db.all("SELECT lane FROM lanes ORDER BY lane")]

    def row(self, lane: str, generation: int) -> sqlite3.Row:
        """Return the row; ValueError unless the generation has been opened by :meth:`memory`."""
        row = self.find(lane)
        if row is None or row["generation"] != generation:
            raise ValueError(f"lane {lane}: generation {generation} is not open here")
        return row

    def install(self, lane: str, psk: Secret, *, rekey: bool) -> None:
        """Lay in a couriered key: hash keys, pairs of pads, and 32 bytes for the digest key."""
        if len(psk) < LANE_PSK_MIN_BYTES:
            raise ValueError(f"an end-to-end key of {len(psk)} bytes is below {LANE_PSK_MIN_BYTES}")
        old = self.find(lane)
        if old is not None and not rekey:
            raise StoreError(f"lane {lane} has an end-to-end key; a new one burns all its keys")
        view = psk.reveal()
        n_pairs = (len(psk) - LANE_HASH_KEYS_BYTES - DIGEST_KEY_BYTES) // LANE_KEY_BYTES
        with Secret.from_bytes(view[-DIGEST_KEY_BYTES:]) as digest_key:
            psk_id = hmac.digest(digest_key.reveal(), b"qkdd lane psk name", "sha256")[:8]
            digest = self._segments.wrap_small(digest_key, _name(lane), "digest key")
        with Secret.from_bytes(view[:LANE_HASH_KEYS_BYTES]) as hash_keys:
            sealed = self._segments.wrap_small(hash_keys, _name(lane), "hash keys")
        kept = (0, 0)
        if old is not None:
            self._refuse_again(old, psk_id)
            self._forget(lane)
            kept = (old["generation"], old["next_number"])
        pads = view[LANE_HASH_KEYS_BYTES:][: LANE_KEY_BYTES * n_pairs]
        with Secret.from_bytes(pads) as pairs:
            self._rows.add(Shelf(lane, Kind.PAD), range(n_pairs), pairs)
        self._db.run(
            "INSERT INTO lanes VALUES (?,?,?,?,0,?,0,?,?,NULL,NULL,0,0,0)",
            *(lane, psk_id, digest, sealed, n_pairs, *kept),
        )

    def psk_name(self, lane: str) -> str:
        """Return a name that tells nothing of the key; StoreError if there is none."""
        row = self.find(lane)
        if row is None:
            raise StoreError(f"lane {lane} has no end-to-end key here")
        return bytes(row["psk_id"]).hex()

    def _refuse_again(self, old: sqlite3.Row, psk_id: bytes) -> None:
        """Raise StoreError if pads of this very key were spent: they must not be used again."""
        if psk_id == old["psk_id"] and (old["first_pair"] > 0 or old["confirm"] is not None):
            raise StoreError(
                f"lane {old['lane']}: this end-to-end key has been used before; make a new one"
            )

    def _forget(self, lane: str) -> None:
        """Shred all of a lane, its account too."""
        for kind in Kind:
            self._rows.drop(Shelf(lane, kind))
        self._db.run("DELETE FROM lane_recipients WHERE lane = ?", lane)
        self._db.run("DELETE FROM lanes WHERE lane = ?", lane)
        self._db.shred_due = True

    def memory(self, lane: str, generation: int) -> LaneMemory | None:
        """Open a generation and return what is remembered of it; None without a couriered key."""
        row = self.find(lane)
        if row is None:
            return None
        if generation < row["generation"]:
            raise StoreError(
                f"lane {lane}: generation {generation} is configured, this store has seen "
                f"{row['generation']}: raise it, numbers must not be used again"
            )
        if generation > row["generation"]:
            self._turn_over(row, generation)
            row = self.row(lane, generation)
        held = None
        hash_keys = self._segments.open_small(row["hash_keys"], _name(lane), "hash keys")
        numbers, pairs = self._read(Shelf(lane, Kind.PAD))
        if numbers != list(range(row["first_pair"], row["end_pair"])):
            raise StoreError(f"lane {lane}: pads are missing here; {RE_KEY}")
        if row["confirm"] is not None:
            held = (row["confirm"], self._read(Shelf(lane, Kind.HELD, generation))[1])
        return LaneMemory(
            next_number=row["next_number"],
            verdict=row["verdict"],
            held=held,
            hash_keys=hash_keys,
            pairs=pairs,
            first_pair=row["first_pair"],
            failures=row["failures"],
        )

    def _read(self, shelf: Shelf) -> tuple[list[int], Secret]:
        try:
            return self._rows.read(shelf)
        except DamagedRow as damage:
            what = "pads" if shelf.kind is Kind.PAD else "keys without a verdict"
            raise StoreError(f"lane {shelf.lane}: {what} do not open; {RE_KEY}") from damage

    def _turn_over(self, row: sqlite3.Row, generation: int) -> None:
        """Burn the keys of the generation before, and spend pads of which one may be used."""
        lane, before = row["lane"], row["generation"]
        n_burned = self._rows.count(Shelf(lane, Kind.READY))
        for kind in (Kind.HELD, Kind.READY, Kind.GIVEN):
            self._rows.drop(Shelf(lane, kind, before))
        self._db.run("DELETE FROM lane_recipients WHERE lane = ?", lane)
        if row["confirm"] is not None:
            self.spend(row, row["first_pair"])
        self._db.run(
            "UPDATE lanes SET generation = ?, next_number = 0, verdict = NULL, confirm = NULL,"
            " burned = burned + ? WHERE lane = ?",
            *(generation, n_burned, lane),
        )

    def mark(self, lane: str, generation: int, next_number: int) -> None:
        row = self.row(lane, generation)
        if next_number < row["next_number"]:
            raise ValueError(f"lane {lane}: mark {next_number} is below {row['next_number']}")
        self._db.run("UPDATE lanes SET next_number = ? WHERE lane = ?", next_number, lane)

    def check_pair(self, row: sqlite3.Row, pair: int) -> None:
        """Raise ValueError unless ``pair`` is the next one: each serves once, in order."""
        if pair != row["first_pair"] or pair >= row["end_pair"]:
            raise ValueError(
                f"lane {row['lane']}: pair {pair}, pairs {row['first_pair']} to "
                f"{row['end_pair'] - 1} are unspent"
            )

    def spend(self, row: sqlite3.Row, pair: int) -> None:
        """Cut the next pair out of the disk."""
        self._rows.remove(Shelf(row["lane"], Kind.PAD), [pair])
        self._db.run("UPDATE lanes SET first_pair = ? WHERE lane = ?", pair + 1, row["lane"])

    def renew(self, row: sqlite3.Row, pads: Secret) -> None:
        """Append a pair."""
        self._rows.add(Shelf(row["lane"], Kind.PAD), [row["end_pair"]], pads)
        self._db.run("UPDATE lanes SET end_pair = end_pair + 1 WHERE lane = ?", row["lane"])

    def trim(self, lane: str, first_pair: int, end_pair: int) -> None:
        """Cut out every pair but ``first_pair <= n < end_pair``."""
        row = self.find(lane)
        if row is None or not row["first_pair"] <= first_pair < end_pair <= row["end_pair"]:
            raise ValueError(f"lane {lane}: pairs {first_pair} to {end_pair - 1} are not all here")
        gone = [*range(row["first_pair"], first_pair), *range(end_pair, row["end_pair"])]
        self._rows.remove(Shelf(lane, Kind.PAD), gone)
        self._db.run(
            "UPDATE lanes SET first_pair = ?, end_pair = ? WHERE lane = ?",
            *(first_pair, end_pair, lane),
        )

    def judge(self, row: sqlite3.Row, verdict: bytes) -> None:
        """Keep the verdict, forget the confirmation."""
        self._db.run(
            "UPDATE lanes SET verdict = ?, confirm = NULL WHERE lane = ?", verdict, row["lane"]
        )

    def confirm(self, row: sqlite3.Row, confirm: bytes) -> None:
        self._db.run("UPDATE lanes SET confirm = ? WHERE lane = ?", confirm, row["lane"])

    def tried(self, lane: str, failures: int) -> None:
        if not self._db.run(
            "UPDATE lanes SET failures = ? WHERE lane = ?", failures, lane
        ).rowcount:
            raise ValueError(f"lane {lane} has no end-to-end key here")

    def count(self, lane: str, *, made: int = 0, delivered: int = 0, burned: int = 0) -> None:
        """Add keys to the lane's account."""
        self._db.run(
            "UPDATE lanes SET made = made + ?, delivered = delivered + ?, burned = burned + ?"
            " WHERE lane = ?",
            *(made, delivered, burned, lane),
        )


def _name(lane: str) -> str:
    """Return what the lane's small seals are bound to; no link has a blank in its name."""
    return f"lane {lane}"
