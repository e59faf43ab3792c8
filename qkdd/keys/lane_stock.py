"""Keys of a lane at one of its ends: held until the verdict, READY, handed out at most once.

    hold --HELD--> ready --READY--> take --> gone, or GIVEN while another SAE may still ask

The other end keeps the same numbers in a store of its own; nothing is agreed about them here.
"""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from qkdd.base.errors import StoreError
from qkdd.base.ids import SaeId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.lane_book import LaneBook
from qkdd.keys.lane_rows import DamagedRow, LaneRows
from qkdd.keys.lane_seal import LANE_KEY_BYTES, Kind, Shelf


@dataclass(frozen=True, slots=True)
class LaneNumbers:
    """Numbers whose keys lie here, rising."""

    ready: list[int]
    held: list[int]
    """Without a verdict yet."""


@dataclass(frozen=True, slots=True)
class LaneStock:
    """Keys of a lane since its end-to-end key was installed: made = delivered + burned + ready."""

    ready: int
    held: int
    """Not made yet: their verdict is not in."""
    delivered: int
    """Keys that at least one SAE has got."""
    burned: int
    newest: int | None
    """The highest READY number."""

    @property
    def made(self) -> int:
        """READY keys that there ever were; pads of the association are not among them."""
        return self.delivered + self.burned + self.ready


