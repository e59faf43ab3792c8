"""The family of LDPC codes, as data: which parity checks a frame has, round after round.

Made by benchmarks/codes/make_family.py. Each code has a base (sent first) and extra rows of
circulants on top, revealed in the blind rounds: the parities of round r are those of fixed rows,
so nothing that either end saw chooses what is disclosed.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from qkdd.kernels.ldpc_graph import Graph

CODE_FAMILY = "qc-512x128-2:fe0d0f089c96d51a"
"""Name and digest of the matrices (of every array in data/codes.npz, in order of name)."""

Z = 128
N_COLUMNS = 512
FRAME_BITS = Z * N_COLUMNS
ROUND_STEPS = (1, 1, 1, 2, 2, 4, 6, 8)
"""Steps of rows that each blind round reveals, about 1.25 % of the base each: small ones for frames
that just missed, larger ones for an estimate that was wrong."""

ROUNDS = len(ROUND_STEPS)


@dataclass(frozen=True, eq=False)
class Code:
    """One member of the family.

    ``n_columns`` circulants of ``z`` bits side by side. ``threshold`` is the share of errors at
    which the base fails on one frame in two (measured).
    """

    z: int
    n_columns: int
    rows: int
    round_rows: tuple[int, ...]
    """Rows that each blind round reveals."""
    threshold: float
    row_start: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]
    shifts: npt.NDArray[np.int32]

    @property
    def n_bits(self) -> int:
        """Bits of a frame."""
        return self.z * self.n_columns

    def rows_after(self, round_no: int) -> int:
        """How many rows of circulants the peer has seen after ``round_no`` blind rounds."""
        return self.rows + sum(self.round_rows[:round_no])

    def check_bits(self, round_no: int) -> int:
        """How many parities round ``round_no`` sends (round 0: the base)."""
        if round_no == 0:
            return self.z * self.rows
        return self.z * self.round_rows[round_no - 1]


@lru_cache(maxsize=1)
def family() -> tuple[Code, ...]:
    """Load the codes, from few parities to many."""
    with (files("qkdd.reconcile") / "data" / "codes.npz").open("rb") as file, np.load(file) as data:
        table = zip(data["rows"], data["step_rows"], data["threshold_ppm"], strict=True)
        return tuple(
            _code(int(rows), int(step), int(ppm), data[f"gaps_{rows}"], data[f"shifts_{rows}"])
            for rows, step, ppm in table
        )


def _code(
    rows: int,
    step_rows: int,
    threshold_ppm: int,
    gaps: npt.NDArray[np.uint16],
    shifts: npt.NDArray[np.uint8],
) -> Code:
    """Unfold one code: circulants are stored as distances in the matrix, read row by row."""
    row, column = np.divmod(np.cumsum(gaps, dtype=np.int32), N_COLUMNS)
    return Code(
        z=Z,
        n_columns=N_COLUMNS,
        rows=rows,
        round_rows=tuple(steps * step_rows for steps in ROUND_STEPS),
        threshold=threshold_ppm * 1e-6,
        row_start=np.searchsorted(row, np.arange(row[-1] + 2)).astype(np.int32),
        columns=column.astype(np.int32),
        shifts=shifts.astype(np.int32),
    )


@lru_cache(maxsize=32)  # both ends of a relay, every round of a code, and the next code
def graph(code: Code, first_row: int, last_row: int) -> Graph:
    """Return rows ``first_row <= i < last_row`` of a code."""
    start, stop = code.row_start[first_row], code.row_start[last_row]
    return Graph(
        code.z,
        code.n_columns,
        (code.row_start[first_row : last_row + 1] - start).astype(np.int32),
        code.columns[start:stop],
        code.shifts[start:stop],
    )


def code_for(threshold: float) -> Code:
    """Return the cheapest code whose threshold is at least this QBER, or the strongest code."""
    codes = family()
    return next((code for code in codes if code.threshold >= threshold), codes[-1])


def code_with_rows(rows: float) -> Code:
    """Return the cheapest code of at least ``rows`` rows, or the strongest."""
    codes = family()
    return next((code for code in codes if code.rows >= rows), codes[-1])
