"""How far codes of this kind can go at any length: ``python benchmarks/codes/limits.py``.

f of the best degrees that ``degrees.search`` finds for an endless code, by QBER and mean column
degree, with columns of any degree up to the number of rows. Needs the extra ``codes``; half a
minute. A frame of finite length needs more; what a longer frame saves ends here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from degrees import entropy, search

COLUMNS = 1024
MEANS = (4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
FIRST_F = {0.01: 1.19, 0.02: 1.12, 0.03: 1.09, 0.05: 1.06}
"""Near the answer: the rows that are tried."""


def main() -> None:
    print("   QBER  rows" + "".join(f"{f'mean {mean:g}':>9}" for mean in MEANS))
    for qber, f in FIRST_F.items():
        rows = round(f * entropy(qber) * COLUMNS)
        line = ""
        for mean in MEANS:
            _, threshold = search(rows, COLUMNS, mean=mean, most=min(rows, 200), twos=2.0)
            line += f"{rows / COLUMNS / entropy(threshold):9.3f}" if threshold else f"{'-':>9}"
        print(f"{qber:7.1%}{rows:6d}{line}", flush=True)


if __name__ == "__main__":
    main()
