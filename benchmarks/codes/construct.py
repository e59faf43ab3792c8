"""Place circulants: from column degrees to a quasi-cyclic matrix without cycles of length 4.

Columns are placed one by one on the emptiest rows. Those of degree 2 are edges between checks, each
put where it closes the longest cycle of such edges, for their cycles are code words (progressive
edge growth: Hu, Eleftheriou, Arnold 2005, doi:10.1109/TIT.2004.839541). Of many random sets of
shifts of a column of degree 3 the one that closes the fewest cycles of length 6 through light
columns is kept (Fossorier 2004, doi:10.1109/TIT.2004.831841, for circulants).
"""

import numpy as np

Column = dict[int, int]
"""Row -> shift of one column of circulants."""

Edge = tuple[int, int]
"""Column of degree 2 seen from a row: the other row, and how much higher its check is."""


PATIENCE = 20
"""Dead ends after which the checks of a column may be one step less apart."""

APART = {3: 9, 4: 6, 5: 4, 6: 4}
"""Steps through columns of degree 2 between the checks of a column of such a degree: with the
columns on the way it makes a set of bits that few checks see, where decoding gets stuck."""

FAR = 1 << 20
"""Steps to a check that is not reached."""

DEAD_ENDS = 3000
"""Random sets of shifts that are tried for one column before it is given up."""


