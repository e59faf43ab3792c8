"""How late a loop comes on a busy machine: every relay in a session of its own, or all in one.

    python -m benchmarks.sessions [--relays 12] [--seconds 10]

Each relay is played by two processes: a loop that wakes ten times a second for 2 ms of work, and a
distiller, ten steps nicer, that never rests. Prints how late the work is: median, 99 %, worst.
Where the kernel groups processes by session (sched_autogroup), the one session is given the weight
of all the others together, if we may, so that both arrangements share alike with what else runs.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from qkdd.cli.trunk.share import WEIGHT_PER_NICE
from qkdd.daemon.quiet_worker import STEPS_BACK

EVERY_S, WORK_S = 0.1, 0.002
MAX_BEHIND_S = 0.5
AUTOGROUP = Path("/proc/self/autogroup")


def distil(until_s: float) -> None:
    os.nice(STEPS_BACK)
    while time.monotonic() < until_s:
        pass


def loop(until_s: float) -> list[float]:
    """Return how late each piece of work was done, s, in order of lateness."""
    late_s = []
    due_s = time.monotonic()
    while time.monotonic() < until_s:
        due_s = max(due_s + EVERY_S, time.monotonic() - MAX_BEHIND_S)
        time.sleep(max(0.0, due_s - time.monotonic()))
        done_s = time.thread_time() + WORK_S
        while time.thread_time() < done_s:
            pass
        late_s.append(time.monotonic() - due_s - WORK_S)
    return sorted(late_s)


def play(seconds: float) -> None:
    """Be one relay."""
    until_s = time.monotonic() + seconds
    distiller = os.fork()
    if not distiller:
        distil(until_s)
        os._exit(0)
    late_s = loop(until_s)
    os.waitpid(distiller, 0)
    print(late_s[len(late_s) // 2], late_s[int(0.99 * len(late_s)) - 1], late_s[-1])


def arrange(n_relays: int, seconds: float, *, together: bool) -> None:
    """Be the command that starts them: in a session of its own, so that nothing else counts."""
    if together:
        with suppress(OSError):
            nice = -round(math.log(n_relays, WEIGHT_PER_NICE))
            AUTOGROUP.write_text(str(max(-20, nice)))
    relays = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sessions", "--play", f"{seconds}"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=not together,
        )
        for _ in range(n_relays)
    ]
    told = [relay.communicate()[0].split() for relay in relays]
    median, late, worst = ([1e3 * float(one[n]) for one in told] for n in range(3))
    print(
        f"{'one session' if together else 'own sessions':12s}: median "
        f"{sum(median) / n_relays:6.1f} ms, 99 % {sum(late) / n_relays:6.1f} ms, "
        f"worst {max(worst):6.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--relays", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--play", type=float, help="be one relay for so long")
    parser.add_argument("--arrange", choices=["own", "one"])
    options = parser.parse_args()
    if options.play is not None:
        play(options.play)
    elif options.arrange is not None:
        arrange(options.relays, options.seconds, together=options.arrange == "one")
    else:
        for how in ("own", "one"):
            again = ["--relays", f"{options.relays}", "--seconds", f"{options.seconds}"]
            command = [sys.executable, "-m", "benchmarks.sessions", "--arrange", how, *again]
            subprocess.run(command, check=True, start_new_session=True)


if __name__ == "__main__":
    main()
