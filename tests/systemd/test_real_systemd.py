"""A real systemd, booted in a container: start, credential, watchdog, kill, clean stop."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NEEDED = ("systemd-nspawn", "systemd-creds", "unshare", "mount")
NOT_BOOTED = 77


def missing() -> str | None:
    """Say what this machine lacks; None if it may be able to boot a container."""
    if os.geteuid() != 0:
        return "not root"
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt install systemd-container"
    return None


@pytest.mark.slow
def test_the_service_lives_as_the_operators_document_says(tmp_path: Path) -> None:
    if (reason := missing()) is not None:
        pytest.skip(reason)
    arguments = [
        str(tmp_path),
        str(ROOT),
        sysconfig.get_path("platlib"),
        sys.base_prefix,
        f"python{sys.version_info.major}.{sys.version_info.minor}",
    ]
    done = subprocess.run(
        ["unshare", "--mount", "sh", str(HERE / "boot.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == NOT_BOOTED or not done.stdout:
        pytest.skip(f"no container boots here: {done.stderr[-300:]}")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    expected = {
        "active": "active",
        "status": "a-b down (all attempts to connect to 127.0.0.1:9 failed)",
        "user": "qkdd",
        "capabilities": "0000000000000000",
        "seccomp": "2",
        "core_limit": "0",
        "answers": "relay a",
        "reload": "active same",
        "bad_reload": "refused active",
        "other_pid": "yes",
        "after_stop": "inactive success",
        "safe_runs": "3",
        "priority": "seen",
        "without_credential": "refused",
        "finished": "yes",
    }
    assert {name: found.get(name) for name in expected} == expected, done.stdout
    assert "watchdog" in found["result_of_hang"]
    assert "Aborted" in found["traced"]
    assert "timeout" not in found
