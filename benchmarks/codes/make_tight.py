"""Make the long codes of the tight operating point: ``python benchmarks/codes/make_tight.py``.

Deterministic, as ``make_family.py``; prints one line per code and the digest that
``qkdd/reconcile/tight.py`` must carry. A quarter of an hour on one core. ``--rows`` measures one
code instead, of another shape if that is given, and writes nothing.

Columns of degree 2 make an uncoupled code better and a coupled one worse: there are none. Of an
endless uncoupled code these degrees are the best (``degrees.py``), with its threshold far below.
"""

import argparse
import hashlib
import sys
from dataclasses import dataclass, replace
from math import log
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from band import BandPlacer, Column, build, graph_of
from degrees import entropy, search

from qkdd.kernels import ldpc
from qkdd.kernels.ldpc_graph import Graph
from qkdd.reconcile import tight
from qkdd.reconcile.decoding import LONG_PATIENCE
from qkdd.reconcile.likelihood import steps
from qkdd.reconcile.likelihood import tables as likelihood_tables

SEED = 20261128
Z = 256
COLUMNS = 4096
SPACING = 1.09
"""From the rows of one code to those of the next: in between stand more extra rows."""

BASE = 1.06
"""Rows that a code begins with over those in its band: some extra rows make it better."""

MORE = 0.24
"""Extra rows as a share: up to the next code, and an eighth of those for the blind rounds."""

LOWEST, HIGHEST = 215, 2200
"""Rows in the bands of the family: QBER 0.5 % to 11.5 %."""

MIDDLE = 1.045
"""Half way to the next code, where a frame begins with so many more extra rows: f is some per cent
lower there than at either end, so that the threshold is measured there, too."""

FRAMES = 3
"""Frames that measure the threshold of a code."""

PASSES = 200

DATA = Path(__file__).parents[2] / "qkdd/reconcile/data/tight.npz"


def family_rows() -> list[int]:
    """Rows in the bands of the codes."""
    rows = [LOWEST]
    while rows[-1] < HIGHEST:
        rows.append(round(rows[-1] * SPACING))
    return rows


