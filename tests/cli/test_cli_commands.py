"""Commands say what they did and end with the status they promise; no error is a traceback."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from qkdd.daemon.snapshot import RelaySnapshot
from qkdd.daemon.status import LinkStatus
from qkdd.net.revocation import read_crls
from tests.cli.commands import run

CONFIG = """
[node]
id = "a"
certificate = "pki/a.pem"
key = "pki/a.key"
ca = "pki/ca.pem"

[store]
path = "a.db"
master_key = "master.key"

[delivery]

[[links]]
name = "a-b"
peer = "b"
role = "receiver"
connect = "127.0.0.1:9"
receiver.tagger = { model = "s15-tdc1", resource = "tcp://127.0.0.1:9" }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    assert run("pki", tmp_path / "pki", "--node", "a", "--sae", "alpha").exit_code == 0
    (tmp_path / "master.key").write_bytes(os.urandom(32))
    (tmp_path / "master.key").chmod(0o600)
    (tmp_path / "a.toml").write_text(CONFIG)
    return tmp_path / "a.toml"


def test_private_keys_are_their_owners_alone(config: Path) -> None:
    keys = sorted((config.parent / "pki").glob("*.key"))
    assert [key.name for key in keys] == ["a.key", "alpha.key", "ca.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_what_is_revoked_is_on_the_list_and_a_new_one_of_that_name_is_not(config: Path) -> None:
    folder = config.parent / "pki"
    old = x509.load_pem_x509_certificate((folder / "alpha.pem").read_bytes())
    done = run("pki", folder, "--revoke", "alpha", "--sae", "alpha")
    assert (done.exit_code, "ca.crl" in done.output) == (0, True)
    new = x509.load_pem_x509_certificate((folder / "alpha.pem").read_bytes())
    revoked = read_crls(folder / "ca.crl", folder / "ca.pem")
    assert {serial for _, serial in revoked.certificates} == {old.serial_number}
    assert new.serial_number != old.serial_number
    assert run("pki", folder, "--revoke", "nobody").exit_code == 1


def test_a_name_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    done = run("pki", tmp_path, "--node", "../a")
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_a_pre_shared_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    psk = tmp_path / "psk"
    assert run("psk", "make", psk).exit_code == 0
    key = psk.read_bytes()
    assert (len(key), stat.S_IMODE(psk.stat().st_mode)) == (64 * 1024, 0o600)
    again = run("psk", "make", psk)
    assert (again.exit_code, psk.read_bytes()) == (1, key)
    assert "File exists" in again.output


def test_installing_destroys_the_file_and_a_second_key_needs_rekey(config: Path) -> None:
    first, second = config.parent / "1", config.parent / "2"
    for psk in (first, second):
        run("psk", "make", psk)
    assert run("psk", "install", config, "a-b", first).exit_code == 0
    assert not first.exists()
    refused = run("psk", "install", config, "a-b", second)
    assert refused.exit_code == 1
    assert "has a pre-shared key" in refused.output
    assert second.exists()
    assert run("psk", "install", config, "a-b", second, "--rekey", "--keep").exit_code == 0
    assert second.exists()


def test_what_cannot_be_installed_is_refused_and_stays(config: Path) -> None:
    short = config.parent / "short"
    short.write_bytes(bytes(100))
    for words, said in (
        (("a-b", short), "100 bytes, must have 32768"),
        (("x-y", short), "no link 'x-y' in the configuration; known: a-b"),
        (("a-b", config.parent / "nowhere"), "No such file"),
    ):
        done = run("psk", "install", config, *words)
        assert done.exit_code == 1
        assert said in done.output
    assert short.exists()


LANES = """
[[lanes]]
id = "north"
route = ["a", "b"]

[[lanes]]
id = "far"
route = ["b", "a", "c"]
"""


def with_lanes(config: Path) -> Path:
    text = config.read_text().replace("[[links]]", "[[links]]\ncapacity_bits_per_s = 100_000")
    second = text[text.index("[[links]]") :].replace("a-b", "a-c").replace('"b"', '"c"')
    config.write_text(text + second.replace(":9", ":10") + LANES)
    return config


def test_an_end_to_end_key_is_installed_for_a_lane_under_a_name_to_compare(config: Path) -> None:
    with_lanes(config)
    first, second = config.parent / "1", config.parent / "2"
    for psk in (first, second):
        run("psk", "make", psk)
    done = run("psk", "install", config, "--lane", "north", first, "--keep")
    assert done.exit_code == 0
    name = done.output.partition("it is called ")[2][:16]
    assert bytes.fromhex(name)
    refused = run("psk", "install", config, "--lane", "north", second)
    assert (refused.exit_code, "has an end-to-end key" in refused.output) == (1, True)
    done = run("psk", "install", config, "--lane", "north", second, "--rekey")
    assert done.exit_code == 0
    assert name not in done.output
    assert not second.exists()
    again = run("psk", "install", config, "--lane", "north", first, "--rekey")
    assert name in again.output


def test_an_end_to_end_key_is_refused_where_it_does_not_belong(config: Path) -> None:
    with_lanes(config)
    psk, long = config.parent / "1", config.parent / "2"
    run("psk", "make", psk)
    long.write_bytes(bytes(1024 * 1024 + 1))
    for lane, file, said in (
        ("far", psk, "a is not an end of it; its key belongs to b and c alone"),
        ("south", psk, "no lane 'south' in the configuration; known: north, far"),
        ("north", long, "1048577 bytes, must have 32768 to 1048576"),
    ):
        done = run("psk", "install", config, "--lane", lane, file)
        assert done.exit_code == 1
        assert said in done.output
    assert psk.exists()
    for words in ((psk,), ("a-b", psk, "--lane", "north"), ("--lane", "north")):
        assert run("psk", "install", config, *words).exit_code == 2


def test_a_wrong_master_key_is_refused_by_name(config: Path) -> None:
    psk = config.parent / "psk"
    run("psk", "make", psk)
    run("psk", "install", config, "a-b", psk, "--keep")
    (config.parent / "master.key").write_bytes(os.urandom(32))
    done = run("psk", "install", config, "a-b", psk, "--rekey")
    assert (done.exit_code, "master key" in done.output) == (1, True)
    (config.parent / "master.key").write_bytes(os.urandom(31))
    done = run("store", "digest", config)
    assert (done.exit_code, "has 31 bytes, must have 32" in done.output) == (1, True)


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A relay that says ``answer`` to whoever asks."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        listening.listen(1)

        def say() -> None:
            stream, _ = listening.accept()
            with stream:
                stream.sendall(answer)

        thread = threading.Thread(target=say)
        thread.start()
        yield
        thread.join()
    path.unlink()


def snapshot() -> bytes:
    link = LinkStatus(name="a-b", peer="b", role="receiver", state="down", reason="no route")
    seen = link.snapshot(0.0, account={"stock": 9}, auth_left_bits=8, promised_bits_per_s=256.0)
    return msgspec.json.encode(
        RelaySnapshot(
            node="a",
            pid=7,
            uptime_s=1.0,
            wall_s=0.0,
            kernels={},
            entropy_failure=None,
            links=(seen,),
        )
    )


def test_status_without_a_relay_says_so(config: Path) -> None:
    done = run("status", config)
    assert (done.exit_code, "no relay answers at" in done.output) == (1, True)


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("n_bytes", [0, 20])
def test_status_of_a_relay_that_stops_in_mid_answer_says_so(
    config: Path, options: tuple[str, ...], n_bytes: int
) -> None:
    with answering(config.parent / "qkdd.sock", snapshot()[:n_bytes]):
        done = run("status", config, *options)
    assert (done.exit_code, "in the middle of its answer" in done.output) == (1, True)
    assert "Traceback" not in done.output
