"""Place circulants: from column degrees to a quasi-cyclic matrix without cycles of length 4.

Columns are placed one by one on the emptiest rows; of many random sets of shifts the one that
closes the fewest cycles of length 6 through light columns is kept (after Hu, Eleftheriou, Arnold
2005, doi:10.1109/TIT.2004.839541, and Fossorier 2004, doi:10.1109/TIT.2004.831841, for circulants).
"""

import numpy as np

Column = dict[int, int]
"""Row -> shift of one column of circulants."""


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

    def pick_rows(self, degree: int) -> list[int]:
        order = np.lexsort((self.dice.random(self.rows), self.load))
        return sorted(int(row) for row in order[:degree])

    def _shifts(self, rows: list[int]) -> Column | None:
        """Return random shifts that close no cycle of 4, or None after a dead end."""
        column: Column = {}
        for row in self.dice.permutation(rows):
            free = np.ones(self.z, bool)
            for other, shift in column.items():
                # (s - shift) mod z must be new between the two rows
                free &= ~np.roll(self.taken[row, other], shift)
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

    def place(self, rows: list[int], *, tries: int) -> None:
        """Add a column on ``rows``."""
        best: tuple[int, Column] | None = None
        for _ in range(tries):
            column = self._shifts(rows)
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

    The first columns of degree 2 form a path over the rows, so no cycle runs through them alone;
    further ones close cycles, which lifting makes long. The rows on top are as wide as the others
    and serve the blind rounds.
    """
    placer = Placer(rows, z, dice)
    order = dice.permutation(rows)
    for i in range(counts.get(2, 0)):
        pair = order[i : i + 2] if i < rows - 1 else placer.pick_rows(2)
        placer.place(sorted(int(row) for row in pair), tries=60)
    for degree in sorted(d for d in counts if d > 2):
        for _ in range(counts[degree]):
            placer.place(placer.pick_rows(degree), tries=60 if degree == 3 else 12)
    width = round(float(placer.load.mean()))
    for _ in range(more):
        placer.extend(width)
    shuffled = [placer.columns[i] for i in dice.permutation(len(placer.columns))]
    return shuffled
