"""What may change while a relay runs, and what a status socket does with words."""

import socket
import threading
from pathlib import Path

import msgspec
import pytest
import trio

from qkdd.config import Relay, load
from qkdd.daemon.reload import differences, may_change
from qkdd.daemon.snapshot import RelaySnapshot
from qkdd.daemon.status_socket import MAX_WORD_BYTES, Answer, serve_status
from tests.daemon.relay_files import relay_file
from tests.daemon.test_metrics import snapshot


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return relay_file(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "name", "free"),
    [
        ('certificate = "a.pem"', 'certificate = "ca.pem"', "node.certificate", True),
        ('key = "a.key"', 'key = "ca.key"', "node.key", True),
        ('ca = "ca.pem"', 'ca = "ca.pem"\ncrl = "ca.pem"', "node.crl", True),
        ('id = "a"', 'id = "c"', "node.id", False),
        ('path = "a.db"', 'path = "b.db"', "store.path", False),
        ('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:1"', "delivery.listen", False),
        (
            'listen = "127.0.0.1:0"',
            'listen = "127.0.0.1:0"\nmax_sae_id_count = 2',
            "delivery.max_sae_id_count",
            True,
        ),
        ('"127.0.0.1:9"\n', '"127.0.0.1:8"\n', "links[0].connect", False),
        (
            'connect = "127.0.0.1:9"',
            'connect = "127.0.0.1:9"\nproof = { eps_sec = 1e-11 }',
            "links[0].proof.eps_sec",
            True,
        ),
        (
            'connect = "127.0.0.1:9"',
            'connect = "127.0.0.1:9"\nlight = { ramp_frames = [20, 41, 80, 160] }',
            "links[0].light.ramp_frames[1]",
            True,
        ),
    ],
)
def test_every_difference_is_named_and_only_files_and_delivery_may_differ(
    config: Path, old: str, new: str, name: str, free: bool
) -> None:
    before: Relay = load(config)
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    found = list(differences(before, load(config)))
    assert list(differences(before, before)) == []
    assert found == [name]
    assert may_change(name) == free


def said(path: Path, word: bytes, *, ends: bool = True) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(5)
        asking.connect(str(path))
        asking.sendall(word)
        if ends:
            asking.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := asking.recv(65_536):
            answer += piece
        return answer


async def test_a_word_is_a_command_and_silence_asks_for_the_snapshot(tmp_path: Path) -> None:
    path, words, now = tmp_path / "sock", [], snapshot()

    async def command(word: str) -> Answer:
        words.append((word, threading.get_ident()))
        return Answer(ok=True, text="done")

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_status, path, lambda: now, command)
        answer = await trio.to_thread.run_sync(said, path, b"reload\n")
        assert msgspec.json.decode(answer, type=Answer) == Answer(ok=True, text="done")
        assert words == [("reload", threading.get_ident())]
        for ends in (True, False):
            answer = await trio.to_thread.run_sync(lambda ends=ends: said(path, b"", ends=ends))
            assert msgspec.json.decode(answer, type=RelaySnapshot) == now
        await trio.to_thread.run_sync(said, path, b"\xff" * MAX_WORD_BYTES)
        assert [word for word, _ in words][1:] == ["�" * MAX_WORD_BYTES]
        nursery.cancel_scope.cancel()
