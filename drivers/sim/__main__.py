"""``python -P -m drivers.sim LAB.toml``: serve every instrument of a simulated lab.

One line of JSON on stdout says when everything listens, and where; SIGTERM or SIGINT ends it.
An order (``drivers.sim.orders``) in the place of LAB.toml is for a lab that runs.
"""

import argparse
import ctypes
import json
import secrets
import sys
from functools import partial
from pathlib import Path

import trio

from drivers.sim.config import LabConfigError, read_lab
from drivers.sim.control import control_path
from drivers.sim.lab import serve_lab
from drivers.sim.orders import COMMANDS, give_order

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = 1 << 24
"""Above what a step's arrays need: memory that goes back to the system comes again page by page."""


def keep_freed_memory() -> None:
    """Let the next step have the memory of the last one; nothing where there is no mallopt."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def announce(resources: dict[str, dict[str, str]]) -> None:
    sys.stdout.write(json.dumps({"ready": True, "instruments": resources}) + "\n")
    sys.stdout.flush()


def main() -> int:
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        return give_order(sys.argv[1:])
    parser = argparse.ArgumentParser(
        prog="python -P -m drivers.sim",
        description="Serve the instruments of a simulated lab.",
        epilog=f"Of a lab that runs: {', '.join(COMMANDS)}; --help after one of them.",
    )
    parser.add_argument("lab", type=Path, metavar="LAB.toml")
    path: Path = parser.parse_args().lab
    keep_freed_memory()
    try:
        lab = read_lab(path)
        run = partial(
            serve_lab, entropy=secrets.token_bytes, ready=announce, control=control_path(path)
        )
        trio.run(run, lab, path.absolute().parent)
    except (LabConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
