"""Epsilon that a link has spent, by year: on disk before the block that it is spent on."""

from dataclasses import dataclass

from qkdd.base.ids import LinkId
from qkdd.keys.database import Database


@dataclass(frozen=True, slots=True)
class EpsilonYear:
    """What the blocks of one calendar year (UTC) have cost: sums, which bound their union."""

    year: int
    n_blocks: int = 0
    secrecy: float = 0.0
    correctness: float = 0.0

    @property
    def total(self) -> float:
        return self.secrecy + self.correctness


class EpsilonBook:
    """A row for each link and year. A wall clock that went back does not open an old year again."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def spent(self, link: LinkId, year: int) -> EpsilonYear:
        """Return what counts in ``year``, or in the last year of the book if that is later."""
        row = self._db.one("SELECT * FROM epsilon WHERE link = ? ORDER BY year DESC LIMIT 1", link)
        if row is None or row["year"] < year:
            return EpsilonYear(year)
        return EpsilonYear(row["year"], row["n_blocks"], row["secrecy"], row["correctness"])

    def spend(
        self, link: LinkId, year: int, secrecy: float, correctness: float, limit: float
    ) -> EpsilonYear | None:
        """Count one block more; None, and nothing is counted, if that would pass ``limit``."""
        before = self.spent(link, year)
        after = EpsilonYear(
            before.year,
            before.n_blocks + 1,
            before.secrecy + secrecy,
            before.correctness + correctness,
        )
        if after.total > limit:
            return None
        self._db.run(
            "INSERT OR REPLACE INTO epsilon VALUES (?, ?, ?, ?, ?)",
            link,
            after.year,
            after.n_blocks,
            after.secrecy,
            after.correctness,
        )
        return after
