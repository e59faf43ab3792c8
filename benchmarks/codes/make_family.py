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
Z = 256
COLUMNS = 256
ROUNDS = 6
DATA = Path(__file__).parents[2] / "qkdd/reconcile/data/codes.npz"


def family_rows() -> list[int]:
    """Heights of the family: steps of one row, and of 3.5 % where a row is less than that."""
    rows = list(range(9, 28))
    while rows[-1] < 165:
        rows.append(round(max(rows[-1] + 1, rows[-1] * 1.035)))
    return rows


def step_rows(rows: int) -> int:
    """Rows that one blind round reveals: about 3 % more parity."""
    return max(1, round(0.03 * rows))


def tables(columns: list[Column], rows: int) -> dict[str, np.ndarray]:
    """Return the circulants row after row; 256 columns of 256 bits make both lists uint8."""
    edges = [
        (row, index, column[row])
        for row in range(rows)
        for index, column in enumerate(columns)
        if row in column
    ]
    heights = np.bincount([row for row, _, _ in edges], minlength=rows)
    return {
        "widths": heights.astype(np.uint8),
        "columns": np.array([index for _, index, _ in edges], np.uint8),
        "shifts": np.array([shift for _, _, shift in edges], np.uint8),
    }


def make(rows: int, steps: int) -> tuple[dict[str, np.ndarray], float]:
    """Search the degrees of one code, and place its circulants."""
    best: tuple[dict[int, int], float] = ({}, 0.0)
    for most in (12, 14, 20):
        dice = np.random.default_rng([SEED, rows, most])
        found = search(rows, COLUMNS, dice, steps=steps, most=most)
        best = max(best, found, key=lambda pair: pair[1])
    counts, threshold = best
    dice = np.random.default_rng([SEED, rows])
    more = ROUNDS * step_rows(rows)
    columns = build(counts, rows, Z, dice, more=more)
    f = rows / COLUMNS / entropy(threshold)
    shown = {degree: n for degree, n in counts.items() if n}
    print(f"{rows:4d} rows  threshold {threshold:.5f}  f {f:.4f}  degrees {shown}", flush=True)
    return tables(columns, rows + more), threshold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    arrays: dict[str, np.ndarray] = {}
    rows_list = family_rows()
    thresholds = []
    for rows in rows_list:
        code, threshold = make(rows, options.steps)
        thresholds.append(threshold)
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
