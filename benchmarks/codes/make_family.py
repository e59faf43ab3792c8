"""Make the family of LDPC codes that both ends of a link use: ``python make_family.py``.

Deterministic: the same numpy and scipy and the same SEED write the same arrays. Prints one line per
code and the digest that ``qkdd/reconcile/codes.py`` must carry (a changed family is a changed
protocol). Takes about three minutes.
"""

import argparse
import hashlib
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from construct import Column, build
from degrees import entropy, search

from qkdd.kernels import ldpc
from qkdd.kernels.ldpc_graph import Graph
from qkdd.reconcile.likelihood import steps
from qkdd.reconcile.likelihood import tables as likelihood_tables

SEED = 20261123
Z = 128
COLUMNS = 512
ROUND_STEPS = (1, 1, 1, 2, 2, 4, 6, 8)
"""Steps of rows that each blind round reveals: small ones first, then patience ends."""

FRAMES = 21
"""Frames that measure the threshold of a code."""

TWOS = 1.5
"""Columns of degree 2 per row: more have a better threshold, and shorter cycles of their own."""

DATA = Path(__file__).parents[2] / "qkdd/reconcile/data/codes.npz"


def family_rows() -> list[int]:
    """Heights of the family: steps of one row, and of 2 % where a row is less."""
    rows = [17]
    while rows[-1] < 330:
        rows.append(round(max(rows[-1] + 1, rows[-1] * 1.02)))
    return rows


def step_rows(rows: int) -> int:
    """Rows in a step of a blind round: about 1.25 % more parity."""
    return max(1, round(0.0125 * rows))


def tables(columns: list[Column], rows: int) -> dict[str, np.ndarray]:
    """Return the circulants of the first rows: how far apart they stand, and their shifts."""
    all_places = [row * COLUMNS + at for at, column in enumerate(columns) for row in column]
    all_shifts = [shift for column in columns for shift in column.values()]
    wanted = np.array(all_places) < rows * COLUMNS
    places, shifts = np.array(all_places)[wanted], np.array(all_shifts, np.uint8)[wanted]
    order = np.argsort(places)
    return {
        "gaps": np.diff(places[order], prepend=0).astype(np.uint16),
        "shifts": shifts[order],
    }


def degrees_of(rows: int) -> tuple[dict[int, int], float]:
    """Return the best degrees: below 100 rows, steps are coarse and denser columns pay."""
    most = min(40 if rows < 100 else 30, rows * 3 // 5)
    means = (4.0, 4.5, 5.0, 5.5, 6.0)[: 5 if rows < 100 else 4]
    found = [search(rows, COLUMNS, mean=mean, most=most, twos=TWOS) for mean in means]
    return max(found, key=lambda result: result[1])


def measured_threshold(columns: list[Column], rows: int, guess: float) -> float:
    """Return the share of errors up to which half of the frames decode.

    Of each frame, a random order of its bits, it finds by bisection how many of the first bits may
    be wrong. ``guess`` is the threshold of an endless code.
    """
    code = tables(columns, rows)
    places = np.cumsum(code["gaps"], dtype=np.int32)
    row, column = np.divmod(places, COLUMNS)
    starts = np.searchsorted(row, np.arange(rows + 1)).astype(np.int32)
    graph = Graph(Z, COLUMNS, starts, column, code["shifts"].astype(np.int32))
    dice = np.random.default_rng([SEED, rows, 1])
    llr, table = np.full(graph.n_bits, steps(guess), np.int8), likelihood_tables()
    most = []
    for _ in range(FRAMES):
        order = dice.permutation(graph.n_bits)
        low, high = round(0.7 * guess * graph.n_bits), round(1.3 * guess * graph.n_bits)
        while high - low > max(1, 0.002 * low):
            middle = (low + high) // 2
            errors = np.zeros(graph.n_bits, np.uint8)
            errors[order[:middle]] = 1
            target = ldpc.syndrome(graph, errors)
            passes, _ = ldpc.decode(graph, llr, target, table.phi, table.inverse, table.near, 40)
            low, high = (middle, high) if passes >= 0 else (low, middle)
        most.append(low)
    return float(np.median(most)) / graph.n_bits


def make(rows: int) -> tuple[dict[str, np.ndarray], float, float]:
    """Choose the degrees of one code, and place its circulants; return its two thresholds."""
    counts, endless = degrees_of(rows)
    more = sum(ROUND_STEPS) * step_rows(rows)
    columns = build(counts, rows, Z, np.random.default_rng([SEED, rows]), more=more)
    threshold = measured_threshold(columns, rows, endless)
    f, f_endless = (rows / COLUMNS / entropy(q) for q in (threshold, endless))
    print(
        f"{rows:4d} rows  threshold {threshold:.5f}  f {f:.4f}  endless {f_endless:.4f}  {counts}",
        flush=True,
    )
    return tables(columns, rows + more), threshold, endless


def smooth(rows: list[int], measured: list[float], endless: list[float]) -> np.ndarray:
    """Return measured thresholds without their dice: a cubic of their distance to the endless."""
    x = np.log(rows)
    distance = np.polynomial.Polynomial.fit(x, np.log(np.array(measured) / endless), 3)
    return np.maximum.accumulate(np.array(endless) * np.exp(distance(x)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    arrays: dict[str, np.ndarray] = {}
    rows_list = family_rows()
    with ProcessPoolExecutor(options.processes) as pool:
        made = list(pool.map(make, rows_list))
    thresholds = smooth(rows_list, [code[1] for code in made], [code[2] for code in made])
    for rows, (code, _, _) in zip(rows_list, made, strict=True):
        arrays |= {f"{name}_{rows}": array for name, array in code.items()}
    arrays["rows"] = np.array(rows_list, np.uint16)
    arrays["step_rows"] = np.array([step_rows(rows) for rows in rows_list], np.uint8)
    arrays["threshold_ppm"] = np.array([int(1e6 * t) for t in thresholds], np.uint32)
    options.out.parent.mkdir(exist_ok=True)
    np.savez_compressed(options.out, **arrays)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    print(f"{options.out} {options.out.stat().st_size} bytes, digest {digest.hexdigest()[:16]}")


if __name__ == "__main__":
    main()
