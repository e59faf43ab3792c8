"""``python -P -m drivers.sim LAB.toml``: serve every instrument of a simulated lab.

One line of JSON on stdout says when everything listens, and where; SIGTERM or SIGINT ends it.
"""

import argparse
import json
import secrets
import sys
from functools import partial
from pathlib import Path

import trio

from drivers.sim.config import LabConfigError, read_lab
from drivers.sim.lab import serve_lab


def announce(resources: dict[str, dict[str, str]]) -> None:
    sys.stdout.write(json.dumps({"ready": True, "instruments": resources}) + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -P -m drivers.sim", description="Serve the instruments of a simulated lab."
    )
    parser.add_argument("lab", type=Path, metavar="LAB.toml")
    path: Path = parser.parse_args().lab
    try:
        lab = read_lab(path)
        run = partial(serve_lab, entropy=secrets.token_bytes, ready=announce)
        trio.run(run, lab, path.absolute().parent)
    except (LabConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
