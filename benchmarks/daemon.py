"""What running relays cost: CPU and memory of each process, CPU ns per detected click, loop lag.

    python -m benchmarks.daemon [--dir FOLDER] [--seconds 32] [--km 76] [--pulse-mhz 100]

Watches the ``qkdd demo --dir FOLDER`` that runs, or starts one of its own and waits until its
blocks have their full size. CPU is read from /proc over the window, of the whole process and of its
main thread (the event loop; the rest are worker threads), and so are the times that a thread went
to sleep and was woken; a block is distilled while the next one is measured, so the window is whole
blocks long. Clicks are those of the window's pulses at the relays' own click rate. Of a
demonstration of our own the two relays and the laboratory stay when it has ended: what they cost
is then the link's alone, while one that runs asks for keys and for status all the time.

Loop lag is not told by a daemon. What stands for it, in a window of its own, is how long the status
socket takes to answer, asked every 50 ms: the answer waits for the loop twice, once to accept and
once to write, and the asking itself costs about 0.5 ms.
"""

import argparse
import os
import signal
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
from qkdd.daemon.snapshot import RelaySnapshot

ASK_EVERY_S = 0.05
START_TIMEOUT_S = 60.0
LAB = "laboratory"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LAG_WINDOW_S = 8.0
GOAL_NS = {ALICE: 40.0, BOB: 80.0, LAB: 50.0}
"""At 250 kclick/s. 31 links of 8.25 Mclick/s in all leave 242 ns a click on two cores."""


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
    n_wakeups: int
    """Threads that went to sleep by themselves, those that live."""
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
            asking.shutdown(socket.SHUT_WR)  # no order: answered at once
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
        n_wakeups=sum(map(_wakeups, Path(f"/proc/{pid}/task").iterdir())),
        rss_mb=megabytes("VmRSS:"),
        peak_mb=megabytes("VmHWM:"),
    )


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _wakeups(task: Path) -> int:
    try:
        status = (task / "status").read_text()
    except OSError:  # the thread has just ended
        return 0
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


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
def demonstration(seconds: float, km: float, pulse_mhz: float) -> Iterator[Path]:
    """Run a demonstration of our own, quietly; give what it leaves running, and end that."""
    with tempfile.TemporaryDirectory(prefix="qkdd-daemon-") as name:
        command = [sys.executable, "-m", "qkdd.cli", "demo", "--json", "--keep", "--dir", name]
        subprocess.run(
            [*command, "--seconds", f"{seconds}", "--km", f"{km}", "--pulse-mhz", f"{pulse_mhz}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,  # without a key before its end it is no success, and all the same to us
        )
        folder = Path(name)
        pids = processes(folder)
        try:
            yield folder
        finally:
            for pid in pids.values():
                os.kill(pid, signal.SIGTERM)
            while any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
                time.sleep(0.1)


def processes(folder: Path) -> dict[str, int]:
    """Find the laboratory and both relays of a demonstration."""
    pids = {LAB: laboratory_pid(folder)}
    for relay in (BOB, ALICE):
        answer = ask(folder, relay)
        if answer is None:
            raise SystemExit(f"{relay} does not answer at {folder}")
        pids[relay] = answer.snapshot.pid
    return pids


def wait_for_full_blocks(folder: Path, full_s: float, timeout_s: float) -> None:
    """Return when both relays have just distilled a block of full size."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        answers = [ask(folder, relay) for relay in (ALICE, BOB)]
        links = [answer.snapshot.links[0] for answer in answers if answer is not None]
        blocks = [link.last_block for link in links]
        if len(blocks) == 2 and all(one and one.pulse_seconds >= full_s for one in blocks):
            return
        time.sleep(0.2)
    raise SystemExit(f"no block of {full_s:g} s within {timeout_s:g} s")


def lag(folder: Path) -> dict[str, list[float]]:
    """Ask both relays again and again; return how long the answers took, rising."""
    took_s: dict[str, list[float]] = {ALICE: [], BOB: []}
    begin_s = time.monotonic()
    while time.monotonic() < begin_s + LAG_WINDOW_S:
        for relay, times in took_s.items():
            answer = ask(folder, relay)
            if answer is None:
                raise SystemExit(f"{relay} does not answer any more")
            times.append(answer.took_s)
        time.sleep(ASK_EVERY_S)
    return {relay: sorted(times) for relay, times in took_s.items()}


def measure(folder: Path, seconds: float) -> None:
    pids = processes(folder)
    before = {name: usage(pid) for name, pid in pids.items()}
    begin_s = time.monotonic()
    time.sleep(seconds)
    after = {name: usage(pid) for name, pid in pids.items()}
    window_s = time.monotonic() - begin_s
    took_s = lag(folder)
    last = ask(folder, BOB)
    assert last is not None
    link = last.snapshot.links[0]
    rate_hz = link.click_rate or 0.0
    print(
        f"{window_s:.0f} s at {rate_hz / 1e6:.3f} Mclick/s, {link.secret_bits_per_s or 0:.0f} "
        f"secret bit/s, state {link.state}, {link.n_blocks_void} blocks void"
    )
    print(
        f"{'':11s} {'CPU':>7s} {'ns/click':>9s} {'loop':>6s} {'workers':>8s} {'goal':>6s} "
        f"{'wakeups/s':>9s} {'RSS':>7s} {'peak':>7s}  status answers: median, 99 %, longest"
    )
    for name in (LAB, BOB, ALICE):
        row(name, before[name], after[name], window_s, rate_hz, took_s.get(name, []))


def row(
    name: str, before: Usage, after: Usage, window_s: float, rate_hz: float, took_s: list[float]
) -> None:
    """Print one process: CPU a click, of it the loop's and the workers', over its goal."""
    cpu_s = after.cpu_s - before.cpu_s
    loop_s = after.loop_cpu_s - before.loop_cpu_s
    per_click = 1e9 / (rate_hz * window_s) if rate_hz else 0.0
    print(
        f"{name:11s} {100 * cpu_s / window_s:5.1f} % {cpu_s * per_click:9.1f}"
        f" {loop_s * per_click:6.1f} {(cpu_s - loop_s) * per_click:8.1f}"
        f" {cpu_s * per_click / GOAL_NS[name]:4.1f} x"
        f" {(after.n_wakeups - before.n_wakeups) / window_s:9.0f}"
        f" {after.rss_mb:4.0f} MB {after.peak_mb:4.0f} MB",
        end="",
    )
    if took_s:
        median_s, late_s = took_s[len(took_s) // 2], took_s[int(0.99 * len(took_s))]
        print(f"  {1e3 * median_s:.1f}, {1e3 * late_s:.1f}, {1e3 * took_s[-1]:.1f} ms", end="")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", type=Path, help="folder of a demonstration that runs")
    parser.add_argument("--seconds", type=float, default=32.0)
    parser.add_argument("--km", type=float, default=76.0, help="of fibre: 76 are 250 kclick/s")
    parser.add_argument("--pulse-mhz", type=float, default=100.0)
    options = parser.parse_args()
    if options.dir is not None:
        measure(options.dir, options.seconds)
        return
    plan = LightPlan()
    frame_s = plan.frame_pulses / (1e6 * options.pulse_mhz)
    full_s, ramp_s = max(plan.ramp_frames) * frame_s, sum(plan.ramp_frames) * frame_s
    with demonstration(ramp_s, options.km, options.pulse_mhz) as folder:
        wait_for_full_blocks(folder, full_s, START_TIMEOUT_S + ramp_s)
        measure(folder, options.seconds)


if __name__ == "__main__":
    main()
