"""The processes of the demonstration: started, watched, measured, stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from qkdd.base.errors import QkdError

LAB_START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
LOG_TAIL_LINES = 15
MAX_READY_BYTES = 64 * 1024


class ProcessDied(QkdError):
    """A process of the demonstration ended before its time."""


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float
    rss_mb: float


class Child:
    """One process; its stderr is its log file."""

    def __init__(self, name: str, process: trio.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log
        self.usage = Usage(0.0, 0.0)

    def measure(self) -> None:
        """Read CPU time and the highest resident memory, as long as it lives.

        One that has ended, but was not waited for yet, has no memory: its last figures stay.
        """
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return
        ticks = int(stat[11]) + int(stat[12])
        peak_kb = status.partition("VmHWM:")[2].split()[:1]
        if peak_kb:
            self.usage = Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak_kb[0]) / 1024)

    def check(self) -> None:
        """Raise ProcessDied, with the end of its log, if it is gone."""
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            raise ProcessDied(
                f"{self.name} ended with status {code}; the end of {self.log}:\n"
                + "\n".join(f"  {line}" for line in tail)
            )

    async def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with trio.move_on_after(STOP_TIMEOUT_S, shield=True):
                await self.process.wait()
            if self.process.poll() is None:
                self.process.kill()
                with trio.CancelScope(shield=True):
                    await self.process.wait()


async def start(
    name: str,
    command: Sequence[str],
    folder: Path,
    *,
    piped: bool = False,
    own_session: bool = True,
) -> Child:
    """Start ``python COMMAND`` with its working folder and log in ``folder``.

    Ctrl-C at our terminal does not reach it: it has a process group of its own, or even a session.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as log_file:
        process = await trio.lowlevel.open_process(
            [sys.executable, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else log_file,
            stderr=log_file,
            start_new_session=own_session,
            process_group=None if own_session else 0,
        )
    return Child(name, process, log)


async def start_lab(lab: Path, name: str = "lab") -> tuple[Child, dict[str, dict[str, str]]]:
    """Start the laboratory; return it with link -> instrument -> resource string."""
    child = await start(name, ["-P", "-m", "drivers.sim", str(lab)], lab.parent, piped=True)
    try:
        line = await _first_line(child)
        ready = msgspec.json.decode(line)
        return child, ready["instruments"]
    except BaseException:
        await child.stop()
        raise


async def _first_line(child: Child) -> bytes:
    assert child.process.stdout is not None
    text = b""
    with trio.move_on_after(LAB_START_TIMEOUT_S):
        while b"\n" not in text and len(text) < MAX_READY_BYTES:
            received = await child.process.stdout.receive_some()
            if not received:
                await child.process.wait()
                child.check()
            text += received
        return text.partition(b"\n")[0]
    raise ProcessDied(f"the laboratory did not get ready within {LAB_START_TIMEOUT_S:g} s")


async def ask_status(path: Path) -> bytes | None:
    """Ask a relay for its snapshot; None while it does not answer."""
    try:
        stream = await trio.open_unix_socket(str(path))
    except OSError:
        return None
    text = b""
    async with stream:
        try:
            await stream.send_eof()
            while received := await stream.receive_some():
                text += received
        except trio.BrokenResourceError:
            return None  # it has just died
    return text or None
