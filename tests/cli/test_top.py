"""The live screen, and a running relay as all of the operator's eyes see it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from qkdd.cli.__main__ import main
from qkdd.cli.ports import lasting_ports
from qkdd.cli.top import screen
from qkdd.daemon.snapshot import RelaySnapshot
from tests.daemon.relay_files import install_psk, relay_file
from tests.daemon.test_metrics import samples, snapshot

QKDD = [sys.executable, "-P", "-m", "qkdd.cli"]


def shown(answer: RelaySnapshot | str) -> list[str]:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(screen(answer))
    console.file.close()
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_screen_shows_a_line_per_link_stock_first_and_reasons_below() -> None:
    link = snapshot(
        hours_of_stock=1.234,
        secret_bits_per_s=123456.7,
        qber_calibration_key=0.0123,
        n_blocks=9,
        n_blocks_without_key=2,
        n_blocks_void=1,
        auth_left_bits=8 * 1024 * 100,
        reason="no light found",
        detectors=None,
    )
    _, head, row, _, lanes, lane, reason = shown(link)
    assert head.split()[:3] == ["stock", "link", "state"]
    assert row.split()[:9] == ["1.23", "h", "a-b", "<-", "b", "light", "123,457", "0", "1.23"]
    assert row.split()[9:] == ["%", "50.00", "%", "7/2/1", "100", "KiB"]
    assert reason == "a-b: no light found"
    assert lanes.split()[:3] == ["ready", "lane", "state"]
    assert lane.split() == ["0.50", "h", "far", "numpy", "-", "numpy", "up", *["7"] * 6]


def test_detectors_in_trouble_are_told_of_below_even_while_the_reason_is_another() -> None:
    said = shown(snapshot(reason="no light found"))
    assert said[-1] == "a-b: numpy: numpy"  # their state and reason, as the snapshot fills them
    silent = shown(snapshot(reason="numpy"))
    assert silent[-1] == "a-b: numpy"


def test_what_is_unknown_is_a_dash() -> None:
    unknown = snapshot(hours_of_stock=None, secret_bits_per_s=None, qber_calibration_test=None)
    row = shown(unknown)[2]
    assert row.startswith("- ")
    assert row.count(" - ") >= 1


def test_no_reason_can_speak_in_the_screens_own_markup() -> None:
    assert shown(snapshot(reason="[bold]x[/bold]", detectors=None))[-1] == "a-b: [bold]x[/bold]"


def test_a_relay_that_does_not_answer_is_said_and_waited_for(tmp_path: Path) -> None:
    assert shown("no relay answers at x") == ["no relay answers at x; asked again and again"]
    done = CliRunner().invoke(main, ["top", str(relay_file(tmp_path)), "--once"])
    assert done.exit_code == 1
    assert "no relay answers" in done.stderr


def test_a_running_relay_is_seen_by_top_doctor_and_prometheus(tmp_path: Path) -> None:
    (port,) = lasting_ports(1)
    config = relay_file(tmp_path, more=f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    install_psk(config)
    relay = subprocess.Popen([*QKDD, "run", str(config)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while (once := CliRunner().invoke(main, ["top", str(config), "--once"])).exit_code:
            assert time.monotonic() < deadline, once.output
            time.sleep(0.05)
        assert "a-b <- b" in once.stdout
        said = json.loads(CliRunner().invoke(main, ["doctor", str(config), "--json"]).stdout)
        found = {one["check"]: one for one in said["findings"]}
        assert found["relay"]["text"].startswith(f"pid {relay.pid}")
        assert found["core dumps"]["level"] != "trouble"  # its limit is read, and is 0
        assert found["link"]["text"].startswith("a-b is down")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            metrics = samples(page.read().decode())
        assert metrics["qkdd_link_auth_key_bits"][0][1] > 0
        live_screen(config)
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(10) == 0
    finally:
        relay.kill()
        relay.wait()


def live_screen(config: Path) -> None:
    """Look at the live screen on a terminal of its own until the link is there, then press ^C."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    top = subprocess.Popen(
        ["env", "--default-signal=INT", *QKDD, "top", str(config), "--every", "0.1"],
        stdout=theirs,
        env=environment,
    )
    os.close(theirs)
    try:
        text = b""
        while text.count(b"a-b <- b") < 3:
            assert select.select([ours], [], [], 10)[0], text
            text += os.read(ours, 65_536)
        top.send_signal(signal.SIGINT)
        drain(ours, time.monotonic() + 5)  # whoever cannot write cannot end
        assert top.wait(5) == 0
    finally:
        top.kill()
        top.wait()
        os.close(ours)


def drain(terminal: int, deadline: float) -> None:
    """Read until nobody writes any more."""
    with suppress(OSError):  # EIO: the other end is closed
        while time.monotonic() < deadline and select.select([terminal], [], [], 5)[0]:
            os.read(terminal, 65_536)
