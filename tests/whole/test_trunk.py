"""``qkdd trunk`` as an operator starts it: relays, light, applications, and a clean end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FILE = Path(__file__).with_name("chain3.toml")
COMMAND = (sys.executable, "-P", "-m", "qkdd.cli", "trunk", str(FILE))


def test_three_relays_give_equal_keys_at_the_ends_of_every_lane(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    done = subprocess.run(
        [*COMMAND, "--seconds", "28", "--labs", "1", "--json", "--dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=90,
    )
    summary = json.loads(done.stdout)
    assert summary["ok"], (summary, done.stderr)
    assert done.returncode == 0
    assert [lane["id"] for lane in summary["lanes"]] == ["a-b", "a-c"]
    for lane in summary["lanes"]:
        assert lane["delivered"] >= 3
        assert lane["ready"] is not None
        assert (lane["missed"], lane["unequal"], lane["twice"]) == (0, 0, 0)
    for link in summary["links"]:
        assert link["blocks"] >= 2
        assert link["stock_bits"] > 0
        assert 0.002 < link["qber"] < 0.02
    assert summary["usage"]["relays"]["processes"] == 3
    assert summary["usage"]["relays"]["cpu_s"] > 0
    assert not living_in(folder)


def test_an_interrupt_ends_everything_and_is_no_success(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    running = subprocess.Popen(
        [*COMMAND, "--relays", "2", "--labs", "1", "--json", "--dir", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: (folder / "b" / "qkdd.sock").exists())
    assert living_in(folder)
    running.send_signal(signal.SIGINT)
    told, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "stopped by a signal" in json.loads(told)["reason"]
    assert not living_in(folder)


def until(fact, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def living_in(folder: Path) -> list[str]:
    """Processes whose working folder is below ``folder``."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                where = os.readlink(process / "cwd")
            except OSError:
                continue
            if Path(where).is_relative_to(folder):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
