"""Column degrees of the LDPC codes: hill climbing on the decoding threshold by EXIT analysis.

The binary symmetric channel is treated exactly at the columns (two-point channel + Gaussian
messages, Gauss-Hermite quadrature) and by the reciprocal-channel approximation at the rows.
Sources: ten Brink, Kramer, Ashikhmin 2004, doi:10.1109/TCOMM.2004.826370 (EXIT functions of
columns and rows); Chung 2000, PhD thesis MIT, section 7 (reciprocal channel).
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DEGREES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32)
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


def opens(counts: Mapping[int, int], rows: int, step: int) -> bool:
    """Whether decoding runs through at QBER ``_STEP ** -step``.

    ``counts[degree]`` columns stand on ``rows`` rows of nearly equal width.
    """
    edges = sum(degree * n for degree, n in counts.items())
    low = edges // rows
    share_high = (edges - low * rows) * (low + 1) / edges
    from_rows = np.zeros_like(_GRID)
    for width, share in ((low, 1 - share_high), (low + 1, share_high)):
        if share > 0:
            from_rows += share * (1 - np.interp((width - 1) * _ROW_DUAL, _MEANS, _INFORMATION))
    means = mean_of(from_rows)
    channel = _channel(step)
    after = np.zeros_like(_GRID)
    for degree, n in counts.items():
        if n:
            after += n * degree / edges * np.interp((degree - 1) * means, _COARSE, channel)
    return bool((after > _GRID)[_GRID < 0.9995].all())


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


def search(
    rows: int,
    columns: int,
    dice: np.random.Generator,
    *,
    steps: int = 500,
    most: int = 14,
    twos: float = 0.6,
    start: Mapping[int, int] | None = None,
) -> tuple[dict[int, int], float]:
    """Return column counts by degree and their threshold QBER.

    ``most`` bounds the degree, and ``twos`` the columns of degree 2 per row: up to one, they form
    a path and no cycle runs through them alone; beyond, cycles exist and are long after lifting.
    """
    limit = capacity_step(rows / columns)
    degrees = [d for d in DEGREES if d <= min(most, rows - 1)]
    counts = dict.fromkeys(degrees, 0)
    for degree, n in (start or {2: rows // 3, 3: columns, most: columns // 10}).items():
        counts[max(d for d in degrees if d <= degree)] += n
    counts[2] = min(counts[2], int((rows - 1) * twos))
    counts[3] += columns - sum(counts.values())
    best = threshold(counts, rows, limit, limit + 3000)
    for _ in range(steps):
        trial = dict(counts)
        for _ in range(int(dice.integers(1, 3))):
            give, take = (int(d) for d in dice.choice(degrees, 2, replace=False))
            n = int(min(trial[give], dice.integers(1, max(2, columns // 16))))
            trial[give] -= n
            trial[take] += n
        if trial[2] > (rows - 1) * twos or not opens(trial, rows, best):
            continue
        counts, best = trial, threshold(trial, rows, limit, best)
    return counts, float(_STEP**-best)
