"""The long codes of the tight operating point: frames of 1,048,576 bits.

Made by benchmarks/codes/make_tight.py. The rows of a code stand in a band, and decoding runs along
it from the first to the last; extra rows follow. A frame may begin with any of them, so that a few
codes serve every error rate, and blind rounds go on in small steps.
"""

from bisect import bisect_left, bisect_right
from functools import lru_cache
from importlib.resources import files
from math import ceil

import numpy as np
import numpy.typing as npt

from qkdd.kernels.ldpc_graph import Graph, Window
from qkdd.reconcile.codes import Code

TIGHT_FAMILY = "band-4096x256-2:334e996073b5296b"
"""Name and digest of the matrices (of every array in data/tight.npz, in order of name)."""

Z = 256
N_COLUMNS = 4096
FRAME_BITS = Z * N_COLUMNS

REVEALED = (25, 50, 100, 150, 250, 450, 750, 1250)
"""Rows revealed by the end of each blind round, in ten thousandths of those it begins with."""


WINDOW_BEHIND = 0.1
WINDOW_SLACK = 200
"""Rows behind the front that the decoder goes over again, as a share of all, and unmet checks that
it leaves for later: without, one check that is stuck holds up all."""

WINDOW_ROWS = (400, 640, 850, 1240)
WINDOW_AHEAD = (1.0, 0.6, 0.5, 0.4)
"""Share of the rows that lie ahead of the front, by their number: few rows make a wide front."""


def window(graph: Graph) -> Window:
    """Return the part of a long frame's rows that the decoder goes over, extra ones in their place.

    Bob's own affair, as all of decoding.
    """
    widths = np.diff(graph.row_start)
    row = np.repeat(np.arange(graph.n_rows), widths)
    middle = np.bincount(row, graph.columns) / widths
    return Window(
        ahead=ceil(float(np.interp(graph.n_rows, WINDOW_ROWS, WINDOW_AHEAD)) * graph.n_rows),
        behind=int(WINDOW_BEHIND * graph.n_rows),
        slack=WINDOW_SLACK,
        order=np.argsort(middle, kind="stable").astype(np.int32),
    )


def code_for(threshold: float) -> Code:
    """Return the code that begins with just enough rows for this QBER, or with the most.

    In whole numbers: both ends must find the same, whatever their processors round.
    """
    _, starts, limits_ppm = _table()
    ppm = ceil(threshold * 1e6)
    after = min(max(bisect_left(limits_ppm, ppm), 1), len(starts) - 1)
    low, high = starts[after - 1], starts[after]
    begin, end = limits_ppm[after - 1], limits_ppm[after]
    wanted = low - (begin - ppm) * (high - low) // (end - begin)
    return code_from(min(max(wanted, starts[0]), starts[-1]))


@lru_cache(maxsize=4)
def code_from(first_rows: int) -> Code:
    """Return the code that begins with ``first_rows``: the highest of fewer, and extra rows."""
    rows, starts, limits_ppm = _table()
    member = rows[bisect_right(rows, first_rows) - 1]
    gaps, shifts = _matrix(member)
    row, column = np.divmod(np.cumsum(gaps, dtype=np.int32), N_COLUMNS)
    return Code(
        z=Z,
        n_columns=N_COLUMNS,
        rows=first_rows,
        round_rows=round_rows(first_rows),
        threshold=1e-6 * float(np.interp(first_rows, starts, limits_ppm)),
        row_start=np.searchsorted(row, np.arange(row[-1] + 2)).astype(np.int32),
        columns=column.astype(np.int32),
        shifts=shifts.astype(np.int32),
    )


def round_rows(first_rows: int) -> tuple[int, ...]:
    """Return the rows that each blind round reveals, at least one."""
    revealed = [max(n, -(-share * first_rows // 10_000)) for n, share in enumerate(REVEALED, 1)]
    return tuple(after - before for before, after in zip([0, *revealed], revealed, strict=False))


@lru_cache(maxsize=1)
def _table() -> tuple[list[int], list[int], list[int]]:
    """Fewest rows of each code; starts, and the QBER (ppm) at which one frame in two fails."""
    with (files("qkdd.reconcile") / "data" / "tight.npz").open("rb") as file, np.load(file) as data:
        return data["rows"].tolist(), data["start_rows"].tolist(), data["threshold_ppm"].tolist()


def _matrix(rows: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    with (files("qkdd.reconcile") / "data" / "tight.npz").open("rb") as file, np.load(file) as data:
        return data[f"gaps_{rows}"], data[f"shifts_{rows}"]
