"""Whatever is wrong with what a command is given: one line that names it, and the status said."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result

from qkdd.cli.__main__ import COMMANDS
from qkdd.config import MAX_SOCKET_BYTES, mistakes
from tests.cli.commands import run
from tests.daemon.relay_files import relay_file

OF_A_RELAY = (
    ("check",),
    ("status",),
    ("status", "--json"),
    ("reload",),
    ("safe",),
    ("top", "--once"),
    ("audit", "verify"),
    ("store", "digest"),
    ("zeroise", "--yes"),
)
OF_A_NETWORK = (("plan",), ("trunk",))
NOT_THERE = "No such file or directory"


def one_line(done: Result) -> str:
    """The reason, which is the one line on stderr."""
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.splitlines()
    assert "[Errno" not in line
    return line


@pytest.mark.parametrize("words", OF_A_RELAY + OF_A_NETWORK, ids=" ".join)
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    for content, said in (
        (None, NOT_THERE),
        (b"\xff\xfe\0", "byte 0 is no UTF-8 text"),
        (b"a = ", "is not TOML"),
    ):
        file = tmp_path / f"{len(said)}.toml"
        if content is not None:
            file.write_bytes(content)
        done = run(*words, file)
        shown = one_line(done) if words != ("check",) else done.stdout
        assert (done.exit_code, said in shown, str(file) in shown) == (1, True, True), shown


@pytest.mark.parametrize("words", [*OF_A_RELAY, *OF_A_NETWORK, ("run",)], ids=" ".join)
def test_a_folder_or_no_file_at_all_is_wrong_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(*words, tmp_path).exit_code == 2
    assert run(*words).exit_code == 2
    assert run(*words, "a", "b", "c").exit_code == 2
    assert run(*words, "--colour", "a").exit_code == 2


def test_the_daemon_without_a_configuration_says_so_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    words = [sys.executable, "-P", "-m", "qkdd.cli", "run", str(file)]
    done = subprocess.run(words, capture_output=True, text=True)
    said = f"Error: cannot read {file}: {NOT_THERE}\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, said, "")


@pytest.mark.parametrize("words", [("status",), ("reload",), ("top", "--once")], ids=" ".join)
def test_a_relay_that_does_not_run_is_said_with_the_place_where_it_was_asked(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    line = one_line(run(*words, relay_file(tmp_path)))
    assert line == f"Error: no relay answers at {tmp_path / 'qkdd.sock'}: {NOT_THERE}"


def test_one_mistake_is_one_line_and_several_are_counted(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    text = config.read_text()
    config.write_text(text.replace("[store]", "[store]\nkey_size_bits = 3"))
    assert one_line(run("status", config)).startswith(f"Error: {config}: store.key_size_bits: ")
    config.write_text(text.replace("[store]", "[store]\nkey_size_bits = 3\ncolour = 1"))
    first, *others = run("status", config).stderr.splitlines()
    assert (first, len(others)) == (f"Error: {config}: 2 mistakes", 2)


def test_a_socket_whose_path_is_too_long_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    longest = MAX_SOCKET_BYTES - len(os.fsencode(tmp_path)) - 1
    for n_bytes, n_mistakes in ((longest, 0), (longest + 1, 1)):
        line = f'[node]\nstatus_socket = "{"s" * n_bytes}"'
        other = tmp_path / "other.toml"
        other.write_text(config.read_text().replace("[node]", line))
        found = mistakes(other)
        assert len(found) == n_mistakes, found
    assert f"{MAX_SOCKET_BYTES + 1} bytes, at most {MAX_SOCKET_BYTES} are allowed" in found[0]


def test_an_audit_log_that_is_not_there_yet_and_a_hash_that_is_none(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    assert "the relay makes it at its first start" in one_line(run("audit", "verify", config))
    for head in ("", "abc", "g" * 64):
        done = run("audit", "verify", config, "--head", head)
        assert (done.exit_code, "64 digits of 0-9 a-f" in done.stderr) == (2, True)


def test_nobody_at_the_keyboard_destroys_nothing(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    before = {path.name for path in tmp_path.rglob("*")}
    done = run("zeroise", config)
    assert done.exit_code == 1
    assert "nothing is destroyed; --yes does it" in done.stderr
    assert {path.name for path in tmp_path.rglob("*")} == before


HANGS = """
import socket, sys, time
asked = socket.socket(socket.AF_UNIX)
asked.bind(sys.argv[1])
asked.listen(0)
print("listens", flush=True)
time.sleep(600)
"""


def test_a_relay_that_hangs_while_others_wait_for_it_is_killed_all_the_same(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    path = tmp_path / "qkdd.sock"
    with subprocess.Popen(
        [sys.executable, "-c", HANGS, str(path)], stdout=subprocess.PIPE, text=True
    ) as relay:
        try:
            assert relay.stdout is not None
            assert relay.stdout.readline() == "listens\n"
            waiting = []
            while True:
                asking = socket.socket(socket.AF_UNIX)
                asking.setblocking(False)
                waiting.append(asking)
                try:
                    asking.connect(str(path))
                except BlockingIOError:
                    break
            assert run("safe", config).exit_code == 0  # a receiver: nothing to darken
            done = run("zeroise", "--yes", config)
            assert done.exit_code == 0, done.output
            assert "does not answer" in done.stdout
            assert relay.wait(5) == -9
            for one in waiting:
                one.close()
        finally:
            relay.kill()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_says_in_a_whole_sentence_what_it_does(command: str) -> None:
    (line,) = [line for line in run("--help").stdout.splitlines() if line.split()[:1] == [command]]
    assert not line.endswith("...")
    helped = run(command, "--help").stdout
    assert helped.startswith(f"Usage: qkdd {command} ")
    for option in helped.partition("Options:")[2].splitlines():
        words = option.split()
        if words and words[0].startswith("--"):
            assert len(words) > 2, f"{option}: without a word of what it is"
