"""The unit holds what the operators' document promises, and systemd itself has no complaint."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qkdd.config import load
from qkdd.daemon.watchdog import QUIET_S
from tests.daemon.relay_files import relay_file

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "systemd/qkdd@.service"
LANES = ROOT / "systemd/lanes.conf"
MAX_EXPOSURE, MAX_EXPOSURE_WITH_LANES = 1.5, 1.7

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here: apt install systemd"
)


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60
    )


@needs_systemd
def test_systemd_finds_no_mistake_in_the_unit(tmp_path: Path) -> None:
    here = Path(sys.executable).parent / "qkdd"
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/qkdd/bin/qkdd", str(here)))
    done = analyze("verify", "--man=no", str(unit))
    assert done.returncode == 0, done
    assert "qkdd@" not in done.stderr, done
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSec=soon"))
    assert "Failed to parse" in analyze("verify", "--man=no", str(unit)).stderr


@needs_systemd
def test_systemd_rates_the_exposure_of_the_sandbox_as_promised() -> None:
    done = analyze("security", "--offline=true", str(UNIT))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done
    assert float(found[1]) <= MAX_EXPOSURE
    strict = analyze(
        "security", "--offline=true", f"--threshold={int(10 * MAX_EXPOSURE)}", str(UNIT)
    )
    assert strict.returncode == 0, strict


@needs_systemd
def test_the_drop_in_for_lanes_lets_the_relay_ask_the_kernel_for_its_clock(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text() + LANES.read_text())
    done = analyze("security", "--offline=true", str(unit))
    assert "adjtimex is allowed" in done.stdout, done
    assert re.search(r"ProtectClock=.*may write to the hardware clock", done.stdout), done
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) <= MAX_EXPOSURE_WITH_LANES
    assert "CAP_SYS_TIME" not in UNIT.read_text() + LANES.read_text().partition("[Service]")[2]


def test_the_unit_keeps_keys_out_of_dumps_and_swap_and_light_off_after_any_end() -> None:
    found = settings()
    assert found["LimitCORE"] == ["0"]
    assert found["MemorySwapMax"] == ["0"]
    assert found["MemoryDenyWriteExecute"] == ["yes"]
    assert found["Type"] == ["notify"]
    assert found["StateDirectory"] == ["qkdd/%i"]
    assert found["LoadCredentialEncrypted"] == ["master.key:/etc/qkdd/%i.master.key.cred"]
    (reload,) = found["ExecReload"]
    assert reload.split()[1:] == ["reload", "/etc/qkdd/%i.toml"]
    (start,), (stop_post,) = found["ExecStart"], found["ExecStopPost"]
    assert start.split()[1:] == ["run", "/etc/qkdd/%i.toml"]
    assert stop_post.split() == [start.split()[0], "safe", start.split()[2]]


def test_the_watchdog_waits_longer_than_a_loop_may_be_silent() -> None:
    assert float(settings()["WatchdogSec"][0]) > QUIET_S


def test_a_credential_is_found_where_systemd_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = relay_file(tmp_path)
    text = config.read_text().replace('"master.key"', '"$CREDENTIALS_DIRECTORY/master.key"')
    config.write_text(text)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert str(load(config, files=False).store.master_key) == "$CREDENTIALS_DIRECTORY/master.key"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load(config).store.master_key == tmp_path / "master.key"


MDWE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-P", "-c", sys.argv[1]])
"""
WORK = """
import mmap
import numpy as np
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    raise SystemExit("memory is writable and executable")
from qkdd.daemon.hardening import harden
from qkdd.daemon.kernels import kernel_backends
from qkdd.amplify.toeplitz import toeplitz_hash
import datetime, tempfile, pathlib, trio
from qkdd.net.pki import Authority
from qkdd.net.https import server_context
harden()
bits = np.ones(4096, np.uint8)
out = bytearray(32)
toeplitz_hash(bits, bytes(512), 256, out)
own_folder = tempfile.TemporaryDirectory()
folder = pathlib.Path(own_folder.name)
own = Authority.open_or_create(folder, now=datetime.datetime.now(datetime.UTC), days=1)
node = own.issue_node("a", now=datetime.datetime.now(datetime.UTC), days=1)
server_context(node.certificate, node.key, own.certificate)
trio.run(trio.to_thread.run_sync, kernel_backends)
own_folder.cleanup()
"""


def test_kernels_and_libraries_need_no_memory_that_is_writable_and_executable() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MDWE, WORK], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3): systemd's filter does it there")
    assert done.returncode == 0, done.stderr
