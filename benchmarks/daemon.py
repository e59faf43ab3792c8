"""What running relays cost: CPU and memory of each process, CPU ns per detected click, loop lag.

    python -m benchmarks.daemon [--dir FOLDER] [--seconds 64]

Watches the ``qkdd demo --dir FOLDER`` that runs, or starts one of its own and waits until its
blocks have their full size. CPU is read from /proc over the window, of the whole process and of its
main thread (the event loop; the rest are worker threads); a block is distilled while the next one
is measured, so the window is whole blocks long. Clicks are those of the window's pulses at the
relays' own click rate.

Loop lag is not told by a daemon. What stands for it is how long the status socket takes to answer,
asked every 50 ms: the answer waits for the loop twice, once to accept and once to write, and the
asking itself costs about 0.5 ms.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from qkdd.base.light import LightPlan
from qkdd.cli.demo.files import ALICE, BOB
from qkdd.daemon.status import RelaySnapshot

ASK_EVERY_S = 0.05
START_TIMEOUT_S = 90.0
LAB = "laboratory"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
ANCHOR_NS = {ALICE: 22.0, BOB: 34.0, LAB: 50.0}


@dataclass(frozen=True)
class Answer:
    """One answer of a relay's status socket."""

    snapshot: RelaySnapshot
    took_s: float


@dataclass(frozen=True)
class Usage:
    """CPU seconds since the start, and memory."""

    cpu_s: float
    loop_cpu_s: float
    """Of the main thread."""
    rss_mb: float
    peak_mb: float


def ask(folder: Path, relay: str) -> Answer | None:
    """Ask for a snapshot; None if nobody answers."""
    begin_s = time.perf_counter()
    text = b""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5.0)
            asking.connect(str(folder / relay / "qkdd.sock"))
            while received := asking.recv(1 << 16):
                text += received
    except OSError:
        return None
    took_s = time.perf_counter() - begin_s
    return Answer(msgspec.json.decode(text, type=RelaySnapshot), took_s) if text else None


def usage(pid: int) -> Usage:
    status = Path(f"/proc/{pid}/status").read_text()

    def megabytes(field: str) -> float:
        return int(status.partition(field)[2].split()[0]) / 1024

    return Usage(
        cpu_s=_cpu_s(Path(f"/proc/{pid}/stat")),
        loop_cpu_s=_cpu_s(Path(f"/proc/{pid}/task/{pid}/stat")),
        rss_mb=megabytes("VmRSS:"),
        peak_mb=megabytes("VmHWM:"),
    )


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def laboratory_pid(folder: Path) -> int:
    """Find the process that serves FOLDER/lab/lab.toml."""
    lab = str((folder / "lab" / "lab.toml").resolve()).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"drivers.sim" in words and lab in words:
                return int(entry.name)
    raise SystemExit(f"no laboratory serves {lab.decode()}")


@contextmanager
def demonstration(seconds: float) -> Iterator[Path]:
    """Run a demonstration of our own, quietly, and end it."""
    with tempfile.TemporaryDirectory(prefix="qkdd-daemon-") as name:
        command = [sys.executable, "-m", "qkdd.cli", "demo", "--json", "--dir", name]
        process = subprocess.Popen(
            [*command, "--seconds", f"{seconds:.0f}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Path(name)
            process.wait()  # it ends by itself, and its processes in good order
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def wait_for_full_blocks(folder: Path, full_s: float) -> None:
    """Return when both relays have just distilled a block of full size."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        answers = [ask(folder, relay) for relay in (ALICE, BOB)]
        links = [answer.snapshot.links[0] for answer in answers if answer is not None]
        blocks = [link.last_block for link in links]
        if len(blocks) == 2 and all(one and one.pulse_seconds >= full_s for one in blocks):
            return
        time.sleep(0.2)
    raise SystemExit(f"no block of {full_s:g} s within {START_TIMEOUT_S:g} s")


def watch(folder: Path, seconds: float) -> dict[str, list[float]]:
    """Ask both relays again and again; return how long the answers took."""
    took_s: dict[str, list[float]] = {ALICE: [], BOB: []}
    begin_s = time.monotonic()
    while time.monotonic() < begin_s + seconds:
        for relay, times in took_s.items():
            answer = ask(folder, relay)
            if answer is None:
                raise SystemExit(f"{relay} does not answer any more")
            times.append(answer.took_s)
        time.sleep(ASK_EVERY_S)
    return took_s


def measure(folder: Path, seconds: float) -> None:
    answers = {relay: ask(folder, relay) for relay in (ALICE, BOB)}
    pids = {LAB: laboratory_pid(folder)}
    for relay, answer in answers.items():
        if answer is None:
            raise SystemExit(f"{relay} does not answer at {folder}")
        pids[relay] = answer.snapshot.pid
    before = {name: usage(pid) for name, pid in pids.items()}
    begin_s = time.monotonic()
    took_s = watch(folder, seconds)
    window_s = time.monotonic() - begin_s
    after = {name: usage(pid) for name, pid in pids.items()}
    last = ask(folder, BOB)
    assert last is not None
    link = last.snapshot.links[0]
    rate = link.click_rate or 0.0
    print(
        f"{window_s:.0f} s at {rate / 1e6:.3f} Mclick/s, {link.secret_bits_per_s or 0:.0f} secret "
        f"bit/s, state {link.state}, {link.n_blocks_void} blocks void"
    )
    print(f"{'':11s} {'CPU':>7s} {'of it loop':>10s} {'ns/click':>9s} {'anchor':>7s}", end="")
    print(f" {'RSS':>7s} {'peak':>7s}  status answers: median, 99 %, longest")
    for name in (LAB, BOB, ALICE):
        cpu_s = after[name].cpu_s - before[name].cpu_s
        loop_s = after[name].loop_cpu_s - before[name].loop_cpu_s
        ns = 1e9 * cpu_s / (rate * window_s) if rate else 0.0
        print(
            f"{name:11s} {100 * cpu_s / window_s:5.1f} % {100 * loop_s / max(cpu_s, 1e-9):8.0f} %"
            f" {ns:9.1f} {ns / ANCHOR_NS[name]:5.1f} x"
            f" {after[name].rss_mb:4.0f} MB {after[name].peak_mb:4.0f} MB",
            end="",
        )
        times_ms = sorted(1e3 * one for one in took_s.get(name, []))
        if times_ms:
            middle, late = times_ms[len(times_ms) // 2], times_ms[int(0.99 * len(times_ms))]
            print(f"  {middle:.1f}, {late:.1f}, {times_ms[-1]:.1f} ms", end="")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", type=Path, help="folder of a demonstration that runs")
    parser.add_argument("--seconds", type=float, default=64.0)
    options = parser.parse_args()
    plan = LightPlan()
    full_s = max(plan.ramp_frames) * plan.frame_pulses / plan.pulse_rate_hz
    if options.dir is not None:
        measure(options.dir, options.seconds)
        return
    ramp_s = sum(plan.ramp_frames) * plan.frame_pulses / plan.pulse_rate_hz
    with demonstration(options.seconds + ramp_s + full_s + 20.0) as folder:
        wait_for_full_blocks(folder, full_s)
        measure(folder, options.seconds)


if __name__ == "__main__":
    main()
