"""Fuzz every parser that faces a peer, a client, an instrument or a file.

    python -m benchmarks.fuzz [--inputs N] [--only NAME ...] [--seed S] [--json]
    python -m benchmarks.fuzz --only NAME --feed HEX

The targets are those of ``tests/fuzz``, of which the tests take a bounded share. Each begins with
what a true writer writes, and goes on with what becomes of it: bits turned, pieces cut, doubled and
spliced, numbers at the edge of something, and, where the form is known, whole fields and branches.
A target has promised that nothing but its documented errors comes out, that a refused word changes
nothing, and that one input costs little time and memory (2 s, 128 MiB; the process has a limit of
address space on top).

The inputs are shared out by speed: each target has a hundredth of all, a slow one a thousandth,
and the rest goes where it costs least. Printed is, for each: inputs, inputs per second of processor
time, accepted, refused. The first broken promise ends the run with exit status 1, and with the
input in hexadecimal for ``--feed``.
"""

import argparse
import json
import resource
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator

from tests.fuzz.drive import Broken, Score, drive, inputs
from tests.fuzz.everything import all_targets
from tests.fuzz.target import Target

ADDRESS_SPACE_BYTES = 4 << 30
TRIAL, TRIAL_SLOW = 300, 40
SLOW_SHARE, SHARE = 1 / 1_000, 1 / 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", default=[], help="names of targets, or whom they face")
    parser.add_argument(
        "--each", type=int, help="so many inputs to each target, whatever its speed"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--feed", help="one input, in hexadecimal")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, resource.RLIM_INFINITY))
    chosen = [
        one for one in all_targets() if not given.only or {one.name, one.faces} & {*given.only}
    ]
    if not chosen:
        parser.error("no such target")
    if given.feed is not None:
        (target,) = chosen
        print("accepted" if target.feed(bytes.fromhex(given.feed)) else "refused")
        return 0
    shares = dict.fromkeys((one.name for one in chosen), given.each)
    if given.each is None:
        shares = share_out(chosen, given.inputs, given.seed)
    scores = []
    for score in run(chosen, shares, given.seed):
        scores.append(score)
        print(json.dumps(as_dict(score)) if given.json else line(score), flush=True)
        if score.broken is not None:
            tell(score.target, score.broken)
            return 1
    if not given.json:
        print(summary(scores))
    return 0


def share_out(targets: list[Target], n_inputs: int, seed: int) -> dict[str, int]:
    """Give each target its least, and the rest in proportion to its speed."""
    speeds = {}
    for target in targets:
        trial = TRIAL_SLOW if target.slow else TRIAL
        speeds[target.name] = drive(target, inputs(target, seed), trial).per_s
    least = {one.name: int(n_inputs * (SLOW_SHARE if one.slow else SHARE)) for one in targets}
    rest = max(0, n_inputs - sum(least.values()))
    fast = sum(speeds[one.name] for one in targets if not one.slow)
    return {
        one.name: least[one.name]
        + (0 if one.slow or not fast else int(rest * speeds[one.name] / fast))
        for one in targets
    }


def run(targets: Iterable[Target], shares: dict[str, int], seed: int) -> Iterator[Score]:
    for target in targets:
        yield drive(target, inputs(target, seed), shares[target.name])


def as_dict(score: Score) -> dict[str, object]:
    return {
        "target": score.target.name,
        "faces": score.target.faces,
        "inputs": score.n_inputs,
        "per_s": round(score.per_s),
        "accepted": score.n_accepted,
        "refused": score.n_refused,
        "slowest_ms": round(1e3 * score.slowest_s, 1),
        "broken": None if score.broken is None else score.broken.data.hex(),
    }


def line(score: Score) -> str:
    return (
        f"{score.target.faces:10} {score.target.name:22} {score.n_inputs:9} inputs "
        f"{score.per_s:8.0f}/s  {score.n_accepted:8} accepted {score.n_refused:9} refused  "
        f"slowest {1e3 * score.slowest_s:6.1f} ms  {int(score.broken is not None)} broken"
    )


def summary(scores: list[Score]) -> str:
    n_inputs = sum(score.n_inputs for score in scores)
    seconds = sum(score.seconds for score in scores)
    return (
        f"{n_inputs} inputs to {len(scores)} targets, {seconds:.0f} s of processor time, 0 broken"
    )


def tell(target: Target, broken: Broken) -> None:
    traceback.print_exception(broken.error)
    print(f"BROKEN {target.name}: {broken.error!r}", file=sys.stderr)
    print(f"python -m benchmarks.fuzz --only {target.name} --feed {broken.data.hex()}")


if __name__ == "__main__":
    sys.exit(main())