class Placer:
    """Grows a matrix of circulants of size ``z`` on ``rows`` rows, column by column."""

    def __init__(self, rows: int, z: int, dice: np.random.Generator) -> None:
        self.rows, self.z, self.dice = rows, z, dice
        self.columns: list[Column] = []
        self.load = np.zeros(rows, int)
        self.taken = np.zeros((rows, rows, z), bool)
        """Differences of shifts that some column already has between two rows (cycle of 4)."""
        self.light = np.zeros((rows, rows, z), bool)
        """The same, of columns of degree 2 and 3 only (two steps of a cycle of 6)."""
        self.steps: np.ndarray | None = None
        """Steps through columns of degree 2 from check 0 of a row to each check of another."""
        self.edges: list[list[Edge]] = [[] for _ in range(rows)]
        """Columns of degree 2 on each row."""

    def pick_order(self) -> np.ndarray:
        """Return the rows, the emptiest first, equal ones at random."""
        return np.lexsort((self.dice.random(self.rows), self.load))

    def pick_rows(self, degree: int) -> list[int]:
        return sorted(int(row) for row in self.pick_order()[:degree])

    def _shifts(self, rows: list[int], apart: int) -> Column | None:
        """Return random shifts that close no cycle of 4, or None after a dead end.

        No two of the checks are less than ``apart`` steps through columns of degree 2 apart.
        """
        column: Column = {}
        for row in self.dice.permutation(rows):
            free = np.ones(self.z, bool)
            for other, shift in column.items():
                # (s - shift) mod z must be new between the two rows
                free &= ~np.roll(self.taken[row, other], shift)
                if apart:
                    assert self.steps is not None
                    free &= np.roll(self.steps[row, other] >= apart, shift)
            choices = np.flatnonzero(free)
            if not choices.size:
                return None
            column[int(row)] = int(self.dice.choice(choices))
        return column

    def _short_cycles(self, column: Column) -> int:
        """Count the cycles of length 6 that ``column`` would close through two light columns."""
        found = 0
        pairs = [(a, b) for a in column for b in column if a < b]
        for a, b in pairs:
            gap = (column[a] - column[b]) % self.z
            # a -> c by one light column, c -> b by another: d1 + d2 == gap
            back = np.roll(self.light[:, b, ::-1], gap + 1, axis=1)
            found += int((self.light[a] & back).sum())
        return found

    def _distances(self, start: int, farthest: int, without: Edge | None = None) -> np.ndarray:
        """Steps through columns of degree 2 from check 0 of row ``start`` to each check.

        Checks more than ``farthest`` steps away count as FAR. ``without`` is not taken from there.
        """
        found = np.full((self.rows, self.z), FAR)
        found[start, 0] = 0
        front = [(start, 0)]
        for distance in range(1, farthest + 1):
            reached = []
            for row, check in front:
                for edge in self.edges[row]:
                    other, there = edge[0], (check + edge[1]) % self.z
                    if found[other, there] == FAR and not (distance == 1 and edge == without):
                        found[other, there] = distance
                        reached.append((other, there))
            front = reached
        return found

    def place_edge(self) -> None:
        """Add a column of degree 2 from an emptiest row to a far check of another emptier row.

        Its own other checks count too: a path twice through it may be short.
        """
        start, *others = (int(row) for row in self.pick_order())
        distances = self._distances(start, 16)
        known = {row for row, _ in self.edges[start]}
        others = [row for row in others if row not in known][: max(2, self.rows // 3 - 1)]
        farthest = {row: int(distances[row].max()) for row in others}
        best: tuple[int, int, int] | None = None
        for row in sorted(others, key=lambda row: (-farthest[row], self.load[row]))[:6]:
            gaps = np.flatnonzero(distances[row] == farthest[row])
            gap = int(self.dice.choice(gaps))
            self._join(start, row, gap)
            loop = 1 + int(self._distances(start, 12, without=(row, gap))[row, gap])
            self.edges[start].pop()
            self.edges[row].pop()
            if best is None or loop > best[0]:
                best = (loop, row, gap)
            if loop > 12:
                break
        assert best is not None
        _, row, gap = best
        self._join(start, row, gap)
        shift = int(self.dice.integers(self.z))
        self._enter({start: shift, row: (shift - gap) % self.z})

    def _join(self, start: int, row: int, gap: int) -> None:
        self.edges[start].append((row, gap))
        self.edges[row].append((start, -gap % self.z))

    def measure_edges(self) -> None:
        """Find the steps between all checks, once all columns of degree 2 are placed."""
        steps = [self._distances(row, max(APART.values())) for row in range(self.rows)]
        self.steps = np.minimum(np.array(steps), 100).astype(np.int8)

    def place(self, rows: list[int], *, tries: int, apart: int) -> None:
        """Add a column on ``rows``; after dead ends try again, with checks less far apart."""
        best: tuple[int, Column] | None = None
        for trial in range(DEAD_ENDS):
            if best is not None and trial >= tries:
                break
            column = self._shifts(rows, max(0, apart - trial // PATIENCE))
            if column is None:
                continue
            cycles = self._short_cycles(column) if len(rows) <= 3 else 0  # heavy ones forgive
            if best is None or cycles < best[0]:
                best = (cycles, column)
            if cycles == 0:
                break
        if best is None:
            raise ValueError(f"no room for a column of degree {len(rows)} on {self.rows} rows")
        self._enter(best[1])

    def _enter(self, column: Column) -> None:
        for a, shift_a in column.items():
            self.load[a] += 1
            for b, shift_b in column.items():
                if a != b:
                    self.taken[a, b, (shift_a - shift_b) % self.z] = True
                    if len(column) <= 3:
                        self.light[a, b, (shift_a - shift_b) % self.z] = True
        self.columns.append(column)

    def extend(self, width: int) -> None:
        """Add one row of ``width`` circulants, on the columns lightest so far (at random)."""
        self.rows += 1
        self.edges.append([])
        self.load = np.append(self.load, 0)
        for name in ("taken", "light"):
            old = getattr(self, name)
            new = np.zeros((self.rows, self.rows, self.z), bool)
            new[:-1, :-1] = old
            setattr(self, name, new)
        row, placed = self.rows - 1, 0
        for index in self.dice.permutation(len(self.columns)):
            if placed == width:
                break
            column = self.columns[index]
            free = np.ones(self.z, bool)
            for other, shift in column.items():
                free &= ~np.roll(self.taken[row, other], shift)
            choices = np.flatnonzero(free)
            if not choices.size:
                continue
            shift = int(self.dice.choice(choices))
            for other, there in column.items():
                self.taken[row, other, (shift - there) % self.z] = True
                self.taken[other, row, (there - shift) % self.z] = True
            column[row] = shift
            self.load[row] += 1
            placed += 1
        if placed < width:
            raise ValueError(f"row {row} holds only {placed} of {width} circulants")


def build(
    counts: dict[int, int], rows: int, z: int, dice: np.random.Generator, *, more: int
) -> list[Column]:
    """Build a matrix of ``sum(counts)`` columns on ``rows`` rows, then ``more`` rows on top.

    The rows on top are as wide as the others and serve the blind rounds.
    """
    placer = Placer(rows, z, dice)
    for _ in range(counts.get(2, 0)):
        placer.place_edge()
    placer.measure_edges()
    for degree in sorted(d for d in counts if d > 2):
        for _ in range(counts[degree]):
            tries, apart = 60 if degree == 3 else 12, APART.get(degree, 0)
            placer.place(placer.pick_rows(degree), tries=tries, apart=apart)
    width = round(float(placer.load.mean()))
    for _ in range(more):
        placer.extend(width)
    shuffled = [placer.columns[i] for i in dice.permutation(len(placer.columns))]
    return shuffled
