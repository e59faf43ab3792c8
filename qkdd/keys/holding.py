"""The peer's side of a key: held as announced, then confirmed or burned as the owner says."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from qkdd.base.errors import PeerError
from qkdd.base.ids import LinkId
from qkdd.keys.copies import Copies, NewKey
from qkdd.keys.database import Database
from qkdd.keys.layout import Region, half_of, other
from qkdd.keys.links import Links
from qkdd.keys.messages import (
    MOST_ANNOUNCED,
    KeysAnnounced,
    KeysConfirmed,
    KeysHeld,
    KeysSettled,
    join_ids,
    split_ids,
)
from qkdd.keys.schema import BlockState, KeyState
from qkdd.keys.segments import USED, Segments
from qkdd.keys.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one announced key will lie."""

    key_id: bytes
    segment: int
    offset: int


class Holder:
    """HELD --KeysConfirmed--> CONFIRMED (or burned; or DISPUTED, if a slave was faster)."""

    def __init__(
        self,
        database: Database,
        links: Links,
        segments: Segments,
        copies: Copies,
        settings: StoreSettings,
    ) -> None:
        self._db = database
        self._links = links
        self._segments = segments
        self._copies = copies
        self._settings = settings

    def hold(self, link: LinkId, message: KeysAnnounced, now_s: int) -> KeysHeld:
        self._links.peer_speaks(link, "KeysAnnounced")
        region = half_of(other(self._links.row(link)["role"]))
        slots, refused = self._place(link, message, region)
        keys = [
            NewKey(
                slot.key_id,
                slot.segment,
                region,
                slot.offset,
                message.n_bytes,
                message.master,
                message.slaves,
            )
            for slot in slots
        ]
        self._copies.enter(link, keys, KeyState.HELD, now_s)
        if not message.slaves:  # nobody here wants them
            rows = self._copies.rows([slot.key_id for slot in slots])
            self._copies.drop_all([*rows.values()])
        return KeysHeld(held=join_ids([slot.key_id for slot in slots]), refused=join_ids(refused))

    def _place(
        self, link: LinkId, message: KeysAnnounced, region: Region
    ) -> tuple[list[Slot], list[bytes]]:
        """Check an announcement, then advance the owner's cursors by it."""
        key_ids = self._check_names(link, message)
        last = self._links.row(link)["last_block"]
        slots: list[Slot] = []
        refused: list[bytes] = []
        taken = iter(key_ids)
        for place in message.places:
            row = self._segments.by_block(link, place.block_no)
            names = [next(taken) for _ in range(place.count)]
            end = place.offset + place.count * message.n_bytes
            if (row is None and 0 < place.block_no <= last) or (row is not None and row["burned"]):
                refused += names  # it went bad here, and BlockBurned is on its way
                continue
            if row is None or row["state"] != BlockState.LIVE:
                raise PeerError(f"link {link}: keys of block {place.block_no}, which is not live")
            if place.offset != row[USED[region]] or end > row["half_bytes"]:
                raise PeerError(
                    f"link {link} block {place.block_no}: bytes {place.offset} to {end} announced,"
                    f" {row[USED[region]]} to {row['half_bytes']} are free"
                )
            offsets = range(place.offset, end, message.n_bytes)
            slots += [Slot(n, row["id"], o) for n, o in zip(names, offsets, strict=True)]
            self._segments.advance(row["id"], region, end, burn_from=None)
        return slots, refused

    def _check_names(self, link: LinkId, message: KeysAnnounced) -> list[bytes]:
        key_ids = split_ids(message.key_ids)
        limits = self._settings
        n_placed = sum(place.count for place in message.places)
        if not 1 <= len(key_ids) == n_placed <= MOST_ANNOUNCED:
            raise PeerError(f"link {link}: {len(key_ids)} key IDs do not fill the places")
        if 8 * message.n_bytes > limits.max_key_size_bits:
            raise PeerError(
                f"link {link}: keys of {8 * message.n_bytes} bits, at most "
                f"{limits.max_key_size_bits}"
            )
        names = (message.master, *message.slaves)
        if len(set(names)) != len(names):
            raise PeerError(f"link {link}: an SAE is named twice")
        if len(set(key_ids)) != len(key_ids) or self._copies.rows(key_ids):
            raise PeerError(f"link {link}: a key ID is used twice")
        return key_ids

    def confirmed(self, link: LinkId, message: KeysConfirmed) -> KeysSettled:
        self._links.peer_speaks(link, "KeysConfirmed")
        delivered, burned = split_ids(message.delivered), split_ids(message.burned)
        if len({*delivered, *burned}) != len(delivered) + len(burned):
            raise PeerError(f"link {link}: a key is confirmed twice")
        rows = self._copies.rows([*delivered, *burned])
        for key_id in (*delivered, *burned):
            row = rows.get(key_id)
            known = row is not None and row["link"] == link and row["state"] == KeyState.HELD
            # A burned one may be unknown: we refused it. A delivered one is one that we held.
            if not known and (row is not None or key_id in delivered):
                raise PeerError(f"link {link}: key {key_id.hex()} is not held here")
        fetched = [key_id for key_id in burned if self.was_burned(link, key_id)]
        self.were_delivered([rows[key_id] for key_id in delivered])
        return KeysSettled(settled=join_ids([*delivered, *burned]), fetched=join_ids(fetched))

    def were_delivered(self, rows: Sequence[sqlite3.Row]) -> None:
        """Count held keys as delivered."""
        self._confirm([row["id"] for row in rows])
        self._copies.count(rows)

    def _confirm(self, ids: Sequence[int]) -> None:
        self._db.each(
            "UPDATE keys SET state = ?, settled = 1 WHERE id = ?",
            [(KeyState.CONFIRMED, key) for key in ids],
        )
        self._copies.forget_if_done(ids)

    def was_burned(self, link: LinkId, key_id: bytes) -> bool:
        """Burn a held key; return whether a slave had it already, so that it is delivered."""
        row = self._copies.row(key_id)
        if row is None:
            return False
        if row["fetched"]:
            self._db.run("UPDATE keys SET state = ? WHERE id = ?", KeyState.DISPUTED, row["id"])
            self._copies.count([row])
            return True
        self._links.add(link, "burned", 8 * row["n_bytes"])
        self._copies.forget(row)
        return False

    def drop_disputes(self, link: LinkId) -> None:
        """The owner has said that it knows: the disputed rows become ordinary."""
        rows = self._db.all(
            "SELECT id FROM keys WHERE link = ? AND state = ?", link, KeyState.DISPUTED
        )
        self._confirm([row["id"] for row in rows])
