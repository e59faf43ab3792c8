"""Checks of the host: dice, swap, core dumps, clock."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from qkdd.cli.doctor.finding import Finding, ok, trouble, warning

PROC = Path("/proc")
FULL_POOL_BITS = 256
"""What entropy_avail says when the kernel's generator is seeded (random(4), Linux 5.18)."""
MEMLOCK_WANTED_BYTES = 16 * 1024 * 1024
HONOURS_LIMIT = ("systemd-coredump", "apport")
"""Programs behind a core pattern that drop the dump of a process whose core limit is 0."""
CLOCK_WARNING_S, CLOCK_TROUBLE_S = 0.05, 0.3
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES = 1024
"""More than struct timex has anywhere; all zero asks and sets nothing."""


def check_host(pid: int | None, proc: Path = PROC) -> Iterator[Finding]:
    """Yield one finding each; ``pid`` is the running daemon's, if there is one."""
    yield entropy(proc)
    yield swap(pid, proc)
    yield core_dumps(pid, proc)
    yield clock()


def entropy(proc: Path = PROC) -> Finding:
    """Look whether the kernel's generator is seeded; that its bits are good nobody sees here."""
    try:
        os.getrandom(32, os.GRND_NONBLOCK)
        bits = int((proc / "sys/kernel/random/entropy_avail").read_text())
    except BlockingIOError:
        return trouble("entropy", "the kernel's generator is not seeded", "wait, or add a source")
    except (OSError, ValueError) as error:
        return warning("entropy", f"cannot tell: {error}", "look at /proc/sys/kernel/random")
    if bits < FULL_POOL_BITS:
        return warning("entropy", f"{bits} bit in the kernel's pool", "a hardware source; rngd")
    return ok("entropy", "the kernel's generator is seeded")


def swap(pid: int | None, proc: Path = PROC) -> Finding:
    """Key must not reach a swap device: none is there, or the daemon may lock its memory."""
    devices = [line.split()[0] for line in _lines(proc / "swaps")[1:]]
    if not devices:
        return ok("swap", "none")
    shown = ", ".join(devices)
    limit = None if pid is None else _limit(proc, pid, "Max locked memory")
    if limit is not None and (limit == "unlimited" or int(limit) >= MEMLOCK_WANTED_BYTES):
        return ok("swap", f"on {shown}; the daemon may lock {limit} bytes of key")
    return warning(
        "swap",
        f"on {shown}" + (f"; the daemon may lock only {limit} bytes" if limit else ""),
        "swapoff, or LimitMEMLOCK=64M and MemorySwapMax=0 in the unit",
    )


def core_dumps(pid: int | None, proc: Path = PROC) -> Finding:
    """The daemon sets its core limit to 0; a program behind a pipe is started all the same."""
    limit = None if pid is None else _limit(proc, pid, "Max core file size")
    if limit not in (None, "0"):
        return trouble(
            "core dumps", f"the daemon's core limit is {limit}", "LimitCORE=0; report it"
        )
    pattern = "".join(_lines(proc / "sys/kernel/core_pattern")[:1])
    if pattern.startswith("|") and not any(name in pattern for name in HONOURS_LIMIT):
        program = pattern[1:].split()[0] if pattern[1:].split() else "nothing"
        return warning(
            "core dumps",
            f"the kernel pipes them to {program}, whatever the limit",
            "sysctl kernel.core_pattern=core",
        )
    return ok("core dumps", "off for the daemon")


def clock(
    chrony: Callable[[], str | None] | None = None, kernel: Callable[[], int] | None = None
) -> Finding:
    """Ask chrony if it is there, else the kernel: certificates and epochs need the right time."""
    said = (chrony or _chrony)()
    if said is None:
        if (kernel or _adjtimex)() == TIME_ERROR:
            return warning("clock", "the kernel says: not synchronised", "apt install chrony")
        return ok("clock", "synchronised, says the kernel; by how much only chrony would say")
    fields = said.strip().split(",")  # chronyc(1), tracking, with -c
    try:
        offset_s, leap = abs(float(fields[4])), fields[13]
    except (IndexError, ValueError):
        return warning("clock", f"chronyc says {said.strip()[:80]!r}", "systemctl status chrony")
    if leap == "Not synchronised":
        return trouble("clock", "chrony is not synchronised", "chronyc sources")
    text = f"{1000 * offset_s:.3f} ms off, says chrony"
    if offset_s > CLOCK_TROUBLE_S:
        return trouble("clock", text, "chronyc sources; chronyc makestep")
    if offset_s > CLOCK_WARNING_S:
        return warning("clock", text, "chronyc sources")
    return ok("clock", text)


def _chrony() -> str | None:
    program = shutil.which("chronyc")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  fixed words
            [program, "-c", "tracking"], capture_output=True, text=True, timeout=5
        )
    except subprocess.TimeoutExpired:
        return "no answer within 5 s"
    return done.stdout if done.returncode == 0 else None  # installed, and not running


def _adjtimex() -> int:
    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))


def _limit(proc: Path, pid: int, name: str) -> str | None:
    """Read a soft limit of a process from /proc/PID/limits; None if it cannot be read."""
    for line in _lines(proc / str(pid) / "limits"):
        if line.startswith(name):
            return line[len(name) :].split()[0]
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
