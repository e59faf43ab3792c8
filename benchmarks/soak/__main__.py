"""A link under light for an hour, with a bad day every half minute; nothing may ever be wrong.

    python -m benchmarks.soak [--minutes 60] [--every 30] [--seed S] [--only KIND ...] [--json]

Two relays, their laboratory and a network between them, all as processes in real time; two
applications refresh keys in both directions all the while. Bad days are drawn from a deck of all
kinds, shuffled by the seed and again when it is used up, one at a time. From the end of each the
link has 30 s for session, light, a new block's key and keys in the hands of both applications;
10 s where the light need not be found again. After each, for a moment without requests, the two
stores must be equal, every key that came is asked for once more and must be refused, and no two
keys may be unequal or the same. At the end the light goes; accounts and digests must be equal to
the bit, the audit logs must verify, memory, open files and threads must not have grown, and no log
may hold a traceback. SIGTERM and SIGINT end it after the day that is under way, and it is judged as
far as it came. Exit status: 0 all of it held to its end, 1 it did not.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trio

from benchmarks.soak import clients, hosts, instruments, light, network, relays
from benchmarks.soak.bad_day import Kind, Scene
from benchmarks.soak.play import Day, play
from benchmarks.soak.scene import open_scene
from benchmarks.soak.table import as_data, by_kind, failures_of, line_of, of_processes
from benchmarks.soak.verdict import SETTLE_S, Verdict, judge
from qkdd.cli.demo.processes import ProcessDied
from qkdd.daemon.supervise import reasons

ROOMS = (relays, instruments, light, network, hosts, clients)
KINDS: dict[str, Kind] = {kind.name: kind for room in ROOMS for kind in room.KINDS}
CALM_S = 3.0
"""Between a recovery and the next bad day, at least."""


def deck(kinds: list[Kind], dice: random.Random) -> Iterator[Kind]:
    """All kinds in a random order, again and again."""
    while True:
        yield from dice.sample(kinds, len(kinds))


async def days_of(
    scene: Scene, kinds: list[Kind], options: argparse.Namespace, enough: trio.Event
) -> list[Day]:
    """One bad day after the other until the time is over, or somebody has had enough."""
    days: list[Day] = []
    end_s = trio.current_time() + 60 * options.minutes
    for kind in deck(kinds, scene.dice):
        due_s = trio.current_time() + CALM_S
        if days:
            due_s = max(due_s, scene.eyes.started_s + days[-1].began_s + options.every)
        if due_s > end_s - kind.limit_s:
            break
        with trio.move_on_at(due_s):
            await enough.wait()
            break
        days.append(await play(scene, kind))
        print(line_of(days[-1]), file=sys.stderr, flush=True)
        if days[-1].key_s is None:
            break  # what comes now would say nothing of its kind
    scene.eyes.calm = True
    await trio.sleep(SETTLE_S)
    return days


async def soak(
    folder: Path, kinds: list[Kind], options: argparse.Namespace
) -> tuple[list[Day], Verdict]:
    enough = trio.Event()
    async with open_scene(folder, options.seed) as scene, trio.open_nursery() as nursery:
        await nursery.start(_listen, enough)
        days = await days_of(scene, kinds, options, enough)
        verdict = await judge(scene)
        nursery.cancel_scope.cancel()
    if enough.is_set():
        verdict.failures.append("a signal ended it before its time")
    return days, verdict


async def _listen(
    enough: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Hear a signal, so that relays and laboratory are not left behind."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            enough.set()


def tell(days: list[Day], verdict: Verdict, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(as_data(days, verdict, options.seed)))
        return
    print("\n".join([*by_kind(days), "", *of_processes(verdict), ""]))
    print(
        f"{len(days)} bad days; {verdict.n_keys} keys delivered, {verdict.n_compared} compared at "
        f"both ends; account {verdict.account}; audit records {verdict.n_audit_records}"
    )
    print("\n".join(failures_of(days, verdict, options.seed)) or "nothing failed")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--only", action="append", choices=sorted(KINDS), metavar="KIND")
    parser.add_argument("--keep", action="store_true", help="leave the folder where it is")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    options = read_options()
    folder = Path(tempfile.mkdtemp(prefix="qkdd-soak-"))
    print(f"everything is in {folder}; seed {options.seed}", file=sys.stderr)
    kinds = [KINDS[name] for name in options.only or KINDS]
    days: list[Day] = []
    verdict = Verdict(failures=["the run did not come to its end"])
    try:
        days, verdict = trio.run(soak, folder, kinds, options)
    except* (AssertionError, ProcessDied, trio.TooSlowError) as errors:
        verdict.failures += reasons(errors)
    tell(days, verdict, options)
    held = not verdict.failures and not any(day.failures for day in days)
    if held and not options.keep:
        shutil.rmtree(folder)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
