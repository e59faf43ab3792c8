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

from qkdd.kernels.ldpc import Graph

CODE_FAMILY = "qc-256x256-1:d34a397f13e67bec"
"""Name and digest of the matrices (of every array in data/codes.npz, in order of name)."""

Z = 256
N_COLUMNS = 256
FRAME_BITS = Z * N_COLUMNS
ROUNDS = 6
"""Blind rounds for which every code has rows."""


@dataclass(frozen=True, eq=False)
class Code:
    """One member of the family.

    ``threshold`` is the QBER up to which belief propagation succeeds on an endless frame (EXIT
    analysis); real frames of 65,536 bits fail one time in two near it.
    """

    rows: int
    step_rows: int
    threshold: float
    row_start: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]
    shifts: npt.NDArray[np.int32]

    def rows_after(self, round_no: int) -> int:
        """How many rows of circulants the peer has seen after ``round_no`` blind rounds."""
        return self.rows + round_no * self.step_rows

    def check_bits(self, round_no: int) -> int:
        """How many parities round ``round_no`` sends (round 0: the base)."""
        return Z * (self.rows if round_no == 0 else self.step_rows)


@lru_cache(maxsize=1)
def family() -> tuple[Code, ...]:
    """Load the codes, from few parities to many."""
    with (files("qkdd.reconcile") / "data" / "codes.npz").open("rb") as file, np.load(file) as data:
        return tuple(
            Code(
                rows=int(rows),
                step_rows=int(step),
                threshold=int(ppm) * 1e-6,
                row_start=np.concatenate(
                    [[0], np.cumsum(data[f"widths_{rows}"], dtype=np.int32)]
                ).astype(np.int32),
                columns=data[f"columns_{rows}"].astype(np.int32),
                shifts=data[f"shifts_{rows}"].astype(np.int32),
            )
            for rows, step, ppm in zip(
                data["rows"], data["step_rows"], data["threshold_ppm"], strict=True
            )
        )


@lru_cache(maxsize=16)
def graph(code: Code, first_row: int, last_row: int) -> Graph:
    """Return rows ``first_row <= i < last_row`` of a code."""
    start, stop = code.row_start[first_row], code.row_start[last_row]
    return Graph(
        Z,
        N_COLUMNS,
        (code.row_start[first_row : last_row + 1] - start).astype(np.int32),
        code.columns[start:stop],
        code.shifts[start:stop],
    )


def code_for(qber: float, margin: float) -> Code:
    """Return the cheapest code whose threshold is at least ``qber * (1 + margin)``.

    Beyond the family, the strongest code serves.
    """
    codes = family()
    return next((code for code in codes if code.threshold >= qber * (1 + margin)), codes[-1])


def code_with_rows(rows: float) -> Code:
    """Return the cheapest code of at least ``rows`` rows, or the strongest."""
    codes = family()
    return next((code for code in codes if code.rows >= rows), codes[-1])
