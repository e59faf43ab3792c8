"""Column degrees of the LDPC codes: hill climbing on the decoding threshold by EXIT analysis.

The binary symmetric channel is treated exactly at the columns (two-point channel + Gaussian
messages, Gauss-Hermite quadrature) and by the reciprocal-channel approximation at the rows.
Sources: ten Brink, Kramer, Ashikhmin 2004, doi:10.1109/TCOMM.2004.826370 (EXIT functions of
columns and rows); Chung 2000, PhD thesis MIT, section 7 (reciprocal channel).
"""

from collections.abc import Mapping

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


def opens(counts: Mapping[int, int], rows: int, q: float) -> bool:
    """Whether decoding runs through at QBER ``q`` for ``counts[degree]`` columns on ``rows``."""
    edges = sum(degree * n for degree, n in counts.items())
    low = edges // rows
    share_high = (edges - low * rows) * (low + 1) / edges
    from_rows = np.zeros_like(_GRID)
    for width, share in ((low, 1 - share_high), (low + 1, share_high)):
        if share > 0:
            from_rows += share * (1 - np.interp((width - 1) * _ROW_DUAL, _MEANS, _INFORMATION))
    means = mean_of(from_rows)
    llr = np.log((1 - q) / q)
    after = np.zeros_like(_GRID)
    for degree, n in counts.items():
        if n:
            mean = (degree - 1) * means
            out = (1 - q) * information(mean, llr) + q * information(mean, -llr)
            after += n * degree / edges * out
    return bool((after > _GRID)[_GRID < 0.9995].all())


def threshold(counts: Mapping[int, int], rows: int, low: float, high: float) -> float:
    """The largest QBER at which :func:`opens`, by bisection in ``low``..``high``."""
    for _ in range(11):
        q = (low + high) / 2
        low, high = (q, high) if opens(counts, rows, q) else (low, q)
    return low


def entropy(q: float) -> float:
    return float(-q * np.log2(q) - (1 - q) * np.log2(1 - q))


def capacity_qber(rate: float) -> float:
    """The QBER whose binary entropy is ``rate``."""
    low, high = 1e-6, 0.5
    for _ in range(60):
        q = (low + high) / 2
        low, high = (q, high) if entropy(q) < rate else (low, q)
    return low


def search(
    rows: int, columns: int, dice: np.random.Generator, *, steps: int = 500, most: int = 14
) -> tuple[dict[int, int], float]:
    """Return column counts by degree and their threshold.

    ``most`` bounds the degree; degree 2 stays below ``rows`` columns so that these columns can
    form a path (no cycle runs through degree 2 alone), and below a half of that for its floor.
    """
    limit = capacity_qber(rows / columns)
    degrees = [d for d in DEGREES if d <= min(most, rows - 1)]
    twos, tall = rows // 3, columns // 10
    counts = dict.fromkeys(degrees, 0)
    counts[2], counts[degrees[-1]] = twos, tall
    counts[3] = columns - twos - tall
    best = threshold(counts, rows, 0.3 * limit, limit)
    for _ in range(steps):
        trial = dict(counts)
        give, take = dice.choice(degrees, 2, replace=False)
        n = int(min(trial[int(give)], dice.integers(1, max(2, columns // 16))))
        trial[int(give)] -= n
        trial[int(take)] += n
        if n == 0 or trial[2] > (rows - 1) * 0.6:
            continue
        if not opens(trial, rows, best * 1.0002):
            continue
        counts, best = trial, threshold(trial, rows, best, limit)
    return counts, best