class LaneStocks:
    def __init__(self, database: Database, book: LaneBook, rows: LaneRows) -> None:
        self._db = database
        self._book = book
        self._rows = rows

    def hold(
        self,
        lane: str,
        generation: int,
        confirm: bytes,
        numbers: Sequence[int],
        keys: Secret,
        pair: int,
    ) -> None:
        """Keep unconfirmed keys; the pair's second pad still has to check the verdict."""
        row = self._book.row(lane, generation)
        self._book.check_pair(row, pair)
        shelf = Shelf(lane, Kind.HELD, generation)
        self._forget_hold(shelf, keep=numbers)
        self._rows.add(shelf, numbers, keys)
        self._book.confirm(row, confirm)

    def _forget_hold(self, shelf: Shelf, *, keep: Collection[int] = ()) -> None:
        """Drop the held keys, and who had got one before its verdict."""
        held = set(self._rows.numbers(shelf)) - set(keep)
        for number in held & self._asked(shelf.lane, held).keys():
            self._forget_places(shelf.lane, number)
        self._rows.drop(shelf)

    def ready(
        self,
        lane: str,
        generation: int,
        numbers: Sequence[int],
        keys: Secret,
        verdict: bytes,
        pair: int,
        renewal: Secret | None,
    ) -> list[int]:
        """Return the numbers that may still be asked for here; the others were, while held."""
        row = self._book.row(lane, generation)
        self._book.check_pair(row, pair)
        for kind in (Kind.READY, Kind.GIVEN):
            if here := self._rows.among(Shelf(lane, kind, generation), numbers):
                raise ValueError(f"lane {lane}: number {here[0]} is READY already")
        asked = self._asked(lane, numbers)
        self._forget_hold(Shelf(lane, Kind.HELD, generation), keep=numbers)
        fresh = [number for number in numbers if number not in asked]
        given = [n for n in numbers if n in asked and not all(asked[n].values())]
        for kind, some in ((Kind.READY, fresh), (Kind.GIVEN, given)):
            with _pick(keys, numbers, some) as picked:
                self._rows.add(Shelf(lane, kind, generation), some, picked)
        for number in set(numbers) - set(fresh) - set(given):
            self._forget_places(lane, number)
        if renewal is not None:
            self._book.renew(row, renewal)
        self._book.spend(row, pair)
        self._book.judge(row, verdict)
        self._book.count(lane, made=len(fresh))
        return sorted([*fresh, *given])

    def judge(self, lane: str, generation: int, verdict: bytes, pair: int) -> None:
        """Nothing became READY."""
        row = self._book.row(lane, generation)
        self._book.check_pair(row, pair)
        self._forget_hold(Shelf(lane, Kind.HELD, generation))
        self._book.spend(row, pair)
        self._book.judge(row, verdict)

    def numbers(self, lane: str, generation: int) -> LaneNumbers:
        self._book.row(lane, generation)
        return LaneNumbers(
            self._rows.numbers(Shelf(lane, Kind.READY, generation)),
            self._rows.numbers(Shelf(lane, Kind.HELD, generation)),
        )

    # --- handing out ---

    def take(
        self, lane: str, generation: int, number: int, sae: SaeId, entitled: Sequence[SaeId]
    ) -> Secret:
        row = self._book.find(lane)
        if sae not in entitled:
            raise KeyNotEntitled(f"key {number} of lane {lane} is not for {sae}")
        if row is None or row["generation"] != generation:
            raise KeyNotFound(f"lane {lane} has no generation {generation} here")
        for kind in (Kind.READY, Kind.GIVEN, Kind.HELD):
            shelf = Shelf(lane, kind, generation)
            found = self._rows.find(shelf, number)
            if found is None:
                continue
            known = self._places(lane, number)
            places = known or dict.fromkeys(entitled, False)
            if sae not in places:
                raise KeyNotEntitled(f"key {number} of lane {lane} was given out without {sae}")
            if places[sae] or (kind is Kind.HELD and number == max(self._rows.numbers(shelf))):
                break  # that one may become the association's pads
            key = self._rows.read_one(shelf, found, number)
            if not known:
                self._book.count(lane, made=1 if kind is Kind.HELD else 0, delivered=1)
            self._served(shelf, found, number, key, {**places, sae: True})
            return key
        raise KeyNotFound(f"key {number} of lane {lane} is not here, or not any more")

    def _served(
        self, shelf: Shelf, row: sqlite3.Row, number: int, key: Secret, places: dict[str, bool]
    ) -> None:
        """Note who has a key, and let go of it when nobody else may ask for it."""
        over = all(places.values()) and shelf.kind is not Kind.HELD
        if over or shelf.kind is Kind.READY:
            self._rows.cut(row, {number})
        if over and shelf.kind is Kind.READY:
            return  # nothing is noted of a key that only one SAE may have
        if over:
            self._forget_places(shelf.lane, number)
            return
        if shelf.kind is Kind.READY:
            self._rows.add(Shelf(shelf.lane, Kind.GIVEN, shelf.generation), [number], key)
        for sae, done in places.items():
            self._db.run(
                "INSERT OR REPLACE INTO lane_recipients VALUES (?, ?, ?, ?)",
                *(shelf.lane, number, sae, done),
            )

    def _places(self, lane: str, number: int) -> dict[str, bool]:
        """Return who may have a key that somebody has, and who has it."""
        return self._asked(lane, [number]).get(number, {})

    def _asked(self, lane: str, numbers: Collection[int]) -> dict[int, dict[str, bool]]:
        """Return the same of each number, from the first to the last, whose key somebody has."""
        asked: dict[int, dict[str, bool]] = {}
        for row in self._db.all(
            "SELECT * FROM lane_recipients WHERE lane = ? AND number BETWEEN ? AND ?",
            *(lane, min(numbers, default=0), max(numbers, default=-1)),
        ):
            asked.setdefault(row["number"], {})[row["sae"]] = bool(row["done"])
        return asked

    def _forget_places(self, lane: str, number: int) -> None:
        self._db.run("DELETE FROM lane_recipients WHERE lane = ? AND number = ?", lane, number)

    # --- what becomes of the rest ---

    def burn(self, lane: str, generation: int, numbers: Collection[int]) -> int:
        """Burn keys that nobody has; wipe what is left of those that somebody has."""
        self._book.row(lane, generation)
        burned = self._rows.remove(Shelf(lane, Kind.READY, generation), numbers)
        for number in self._rows.remove(Shelf(lane, Kind.GIVEN, generation), numbers):
            self._forget_places(lane, number)
        self._book.count(lane, burned=len(burned))
        return len(burned)

    def burn_damaged(self, damage: DamagedRow) -> None:
        """Drop what does not open, and count what is missing as burned."""
        lane = damage.shelf.lane
        self._rows.drop_damaged(damage)
        self._db.run(
            "UPDATE lanes SET burned = made - delivered - ? WHERE lane = ?",
            *(self._rows.count(Shelf(lane, Kind.READY)), lane),
        )

    def stock(self, lane: str) -> LaneStock | None:
        """Return the lane's account; StoreError if it does not balance."""
        row = self._book.find(lane)
        if row is None:
            return None
        ready = Shelf(lane, Kind.READY)
        stock = LaneStock(
            ready=self._rows.count(ready),
            held=self._rows.count(Shelf(lane, Kind.HELD)),
            delivered=row["delivered"],
            burned=row["burned"],
            newest=self._rows.newest(ready),
        )
        if stock.made != row["made"]:
            raise StoreError(f"lane {lane}: {row['made']} keys were made, accounted: {stock}")
        return stock


def _pick(keys: Secret, numbers: Sequence[int], some: Collection[int]) -> Secret:
    """Copy the keys of some numbers."""
    picked = Secret(LANE_KEY_BYTES * len(some))
    wanted = set(some)
    to = 0
    for at, number in enumerate(numbers):
        if number in wanted:
            key = keys.reveal()[LANE_KEY_BYTES * at :][:LANE_KEY_BYTES]
            picked.reveal()[to : to + LANE_KEY_BYTES] = key
            to += LANE_KEY_BYTES
    return picked
