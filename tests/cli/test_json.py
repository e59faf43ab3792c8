"""``--json`` of the commands that check, reload and zeroise: one object, and the same status."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from qkdd.config import load
from qkdd.daemon.status_socket import Answer, read_answer
from qkdd.daemon.zeroise import key_files
from tests.cli.commands import run
from tests.daemon.relay_files import relay_file

NO_TEXT = b'{"ok":true,"text":"\xff"}'


def said(done: Result) -> dict[str, object]:
    """The one object on stdout."""
    (line,) = done.stdout.splitlines()
    return msgspec.json.decode(line, type=dict[str, object])


@contextmanager
def relay_that_says(path: Path, answer: bytes) -> Iterator[None]:
    """Somebody at a status socket who has one answer for one question."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(1024):
                pass
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            server.join(10)


def test_check_gives_each_mistake_and_the_status_of_the_words(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    done = run("check", "--json", config)
    assert (done.exit_code, done.stderr) == (0, "")
    assert said(done) == {"config": str(config), "mistakes": []}
    config.write_text(config.read_text().replace("[store]", "[store]\nkey_size_bits = 3\nred = 1"))
    done = run("check", "--json", config)
    assert (done.exit_code, done.stderr) == (1, f"Error: {config}: 2 mistakes\n")
    assert said(done) == {
        "config": str(config),
        "mistakes": run("check", config).stdout.splitlines(),
    }


@pytest.mark.parametrize("ok", [True, False])
def test_reload_gives_the_relays_answer_refused_or_not(tmp_path: Path, ok: bool) -> None:
    config = relay_file(tmp_path)
    answer = msgspec.json.encode(Answer(ok=ok, text="2 SAEs"))
    with relay_that_says(tmp_path / "qkdd.sock", answer):
        done = run("reload", "--json", config)
    assert said(done) == {"taken_over": ok, "text": "2 SAEs"}
    assert done.exit_code == (0 if ok else 1)
    assert done.stderr == ("" if ok else "Error: refused, all stays as it was: 2 SAEs\n")


def test_an_answer_that_is_no_text_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    with relay_that_says(tmp_path / "qkdd.sock", NO_TEXT):
        done = run("reload", config)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: the relay ended in the middle of its answer: ")


@given(st.binary(max_size=60) | st.just(NO_TEXT))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    """Else `qkdd zeroise` would end before it has killed the relay and destroyed its files."""
    with suppress(msgspec.DecodeError):
        read_answer(data)


def test_reload_of_no_relay_has_no_object(tmp_path: Path) -> None:
    done = run("reload", "--json", relay_file(tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: no relay answers at ")


def test_zeroise_gives_each_file_and_what_is_left(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    files = [str(path) for path in key_files(load(config, files=False))]
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"key")
    link.symlink_to(target)
    done = run("zeroise", "--json", "--yes", config)
    assert (done.exit_code, done.stderr) == (0, "")
    told = said(done)
    assert (told["relay"], told["left"]) == ("no relay runs here", [])
    there = {one["path"]: one["was_there"] for one in told["files"]}  # type: ignore[attr-defined]
    assert list(there) == files
    assert any(there.values())
    assert not any(Path(path).exists() for path in files)
    done = run("zeroise", "--json", "--yes", "--also", link, config)
    assert done.exit_code == 1
    told = said(done)
    (left,) = told["left"]  # type: ignore[misc]
    assert left.startswith(f"{link} (")
    assert done.stderr == f"Error: not destroyed: {left}\n"
    assert told["files"][-1]["trouble"]  # type: ignore[index]


def test_zeroise_that_asks_asks_beside_the_object(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    before = {path.name for path in tmp_path.rglob("*")}
    done = run("zeroise", "--json", config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Destroy all keys" in done.stderr
    assert {path.name for path in tmp_path.rglob("*")} == before
