"""Key delivery under load: two relays without light, applications over mutual TLS with keep-alive.

    python -m benchmarks.delivery [--seconds 5] [--connections 32] [--only TEXT]

Starts two ``qkdd run`` with a stock laid in beforehand, and the client of
:mod:`benchmarks.https_load` as a third process of the same machine. Prints, for keys of 256 bits,
how many a second a closed loop gets and how long a request takes when they come as a Poisson
process, each with its ratio to the goal, and the CPU of every process for each request: where other
work shares the machine, that and not the rate is to be compared. Even a second of CPU is worth less
there (two processors may be one core): the last number is that of all relays and the client in
turns of a fixed piece of Python, timed by itself before and after. Exit status 1 if a key came
twice, differed between the ends, or was refused.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio

from benchmarks.https_load import Phase, Place, Result
from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from tests.whole.agreement import stores_agree
from tests.whole.site import Site, open_site
from tests.whole.stock import lay_stock

STOCK_BYTES = 24 * 1024 * 1024
AUTH_BYTES = 4 * 1024 * 1024
ENC_PER_S, PAIRS_PER_S, LATE_MS = 1_500.0, 700.0, 20.0
"""The goals: keys and pairs a second, and the 99th percentile at OPEN_PER_S."""
OPEN_PER_S = 300.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
RELAY = {SAE_A: ALICE, SAE_B: BOB}
OTHER = {SAE_A: SAE_B, SAE_B: SAE_A}


class Client:
    """The process that asks."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def run(self, phase: Phase) -> Result:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(phase) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the client ended: see above")
        return msgspec.json.decode(line, type=Result)


@contextmanager
def client(site: Site) -> Iterator[Client]:
    ports = {sae: site.relays[relay].delivery_port for sae, relay in RELAY.items()}
    pki = str(site.folder / "pki")
    places = site.folder / "places.json"
    places.write_bytes(
        msgspec.json.encode([Place(sae, OTHER[sae], port, pki) for sae, port in ports.items()])
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.https_load", str(places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Client(process)
    finally:
        process.kill()
        process.wait()


def cpu_s(site: Site) -> dict[str, float]:
    """CPU seconds of each relay since its start."""
    seconds = {}
    for relay, child in site.children.items():
        fields = Path(f"/proc/{child.process.pid}/stat").read_text().rpartition(") ")[2].split()
        seconds[relay] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return seconds


def machine_cpu_s() -> float:
    """CPU seconds of all that runs here, since the machine started."""
    user, nice, system, _idle, _wait, *rest = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) / TICKS_PER_S


def turn_us() -> float:
    """CPU that a fixed piece of Python takes now: about 25 us where nothing disturbs it."""
    counts: dict[int, int] = {}
    times_us = []
    for _ in range(200):
        begin_s = time.thread_time()
        for number in range(300):
            counts[number & 15] = counts.get(number & 15, 0) + 1
        times_us.append(1e6 * (time.thread_time() - begin_s))
    return sum(times_us) / len(times_us)


def percentiles(times_ms: list[float]) -> tuple[float, float, float]:
    """Median, 99th percentile and longest."""
    times_ms = sorted(times_ms)
    return times_ms[len(times_ms) // 2], times_ms[int(0.99 * len(times_ms))], times_ms[-1]


async def measure(site: Site, asking: Client, what: str, phase: Phase, goal: float) -> bool:
    """Run a phase and print it; return whether every request was answered with a key."""
    first_us = turn_us()
    before, machine_s = cpu_s(site), machine_cpu_s()
    result = await trio.to_thread.run_sync(asking.run, phase)
    after, machine_s = cpu_s(site), machine_cpu_s() - machine_s
    turns_us = (first_us + turn_us()) / 2
    if not result.enc_ms or (phase.fetch and not result.dec_ms):
        print(f"{what}: nothing delivered; {result.failures}")
        return False
    n = len(result.dec_ms) if phase.fetch else len(result.enc_ms)
    enc_ms, dec_ms = percentiles(result.enc_ms), percentiles(result.dec_ms or [0.0])
    if phase.per_s:
        late_ms = max(enc_ms[1], dec_ms[1])
        ratio = f"99 % in {late_ms:.1f} ms, {goal / late_ms:.2f} of the goal of {goal:g} ms"
    else:
        rate = n / result.seconds
        ratio = f"{rate:.0f}/s, {rate / goal:.2f} of the goal of {goal:g}/s"
    print(f"{what:34s} {ratio}")
    shown = [("enc", enc_ms)] + ([("dec", dec_ms)] if phase.fetch else [])
    for call, (middle, late, longest) in shown:
        print(f"{'':34s} {call}: median {middle:.1f}, 99 % {late:.1f}, longest {longest:.1f} ms")
    each_us = {relay: 1e6 * (after[relay] - before[relay]) / n for relay in before}
    busy = sum(after.values()) - sum(before.values()) + result.cpu_s
    print(
        f"{'':34s} CPU for each: {', '.join(f'{r} {us:.0f}' for r, us in each_us.items())}, client "
        f"{1e6 * result.cpu_s / n:.0f} us; {busy / result.seconds:.2f} cores busy, "
        f"{max(0.0, machine_s - busy) / result.seconds:.2f} with other work; "
        f"{1e6 * busy / n / turns_us:.0f} turns of {turns_us:.0f} us"
    )
    if result.failures:
        print(f"{'':34s} refused: {result.failures}")
    return not result.failures


def phases(seconds: float, connections: int) -> list[tuple[str, Phase, float]]:
    one, both = (SAE_A,), (SAE_A, SAE_B)
    half = max(1, connections // 2)
    return [
        ("warm-up", Phase(both, half, 1.0, fetch=True), PAIRS_PER_S),
        ("new keys, one master", Phase(one, connections, seconds, fetch=False), ENC_PER_S),
        ("new keys, masters at both ends", Phase(both, half, seconds, fetch=False), ENC_PER_S),
        ("pairs, one master", Phase(one, connections, seconds, fetch=True), PAIRS_PER_S),
        ("pairs, masters at both ends", Phase(both, half, seconds, fetch=True), PAIRS_PER_S),
        (
            f"new keys, {OPEN_PER_S:g}/s open",
            Phase(one, connections, seconds, fetch=False, per_s=OPEN_PER_S),
            LATE_MS,
        ),
        (
            f"pairs, {OPEN_PER_S:g}/s open",
            Phase(both, half, seconds, fetch=True, per_s=OPEN_PER_S),
            LATE_MS,
        ),
    ]


async def run(folder: Path, seconds: float, connections: int, only: str) -> bool:
    async with open_site(folder, lit=False) as site:
        lay_stock(site, STOCK_BYTES, auth_bytes=AUTH_BYTES)
        await site.start()
        await site.wait_up()
        good = True
        with client(site) as asking:
            for what, phase, goal in phases(seconds, connections):
                if only in what:
                    good &= await measure(site, asking, what, phase, goal)
        account = await stores_agree(site, within_s=60.0)
        print(f"both stores agree: {account['delivered'] // 256} keys of 256 bits delivered")
        return good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--connections", type=int, default=32, help="that ask for new keys")
    parser.add_argument("--only", default="", metavar="TEXT", help="phases whose names have it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qkdd-delivery-") as name:
        good = trio.run(run, Path(name), options.seconds, options.connections, options.only)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
