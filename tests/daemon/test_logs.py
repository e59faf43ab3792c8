"""Logs: JSON with a priority under journald, and never a byte of key."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qkdd.base.secret import Secret
from qkdd.daemon.logs import PatientStderr, refuse_bytes

LOGGER = """
import structlog
from qkdd.daemon.logs import configure_logs
configure_logs()
log = structlog.get_logger()
log.warning("block void", block_no=7, reason="QBER")
def fail():
    pad = b"super-secret-pad"
    raise ValueError("failed")
try:
    fail()
except ValueError:
    log.exception("bug")
"""


@pytest.mark.parametrize("field", [b"x", bytearray(b"x"), memoryview(b"x"), Secret(1)])
def test_a_field_that_could_be_key_is_refused(field: object) -> None:
    with pytest.raises(TypeError, match="never logged"):
        refuse_bytes(None, "info", {"event": "x", "key": field})


def test_json_lines_carry_the_priority_and_no_local_variables() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGGER], capture_output=True, text=True, check=True
    )
    warning, bug = done.stderr.splitlines()
    assert warning.startswith("<4>{")
    assert json.loads(warning[3:]) | {"timestamp": ""} == {
        "event": "block void",
        "block_no": 7,
        "reason": "QBER",
        "level": "warning",
        "timestamp": "",
    }
    assert bug.startswith("<3>{")
    assert json.loads(bug[3:])["exception"][0]["exc_type"] == "ValueError"
    assert "super-secret-pad" not in done.stderr


def test_a_line_that_cannot_be_written_is_counted_and_told_with_the_next(tmp_path: Path) -> None:
    full, good = (
        os.open("/dev/full", os.O_WRONLY),
        os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT),
    )
    try:
        stderr = PatientStderr(full)
        stderr.write("first\n")
        stderr.write("second\n")
        os.dup2(good, full)
        stderr.write("third\n")
        stderr.write("fourth\n")
    finally:
        os.close(full)
        os.close(good)
    assert (tmp_path / "log").read_text() == "[2 log lines lost] third\nfourth\n"


def test_logging_to_a_full_disk_raises_nothing() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", LOGGER], stderr=full, stdout=subprocess.PIPE)
    assert done.returncode == 0
