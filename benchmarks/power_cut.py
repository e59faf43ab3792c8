"""Cut the power of two relays many times, at moments nobody chose; nothing may ever be wrong.

Run as root, `python -m benchmarks.power_cut --cuts 200`. Both relays write to disks that are
recorded below their file system (tests/chaos/recorded_disk.py); a cut is what these disks may hold
at one moment. Three recordings: keys from stock, keys while blocks are distilled, and an operator's
commands at one relay. Exit status: 0 nothing was found, 1 something was.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import trio

from tests.chaos.power_log import MARK, SYNC, WRITE
from tests.chaos.recorded_disk import why_not
from tests.whole.power_commands import record_commands
from tests.whole.power_cut import some_cuts
from tests.whole.power_record import record


async def traffic(folder: Path, args: argparse.Namespace, *, lit: bool) -> list[str]:
    """Record, cut, and print what was looked at; return the faults."""
    dice = random.Random(args.seed + lit)
    recording = await record(folder, args.seconds, lit=lit, sync=not args.careless)
    kinds = Counter(one.kind for one in recording.entries)
    findings = recording.examine(folder / "after", args.cuts, dice)
    n = findings.n_cuts
    print(
        f"{'keys under light' if lit else 'keys from stock'}: {kinds[WRITE]} writes, "
        f"{kinds[SYNC]} syncs, {kinds[MARK]} marks; {n} cuts, in the mean with "
        f"{findings.n_keys / n:.0f} keys in hand and {findings.n_pads / n:.0f} pads used, "
        f"{findings.lost['keys']} keys at one end only, "
        f"{findings.n_repaired} file systems repaired; {len(findings.faults)} faults"
    )
    faults = list(findings.faults)
    if not args.careless:
        cuts = list(some_cuts(recording.entries, recording.first, args.revived, dice))
        for cut in cuts:
            try:
                await recording.revive(folder / "after", cut)
            except AssertionError as fault:
                faults.append(f"{cut}, relays started on it: {fault}")
        print(f"  relays started on {len(cuts)} more cuts; {len(faults)} faults in all")
    return faults


async def commands(folder: Path, args: argparse.Namespace) -> list[str]:
    recording = await record_commands(folder)
    faults = list(recording.faults(args.cuts, random.Random(args.seed)))
    print(f"psk make, install, re-key, zeroise: {args.cuts} cuts; {len(faults)} faults")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=200, help="of each recording")
    parser.add_argument("--revived", type=int, default=10, help="more, with relays started on them")
    parser.add_argument("--seconds", type=float, default=10.0, help="of traffic")
    parser.add_argument("--part", action="append", choices=("stock", "light", "commands"))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--careless", action="store_true", help="stores do not wait for their disk")
    args = parser.parse_args()
    if (reason := why_not()) is not None:
        print(reason, file=sys.stderr)
        return 1
    print(f"seed {args.seed}")
    faults: list[str] = []
    parts = {
        "stock": lambda folder: traffic(folder, args, lit=False),
        "light": lambda folder: traffic(folder, args, lit=True),
        "commands": lambda folder: commands(folder, args),
    }
    chosen = ["stock"] if args.careless else args.part or list(parts)
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            faults += trio.run(parts[name], Path(folder))
    for fault in faults[:20]:
        print(fault[:500])
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
