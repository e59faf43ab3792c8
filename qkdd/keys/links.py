"""The row of a link: pre-shared key, counters, alarm; and the phase of its session."""

import hmac
import sqlite3
from dataclasses import dataclass, field
from enum import Enum, auto

from qkdd.base.errors import LinkLost, PeerError, SecurityAlarm, StoreError
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.layout import BlockLayout, Role
from qkdd.keys.messages import BlockPrepared, StoreAgreed, StoreState
from qkdd.keys.schema import BlockState
from qkdd.keys.segments import Segments

PSK_MIN_BYTES = 32 * 1024
PSK_BLOCK = BlockNo(0)
"""The pre-shared key is kept as block 0 of its link; distilled blocks count from 1."""
DIGEST_KEY_BYTES = 32


class Phase(Enum):
    CLOSED = auto()
    AGREEING = auto()  # our StoreState is out
    APPLIED = auto()  # the peer's has come and is applied; our StoreAgreed is out
    UP = auto()


@dataclass(slots=True)
class Session:
    """What a session with the peer remembers, in memory only: a lost one is agreed anew."""

    phase: Phase = Phase.CLOSED
    early: dict[int, BlockPrepared] = field(default_factory=dict)
    peer_block: int = -1
    state: StoreState | None = None
    agreed: StoreAgreed | None = None


class Links:
    def __init__(self, database: Database, segments: Segments) -> None:
        self._db = database
        self._segments = segments
        self._sessions: dict[LinkId, Session] = {}

    def row(self, link: LinkId) -> sqlite3.Row:
        row = self._db.one("SELECT * FROM links WHERE link = ?", link)
        if row is None:
            raise StoreError(f"link {link} has no pre-shared key: install one first")
        return row

    def all(self) -> list[LinkId]:
        return [LinkId(row["link"]) for row in self._db.all("SELECT link FROM links")]

    def session(self, link: LinkId) -> Session:
        return self._sessions.setdefault(link, Session())

    def open_session(self, link: LinkId) -> Session:
        self._sessions[link] = Session(phase=Phase.AGREEING)
        return self._sessions[link]

    def close_session(self, link: LinkId) -> None:
        self._sessions.pop(link, None)

    def close_sessions(self) -> None:
        """After a failed group commit nobody knows what was promised: every link reconnects."""
        self._sessions.clear()

    def require_up(self, link: LinkId) -> Session:
        session = self.session(link)
        if session.phase is not Phase.UP:
            raise LinkLost(f"link {link}: the stores have not agreed yet")
        return session

    def peer_speaks(self, link: LinkId, what: str) -> Session:
        """Return the session in which the peer may say ``what``."""
        session = self.session(link)
        if session.phase is not Phase.UP:
            raise PeerError(f"link {link}: {what} before the stores agreed")
        return session

    def add(self, link: LinkId, column: str, amount: int) -> None:
        """Add to a counter (bits) of the account."""
        self._db.run(f"UPDATE links SET {column} = {column} + ? WHERE link = ?", amount, link)  # noqa: S608

    def install(self, link: LinkId, role: Role, psk: Secret, *, rekey: bool) -> None:
        """Lay in a pre-shared key; its last 32 bytes become the digest key."""
        if len(psk) < PSK_MIN_BYTES:
            raise ValueError(f"a pre-shared key of {len(psk)} bytes is below {PSK_MIN_BYTES}")
        old = self._db.one("SELECT * FROM links WHERE link = ?", link)
        if old is not None and not rekey:
            raise StoreError(f"link {link} has a pre-shared key; a new one burns all its key")
        with Secret.from_bytes(psk.reveal()[-DIGEST_KEY_BYTES:]) as digest_key:
            psk_id = hmac.digest(digest_key.reveal(), b"qkdd psk name", "sha256")[:8]
            sealed = self._segments.wrap_small(digest_key, link, "digest key")
        if old is not None:
            self._refuse_again(old, psk_id)
            self.forget(link)
        n_bits = 8 * ((len(psk) - DIGEST_KEY_BYTES) // 2 * 2)
        layout = BlockLayout(n_bits, n_bits // 16, 0)
        segment = self._segments.create(link, PSK_BLOCK, psk, layout, b"{}")
        self._db.run(
            "UPDATE segments SET state = ?, auth_start = 0 WHERE id = ?", BlockState.LIVE, segment
        )
        kept = ("incarnation", "peer_incarnation", "next_block", "last_block")
        numbers = [old[name] for name in kept] if old is not None else [0, 0, 1, 0]
        self._db.run(
            "INSERT INTO links VALUES (?,?,NULL,?,?,?,?,?,?,?,?,0,0,0,0,0,?,0,0,0,0,0,0,0)",
            *(link, role, *numbers, psk_id, sealed),
            *(layout.auth_bytes, layout.auth_bytes, n_bits),
        )

    def _refuse_again(self, old: sqlite3.Row, psk_id: bytes) -> None:
        """Raise StoreError if this is the key that lies here and its first pads are spent: hash
        keys and pads would repeat, and two tags under one pad give the hash key away."""
        if psk_id == old["psk_id"] and max(old["tx_mark"], old["rx_mark"]) > 0:
            raise StoreError(
                f"link {old['link']}: this pre-shared key has been used before; make a new one"
            )

    def forget(self, link: LinkId) -> None:
        """Shred everything of a link, its account too."""
        for row in self._db.all("SELECT id FROM segments WHERE link = ?", link):
            self._segments.destroy(row["id"])
        self._db.run(
            "DELETE FROM recipients WHERE key IN (SELECT id FROM keys WHERE link = ?)", link
        )
        self._db.run("DELETE FROM keys WHERE link = ?", link)
        self._db.run("DELETE FROM links WHERE link = ?", link)
        self.close_session(link)

    def check_alarm(self, row: sqlite3.Row) -> None:
        if row["alarm"] is not None:
            raise SecurityAlarm(f"link {row['link']} is burned until re-keyed: {row['alarm']}")

    def next_block(self, link: LinkId) -> BlockNo:
        number = self.row(link)["next_block"]
        self._db.run("UPDATE links SET next_block = ? WHERE link = ?", number + 1, link)
        return BlockNo(number)
