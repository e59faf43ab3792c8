"""Logs: JSON with a priority under journald, and never a byte of key."""

import json
import subprocess
import sys

import pytest

from qkdd.base.secret import Secret
from qkdd.daemon.logs import refuse_bytes

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
