"""Place circulants in a band: long codes whose decoding begins at one end and runs along the rows.

Spatial coupling (Kudekar, Richardson, Urbanke 2011, doi:10.1109/TIT.2010.2095072) in a mild form:
column j of n stands on rows of a band that begins at j M / n and is ``band`` rows high. The first
rows have fewer columns and are decoded first; what they find helps the next ones. At either end
the band is turned back at the border, so that the last rows are as wide as those of the middle and
the first ones only a little narrower: rows on top of M cost parities.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from qkdd.kernels.ldpc_graph import Graph

Column = dict[int, int]
"""Row -> shift of one column of circulants."""

GOLDEN = (5**0.5 - 1) / 2
"""Step from one extra row's place to the next one's: every number of them is spread evenly."""


class BandPlacer:
    """Grows a band of circulants of size ``z``, ``rows`` high, column by column.

    ``opening``: rows that the open end costs, as a share of the band. At 0.5 no row is turned back
    there, at 0 the first rows are as wide as the others.
    """

    def __init__(
        self, rows: int, band: int, opening: float, z: int, dice: np.random.Generator
    ) -> None:
        self.rows, self.band, self.z, self.dice = rows, band, z, dice
        self.first = round((0.5 - opening) * band)
        self.end = rows + self.first
        self.length = self.end - band / 2
        """Rows by which the band moves from the first column to the last."""
        self.columns: list[Column] = []
        self.taken: dict[tuple[int, int], np.ndarray] = {}
        """By two rows: which differences of shifts some column has (a second one: cycle of 4).
        Every difference stands there twice, ``z`` apart."""
        self.cycles = 0
        """Of length 4. Heavy columns cannot do without in so low a band, light ones can."""
        self.load: dict[int, np.ndarray] = {}
        """By degree, and 0 for all: circulants on each row over those that are due so far."""

    def _turned(self, rows: np.ndarray) -> np.ndarray:
        """Rows before the first and behind the last are turned back."""
        rows = np.where(rows < self.first, 2 * self.first - 1 - rows, rows)
        return np.where(rows >= self.end, 2 * self.end - 1 - rows, rows)

    def place(self, degree: int, at: float) -> None:
        """Add a column whose band begins at row ``at``, one circulant in each part of it."""
        due = self.load.setdefault(degree, np.zeros(self.end))
        every = self.load.setdefault(0, np.zeros(self.end))
        whole = np.arange(int(at), int(at) + self.band + 2)
        inside = np.minimum(whole + 1, at + self.band) - np.maximum(whole, at)
        share = np.maximum(inside, 0) * degree / self.band
        np.subtract.at(due, self._turned(whole), share)
        np.subtract.at(every, self._turned(whole), share)
        parts = at + np.linspace(0, self.band, degree + 1)
        rows: list[int] = []
        for low, high in zip(parts[:-1].astype(int), parts[1:].astype(int), strict=True):
            row = self._emptiest(low, max(high, low + 1), rows, due + every / 2)
            rows.append(row)
            due[row] += 1
            every[row] += 1
        self.columns.append(self._shifted(rows))

    def _emptiest(self, low: int, high: int, but: list[int], load: np.ndarray) -> int:
        for more in range(self.band):
            near = np.setdiff1d(self._turned(np.arange(low - more, high + more)), but)
            if near.size:
                return int(near[np.argmin(load[near] + 1e-3 * self.dice.random(near.size))])
        raise ValueError(f"a band of {self.band} rows is too low for {len(but) + 1} circulants")

    def _shifted(self, rows: Sequence[int]) -> Column:
        """Return shifts that close the fewest cycles of 4 with the columns before, else random."""
        column: Column = {}
        for row in self.dice.permutation(rows).tolist():
            self._add(column, row)
        return column

    def _add(self, column: Column, row: int) -> None:
        """Put a circulant on ``row``."""
        closed = np.zeros(self.z, np.int64)
        for other, there in column.items():
            if (row, other) in self.taken:
                closed += self.taken[row, other][self.z - there : 2 * self.z - there]
        shift = int(self.dice.choice(np.flatnonzero(closed == closed.min())))
        self.cycles += int(closed[shift])
        for other, there in column.items():
            self._take(row, other, shift - there)
            self._take(other, row, there - shift)
        column[row] = shift

    def _take(self, row: int, other: int, gap: int) -> None:
        mine = self.taken.setdefault((row, other), np.zeros(2 * self.z, bool))
        mine[gap % self.z] = mine[gap % self.z + self.z] = True

    def extend(self, width: int, number: int) -> None:
        """Add extra row ``number`` of ``width`` circulants, on columns near each other.

        They stand as near as those of a row in the band, turned back at the ends, and a column is
        chosen as often as it has circulants.
        """
        n = len(self.columns)
        reach = round(n * self.band / self.rows)
        at = round((0.5 + number * GOLDEN) % 1 * (n + reach)) - reach + np.arange(reach)
        near = np.unique(np.where(at < 0, -1 - at, np.where(at >= n, 2 * n - 1 - at, at)))
        degrees = np.array([len(self.columns[j]) for j in near.tolist()])
        order = np.argsort(-(self.dice.random(near.size) ** (1 / degrees)), kind="stable")
        for j in near[order[:width]].tolist():
            self._add(self.columns[j], self.end + number)


def interleaved(counts: Mapping[int, int]) -> list[int]:
    """Degrees of the columns in order, those of each degree spread evenly."""
    places = [
        ((i + 0.5) / n + 1e-6 * degree, degree) for degree, n in counts.items() for i in range(n)
    ]
    return [degree for _, degree in sorted(places)]


def build(counts: Mapping[int, int], placer: BandPlacer, *, more: int) -> list[Column]:
    """Build a code of the placer's rows, numbered from 0, and ``more`` extra rows behind them."""
    degrees = interleaved(counts)
    for j, degree in enumerate(degrees):
        placer.place(degree, j * placer.length / len(degrees))
    width = round(sum(degrees) / placer.rows)
    for number in range(more):
        placer.extend(width, number)
    first = placer.first
    return [{row - first: shift for row, shift in column.items()} for column in placer.columns]


def graph_of(columns: Sequence[Column], rows: int, z: int) -> Graph:
    """Return the first ``rows`` rows."""
    entries = np.array(
        sorted((r, j, s) for j, column in enumerate(columns) for r, s in column.items() if r < rows)
    )
    starts = np.searchsorted(entries[:, 0], np.arange(rows + 1)).astype(np.int32)
    column, shift = entries[:, 1].astype(np.int32), entries[:, 2].astype(np.int32)
    return Graph(z, len(columns), starts, column, shift)
