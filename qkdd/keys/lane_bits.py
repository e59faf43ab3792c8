"""The lanes' share of a link's key, in the link's account: cut, relayed, burned, under way.

The bits are in memory only, at both ends; what is kept here are counts. Each end counts the
fates of its units as it hears of them, and hears now and then how many the peer counts as relayed:
the larger number is true for both, for a crash makes an end forget what became of units under way.
"""

import sqlite3
from dataclasses import dataclass

from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo, LinkId
from qkdd.keys.database import Database
from qkdd.keys.links import Links
from qkdd.keys.messages import LanesRelayed
from qkdd.keys.schema import BlockState


@dataclass(frozen=True, slots=True)
class LaneBits:
    """cut = relayed + burned + under way."""

    relayed: int
    burned: int
    under_way: int

    @classmethod
    def of(cls, link: sqlite3.Row) -> "LaneBits":
        """Take the larger count of relayed bits: what is more at the peer comes from what is
        under way here, or else was burned here too early."""
        relayed, burned = link["lane_relayed"], link["lane_burned"]
        under_way = link["lane_cut"] - relayed - burned
        more = max(0, link["lane_peer"] - relayed)
        waited = min(more, under_way)
        return cls(relayed + more, burned - (more - waited), under_way - waited)


class LaneShares:
    """Columns ``lane_...`` of the links, and of blocks that are not live yet."""

    def __init__(self, database: Database, links: Links) -> None:
        self._db = database
        self._links = links
        self._told: dict[LinkId, int] = {}
        self._agreed: set[LinkId] = set()

    def burn_unsettled(self) -> None:
        """Burn what was under way when the process before this one ended, on all links."""
        self._db.run("UPDATE links SET lane_burned = lane_cut - lane_relayed")

    def settle(self, link: LinkId, relayed_bits: int, burned_bits: int) -> None:
        row = self._links.row(link)
        relayed, burned = row["lane_relayed"] + relayed_bits, row["lane_burned"] + burned_bits
        if relayed_bits < 0 or burned < 0 or relayed + burned > row["lane_cut"]:
            raise ValueError(
                f"link {link}: {relayed_bits} bits relayed and {burned_bits} burned, of "
                f"{row['lane_cut']} cut {row['lane_relayed']} and {row['lane_burned']} are settled"
            )
        self._db.run(
            "UPDATE links SET lane_relayed = ?, lane_burned = ? WHERE link = ?",
            *(relayed, burned, link),
        )

    def cut(self, link: LinkId, n_bits: int, *, lost: bool) -> None:
        """Enter the share of a block that went live; ``lost``: its units are nowhere any more."""
        self._db.run(
            "UPDATE links SET lane_cut = lane_cut + ?, lane_burned = lane_burned + ?"
            " WHERE link = ?",
            *(n_bits, n_bits if lost else 0, link),
        )

    def drop(self, link: LinkId, block_no: BlockNo) -> None:
        """The units of a block were wiped before they were born: burned, now or when it is live."""
        row = self._db.one("SELECT * FROM segments WHERE link = ? AND block_no = ?", link, block_no)
        if row is None or row["lanes_lost"]:
            return
        if row["state"] == BlockState.LIVE:
            self.settle(link, 0, row["lane_bits"])
        self._db.run("UPDATE segments SET lanes_lost = 1 WHERE id = ?", row["id"])

    def relayed(self, link: LinkId) -> LanesRelayed | None:
        """Return what the peer has not been told since the process began."""
        self._links.require_up(link)
        n_bits = self._links.row(link)["lane_relayed"]
        if self._told.get(link, 0) == n_bits:
            return None
        self._told[link] = n_bits
        return LanesRelayed(n_bits=n_bits)

    def agree(self, link: LinkId, n_bits: int) -> None:
        """Hear the peer's count at the start of a session.

        At the first of this process it is taken over if it is larger: whatever came through was
        under way in a process before, and nobody here will ever count it.
        """
        self.peer_relayed(link, n_bits)
        if link in self._agreed:
            return
        self._agreed.add(link)
        self._db.run(
            "UPDATE links SET lane_relayed = lane_peer,"
            " lane_burned = lane_burned - (lane_peer - lane_relayed)"
            " WHERE link = ? AND lane_peer > lane_relayed",
            link,
        )

    def peer_relayed(self, link: LinkId, n_bits: int) -> None:
        """Raise PeerError if the peer says that more came through than was ever cut."""
        n_cut = self._links.row(link)["lane_cut"]
        if n_bits > n_cut:
            raise PeerError(f"link {link}: the peer counts {n_bits} bits relayed, {n_cut} were cut")
        self._db.run("UPDATE links SET lane_peer = max(lane_peer, ?) WHERE link = ?", n_bits, link)
