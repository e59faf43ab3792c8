"""Column degrees of the LDPC codes: the best threshold by EXIT analysis, a linear programme.

The binary symmetric channel is treated exactly at the columns (two-point channel + Gaussian
messages, Gauss-Hermite quadrature) and by the reciprocal-channel approximation at the rows.
Sources: ten Brink, Kramer, Ashikhmin 2004, doi:10.1109/TCOMM.2004.826370 (EXIT functions of
columns and rows); Chung 2000, PhD thesis MIT, section 7 (reciprocal channel). For given rows the
curve of the columns is linear in their numbers (Richardson, Shokrollahi, Urbanke 2001,
doi:10.1109/18.910578, section IV). Needs scipy, which nothing else of the project does.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

Floats = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def information(mean: Floats, offset: float = 0.0) -> Floats:
    """Mutual information of a bit and a log-likelihood N(mean, 2 mean) + ``offset`` (nats)."""
    x = mean[..., None] + np.sqrt(2 * mean)[..., None] * _NODES + offset
    return 1.0 - (np.logaddexp(0.0, -x) @ _WEIGHTS) / np.log(2)


_MEANS = np.concatenate([[0.0], np.geomspace(1e-5, 200.0, 3000)])
_INFORMATION = information(_MEANS)


def mean_of(info: Floats) -> Floats:
    """Invert :func:`information` at offset 0."""
    return np.interp(info, _INFORMATION, _MEANS)


_GRID = 1.0 - np.geomspace(1.0, 1e-4, 160)
_ROW_DUAL = mean_of(1.0 - _GRID)
_COARSE = np.concatenate([[0.0], np.geomspace(1e-4, 60.0, 500)])
_STEP = 1.0005
"""Thresholds are found on a grid of QBERs this factor apart."""


@lru_cache(maxsize=4096)
def _channel(step: int) -> Floats:
    """Information of a column's message over ``_COARSE`` at QBER ``_STEP ** -step``."""
    q = _STEP**-step
    llr = np.log((1 - q) / q)
    return (1 - q) * information(_COARSE, llr) + q * information(_COARSE, -llr)


def _curves(
    degrees: npt.NDArray[np.int64], rows: int, edges: int, step: int
) -> npt.NDArray[np.float64]:
    """What one column of each degree adds to the information after a pass, over ``_GRID``."""
    low = edges // rows
    share_high = (edges - low * rows) * (low + 1) / edges
    from_rows = np.zeros_like(_GRID)
    for width, share in ((low, 1 - share_high), (low + 1, share_high)):
        if share > 0:
            from_rows += share * (1 - np.interp((width - 1) * _ROW_DUAL, _MEANS, _INFORMATION))
    means, channel = mean_of(from_rows), _channel(step)
    parts = [d / edges * np.interp((d - 1) * means, _COARSE, channel) for d in degrees.tolist()]
    return np.array(parts).T[_GRID < 0.9995]


def opens(counts: Mapping[int, int], rows: int, step: int) -> bool:
    """Whether decoding runs through at QBER ``_STEP ** -step``.

    ``counts[degree]`` columns stand on ``rows`` rows of nearly equal width.
    """
    degrees, n = np.array(list(counts)), np.array(list(counts.values()))
    after = _curves(degrees, rows, int(degrees @ n), step) @ n
    return bool((after > _GRID[_GRID < 0.9995]).all())


def threshold(counts: Mapping[int, int], rows: int, low: int, high: int) -> int:
    """The first step of QBER at which :func:`opens`, by bisection in ``low < step <= high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if opens(counts, rows, middle) else (middle, high)
    return high


def entropy(q: float) -> float:
    return float(-q * np.log2(q) - (1 - q) * np.log2(1 - q))


def capacity_step(rate: float) -> int:
    """The step of QBER whose binary entropy first falls below ``rate``."""
    low, high = round(np.log(2) / np.log(_STEP)) + 1, 40_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if entropy(_STEP**-middle) < rate else (middle, high)
    return high


def _widest(
    degrees: npt.NDArray[np.int64], rows: int, columns: int, edges: int, step: int, twos: float
) -> Floats | None:
    """Numbers of columns that leave the tunnel widest, or None if it is closed."""
    before = _GRID[_GRID < 0.9995]
    curves = _curves(degrees, rows, edges, step)
    result = linprog(
        np.append(np.zeros(degrees.size), -1.0),
        A_ub=np.column_stack([-curves, 1 - before]),  # the gap is a share of what is missing
        b_ub=-before,
        A_eq=np.array([np.append(np.ones(degrees.size), 0), np.append(degrees, 0)]),
        b_eq=[columns, edges],
        bounds=[(0, twos * rows), *[(0, None)] * (degrees.size - 1), (None, None)],
    )
    return result.x[:-1] if result.status == 0 and result.x[-1] > 0 else None


def _whole(numbers: Floats, columns: int) -> npt.NDArray[np.int64]:
    """Round to whole columns, the largest remainders up."""
    whole = np.floor(numbers + 1e-9).astype(int)
    up = np.argsort(whole - numbers, kind="stable")[: columns - whole.sum()]
    whole[up] += 1
    return whole


def search(
    rows: int, columns: int, *, mean: float, most: int, twos: float
) -> tuple[dict[int, int], float]:
    """Return column counts by degree and their threshold QBER.

    ``mean`` degree: more circulants decode better and slower. ``most`` bounds the degree, and
    ``twos`` the columns of degree 2 per row: up to one, they can form a path and no cycle runs
    through them alone; beyond, cycles exist, and construct.py makes them long.
    """
    limit = capacity_step(rows / columns)
    degrees, edges = np.arange(2, most + 1), round(mean * columns)
    low, high, best = limit, limit + 3000, None
    while high - low > 1:
        middle = (low + high) // 2
        found = _widest(degrees, rows, columns, edges, middle, twos)
        if found is None:
            low = middle
        else:
            high, best = middle, found
    if best is None:
        return {}, 0.0
    pairs = zip(degrees.tolist(), _whole(best, columns).tolist(), strict=True)
    counts = {degree: n for degree, n in pairs if n}
    return counts, float(_STEP ** -threshold(counts, rows, limit, limit + 3000))
