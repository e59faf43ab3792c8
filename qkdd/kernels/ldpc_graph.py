"""A quasi-cyclic parity-check matrix, and the part of it that a decoder works on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]

GROUP = 32
"""Values that the C kernel keeps twice behind each column."""

LANES = 64
"""Circulants must be a multiple of this many bits: one AVX-512 register of bytes."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A quasi-cyclic parity-check matrix as a list of circulants, row after row.

    Parameters
    ----------
    z : int
        Bits of a circulant, a multiple of 64.
    n_columns : int
        Circulants side by side: the code has ``n_columns * z`` bits.
    row_start : (n_rows + 1,) int32
        Where each row's circulants begin in the lists below.
    columns, shifts : (n_edges,) int32
        Check k of the row holds bit ``(k + shift) % z`` of the column; a row has a column once.
    """

    z: int
    n_columns: int
    row_start: Int32
    columns: Int32
    shifts: Int32

    def __post_init__(self) -> None:
        z, edges = self.z, self.columns.size
        if z <= 0 or z % LANES:
            raise ValueError(f"circulant size {z} is not a multiple of {LANES}")
        if self.shifts.size != edges or self.row_start[0] != 0 or self.row_start[-1] != edges:
            raise ValueError("row_start, columns and shifts do not fit together")
        if edges and not (self.shifts.min() >= 0 and self.shifts.max() < z):
            raise ValueError(f"a shift is outside 0..{z - 1}")
        if edges and not (self.columns.min() >= 0 and self.columns.max() < self.n_columns):
            raise ValueError(f"a column is outside 0..{self.n_columns - 1}")
        widths = np.diff(self.row_start)
        if widths.size and widths.min() < 1:
            raise ValueError(f"a row has {widths.min()} circulants")
        rows = np.repeat(np.arange(widths.size), widths)
        if np.unique(rows * self.n_columns + self.columns).size != edges:
            raise ValueError("a row lists a column twice")

    @property
    def n_rows(self) -> int:
        return self.row_start.size - 1

    @property
    def n_bits(self) -> int:
        return self.n_columns * self.z

    @property
    def n_checks(self) -> int:
        return self.n_rows * self.z

    @property
    def workspace_bytes(self) -> int:
        widest = int(np.diff(self.row_start).max())
        values = 2 * (self.z + GROUP) * self.n_columns + self.z * (2 * widest + 6)
        return values + 4 * (self.n_messages // GROUP + self.n_columns)

    @property
    def n_messages(self) -> int:
        """One for each bit of each check."""
        return self.columns.size * self.z


@dataclass(frozen=True, eq=False)
class Window:
    """Part of the rows, which moves along a band.

    Rows take their turns in ``order`` (int32, each once). A pass takes those from ``behind`` turns
    before the front to ``ahead`` after it, every second pass half as far ahead; with ``ahead`` of
    all rows every pass takes all. The front is where a pass had read more than ``slack`` checks
    that were not met. Where it had not, and has come to the last row, it is the first row that is
    not met now, exactly.
    """

    ahead: int
    behind: int
    slack: int
    order: npt.NDArray[np.int32]
