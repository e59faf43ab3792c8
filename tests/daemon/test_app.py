"""The daemon's start says what is wrong, and a store in trouble for a moment does not end it."""

import socket
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from qkdd.cli.__main__ import main
from tests.daemon.relay_files import relay_file


def qkdd(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "qkdd.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_link_without_pre_shared_key_is_named_and_not_traced(tmp_path: Path) -> None:
    done = qkdd("run", str(relay_file(tmp_path)))
    assert done.returncode == 1
    assert "Error: link a-b has no pre-shared key: install one first" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named_and_not_traced(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = relay_file(tmp_path, delivery=f"127.0.0.1:{port}")
        psk = tmp_path / "psk"
        for words in (["make", str(psk)], ["install", str(config), "a-b", str(psk)]):
            assert CliRunner().invoke(main, ["psk", *words]).exit_code == 0
        done = qkdd("run", str(config))
    assert done.returncode == 1
    assert "already in use" in done.stderr
    assert "Traceback" not in done.stderr