def extra_rows(rows: int) -> int:
    return round(MORE * rows)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a code is made to: see band.py."""

    rows: int
    mean: float
    twos: float
    band: int
    opening: float


def shape_of(rows: int) -> Shape:
    """The best that was found at QBER 1, 2 and 5 % (360, 640 and 1240 rows), and in between."""

    def between(*values: float) -> float:
        return float(np.interp(log(rows), np.log([360, 640, 1240, 2230]), values))

    band = round(min(between(66, 77, 100, 150), 0.25 * rows))
    return Shape(rows, between(7, 7, 6.5, 6), 0.0, band, between(0.25, 0.13, 0.18, 0.18))


def choose(shape: Shape) -> dict[int, int]:
    """Return the numbers of columns by degree."""
    most = min(60, shape.band * 4 // 5)
    counts, _ = search(shape.rows, COLUMNS, mean=shape.mean, most=most, twos=shape.twos)
    return counts


def measure(graph: Graph, guess: float, seed: int) -> float:
    """Return the share of errors up to which half of the frames decode (see make_family.py)."""
    dice, table = np.random.default_rng([SEED, seed, 1]), likelihood_tables()
    llr, most = np.full(graph.n_bits, steps(guess), np.int8), []
    for _ in range(FRAMES):
        order = np.argsort(dice.random(graph.n_bits))
        low, high = round(0.95 * guess * graph.n_bits), round(1.05 * guess * graph.n_bits)
        while high - low > 0.002 * low:
            middle = (low + high) // 2
            errors = np.zeros(graph.n_bits, np.uint8)
            errors[order[:middle]] = 1
            target = ldpc.syndrome(graph, errors)
            passes, _ = ldpc.decode(
                graph,
                llr,
                target,
                table.phi,
                table.inverse,
                table.near,
                PASSES,
                patience=LONG_PATIENCE,
                window=tight.window(graph),
            )
            low, high = (middle, high) if passes >= 0 else (low, middle)
        most.append(low)
    return float(np.median(most)) / graph.n_bits


def qber_of(rate: float) -> float:
    """The QBER whose binary entropy is ``rate``."""
    low, high = 1e-4, 0.5
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if entropy(middle) < rate else (low, middle)
    return low


def guessed(rows: int) -> float:
    """About the threshold of that many rows."""
    f = np.interp(log(rows), np.log([228, 350, 600, 1000]), [1.175, 1.12, 1.065, 1.05])
    return qber_of(rows / COLUMNS / float(f))


def thresholds_of(columns: list[Column], rows: int) -> tuple[float, float]:
    """Thresholds of a code with the rows that it begins with, and half way to the next code."""
    starts = (rows, round(MIDDLE * rows))
    low, high = (measure(graph_of(columns, n, Z), guessed(n), n) for n in starts)
    return low, high


def make(shape: Shape) -> tuple[list[Column], tuple[float, float]]:
    """Return a code with all its rows, and its thresholds."""
    counts, base = choose(shape), shape.rows
    rows = round(BASE * base)
    placer = BandPlacer(base, shape.band, shape.opening, Z, np.random.default_rng([SEED, base]))
    columns = build(counts, placer, more=rows - base + extra_rows(rows))
    thresholds = thresholds_of(columns, rows)
    f = rows / COLUMNS / entropy(thresholds[0])
    middle = round(MIDDLE * rows) / COLUMNS / entropy(thresholds[1])
    print(
        f"{rows:5d} rows  mean {shape.mean:.2f}  twos {shape.twos:.2f}  band {shape.band:3d}  "
        f"opening {shape.opening:.2f}  {placer.cycles} cycles of 4  threshold {thresholds[0]:.5f}  "
        f"f {f:.4f}  half way {middle:.4f}  {counts}",
        flush=True,
    )
    return columns, thresholds


def tables(columns: list[Column]) -> dict[str, np.ndarray]:
    """Return the circulants in order: how far apart they stand, and their shifts."""
    places = np.array([row * COLUMNS + j for j, column in enumerate(columns) for row in column])
    shifts = np.array([s for column in columns for s in column.values()], np.uint8)
    order = np.argsort(places)
    gaps = np.diff(places[order], prepend=0).astype(np.uint16)
    return {"gaps": gaps, "shifts": shifts[order]}


def smooth(rows: list[int], thresholds: list[float]) -> np.ndarray:
    """Return measured thresholds without their dice: f as a quintic of the log of the rows."""
    f = [r / COLUMNS / entropy(q) for r, q in zip(rows, thresholds, strict=True)]
    fitted = np.polynomial.Polynomial.fit(np.log(rows), f, 5)(np.log(rows))
    return np.array([qber_of(r / COLUMNS / g) for r, g in zip(rows, fitted, strict=True)])


def table(rows: list[int], thresholds: list[tuple[float, float]]) -> dict[str, np.ndarray]:
    """Return what a frame may begin with, and up to which QBER, in order."""
    middle = [round(MIDDLE * n) for n in rows]
    low = smooth(rows, [pair[0] for pair in thresholds])
    high = smooth(middle, [pair[1] for pair in thresholds])
    starts, limits = np.array([rows, middle]).T.ravel(), np.array([low, high]).T.ravel()
    return {
        "start_rows": starts.astype(np.uint16),
        "threshold_ppm": np.round(1e6 * limits).astype(np.uint32),
    }


def write(path: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    made = [make(shape_of(base)) for base in family_rows()]
    rows_list = [round(BASE * base) for base in family_rows()]
    for rows, (columns, _) in zip(rows_list, made, strict=True):
        arrays |= {f"{name}_{rows}": array for name, array in tables(columns).items()}
    arrays["rows"] = np.array(rows_list, np.uint16)
    arrays |= table(rows_list, [thresholds for _, thresholds in made])
    np.savez_compressed(path, **arrays)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    print(f"{path} {path.stat().st_size} bytes, digest {digest.hexdigest()[:16]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--mean", type=float)
    parser.add_argument("--twos", type=float)
    parser.add_argument("--band", type=int)
    parser.add_argument("--opening", type=float)
    options = parser.parse_args()
    if options.rows:
        names = ("mean", "twos", "band", "opening")
        given = {name: value for name in names if (value := getattr(options, name)) is not None}
        make(replace(shape_of(options.rows), **given))
    else:
        write(options.out)


if __name__ == "__main__":
    main()
