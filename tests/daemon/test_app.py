"""The daemon's start says what is wrong, and a store in trouble for a moment does not end it."""

import datetime
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from qkdd.base.errors import ConfigError, StoreError
from qkdd.base.ids import LinkId
from qkdd.cli.__main__ import main
from qkdd.daemon import app
from qkdd.daemon.app import LinkAccount, read_secret
from qkdd.net.pki import Authority
from tests.daemon.desk_pair import LINK, desk_pair

NOW = datetime.datetime.now(datetime.UTC)


def relay_file(folder: Path, *, delivery: str = "127.0.0.1:0") -> Path:
    Authority.open_or_create(folder, now=NOW, days=1).issue_node("a", now=NOW, days=1)
    (folder / "master.key").write_bytes(os.urandom(32))
    (folder / "master.key").chmod(0o600)
    config = folder / "a.toml"
    config.write_text(f"""
[node]
id = "a"
certificate = "a.pem"
key = "a.key"
ca = "ca.pem"

[store]
path = "a.db"
master_key = "master.key"

[delivery]
listen = "{delivery}"

[[links]]
name = "a-b"
peer = "b"
role = "receiver"
connect = "127.0.0.1:9"
receiver.tagger = {{ model = "s15-tdc1", resource = "tcp://127.0.0.1:9" }}
""")
    return config


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


async def test_a_commit_that_fails_for_a_moment_does_not_end_the_relay(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    accounts: dict[LinkId, LinkAccount] = {LINK: LinkAccount({}, 0)}
    async with desk_pair(tmp_path) as pair, trio.open_nursery() as nursery:
        await nursery.start(app._gather, pair.alice.service, accounts)
        accounts[LINK].bits = {}
        pair.alice.store._db._failed = "a fault"
        await trio.sleep(1.5)
        assert not accounts[LINK].bits
        pair.alice.store._db._failed = None
        await trio.sleep(1.0)
        assert accounts[LINK].bits["pre_shared"] == 8 * 32 * 1024 - 256
        nursery.cancel_scope.cancel()


async def test_a_store_that_cannot_tell_its_account_at_the_start_ends_the_start(
    tmp_path: Path,
) -> None:
    unknown = LinkId("unknown")
    async with desk_pair(tmp_path) as pair, trio.open_nursery() as nursery:
        with pytest.raises(StoreError, match="install one first"):
            await nursery.start(app._gather, pair.alice.service, {unknown: LinkAccount({}, 0)})


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o666])
def test_a_key_file_open_to_others_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(bytes(32))
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        read_secret(path, 32, "master key")
    path.chmod(0o440)
    read_secret(path, 32, "master key").wipe()
