"""Make the family of LDPC codes that both ends of a link use: ``python make_family.py``.

Deterministic: the same numpy and the same SEED write the same arrays. Prints one line per code and
the digest that ``qkdd/reconcile/codes.py`` must carry (a changed family is a changed protocol).
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from construct import Column, build
from degrees import entropy, search

SEED = 20261123
Z = 128
COLUMNS = 512
ROUND_STEPS = (1, 1, 1, 2, 2, 3, 3, 3)
"""Steps of rows that each blind round reveals: small ones first, then patience ends."""

DATA = Path(__file__).parents[2] / "qkdd/reconcile/data/codes.npz"


def family_rows() -> list[int]:
    """Heights of the family: steps of one row, and of 3.5 % where a row is less."""
    rows = [17]
    while rows[-1] < 330:
        rows.append(round(max(rows[-1] + 1, rows[-1] * 1.035)))
    return rows


def step_rows(rows: int) -> int:
    """Rows in a step of a blind round: about 2 % more parity."""
    return max(1, round(0.02 * rows))


def tables(columns: list[Column], rows: int) -> dict[str, np.ndarray]:
    """Return the circulants, row after row: how far apart they stand, and their shifts."""
    places = np.array([row * COLUMNS + at for at, column in enumerate(columns) for row in column])
    shifts = np.array([shift for column in columns for shift in column.values()], np.uint8)
    order = np.argsort(places)
    assert places.max() // COLUMNS == rows - 1
    return {
        "gaps": np.diff(places[order], prepend=0).astype(np.uint16),
        "shifts": shifts[order],
    }


def make(
    rows: int, steps: int, start: dict[int, int] | None
) -> tuple[dict[str, np.ndarray], float, dict[int, int]]:
    """Search the degrees of one code from its neighbour's, and place its circulants."""
    dice = np.random.default_rng([SEED, rows])
    most = min(24, max(8, rows * 9 // 20))  # taller columns leave no room without 4-cycles
    counts, threshold = search(rows, COLUMNS, dice, steps=steps, most=most, twos=1.0, start=start)
    more = sum(ROUND_STEPS) * step_rows(rows)
    columns = build(counts, rows, Z, dice, more=more)
    f = rows / COLUMNS / entropy(threshold)
    shown = {degree: n for degree, n in counts.items() if n}
    print(f"{rows:4d} rows  threshold {threshold:.5f}  f {f:.4f}  degrees {shown}", flush=True)
    return tables(columns, rows + more), threshold, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    arrays: dict[str, np.ndarray] = {}
    rows_list = family_rows()
    thresholds: list[float] = []
    counts: dict[int, int] | None = None
    for rows in reversed(rows_list):
        steps = options.steps if counts else 6 * options.steps
        code, threshold, counts = make(rows, steps, counts)
        thresholds.insert(0, threshold)
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
