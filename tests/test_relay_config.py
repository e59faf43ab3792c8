"""The relay's file: every mistake is named before anything starts; paths count from the file."""

import datetime
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from qkdd.base.errors import ConfigError
from qkdd.cli.__main__ import main
from qkdd.config import host_and_port, load, mistakes
from qkdd.net.pki import Authority

NOW = datetime.datetime.now(datetime.UTC)
TRANSMITTER = """
[[links]]
name = "a-b"
peer = "b"
role = "transmitter"
listen = "127.0.0.1:7001"

[links.transmitter]
laser = { model = "koheron-ctl200", resource = "serial:/dev/x", current_ma = 50.0 }
attenuator = { model = "agilent-8156a", resource = "GPIB0::28::INSTR", loss_db = 50.0 }
encoder = { model = "qmse-1", resource = "tcp://192.0.2.1:5300", key_file = "keys/board.key" }
"""
RECEIVER = """
[[links]]
name = "c-a"
peer = "c"
role = "receiver"
connect = "relay-c:7001"
receiver.tagger = { model = "s15-tdc1", resource = "serial:/dev/ttyACM0" }
"""
NODE = """
[node]
id = "a"
certificate = "a.pem"
key = "a.key"
ca = "ca.pem"

[store]
path = "a.db"
master_key = "keys/master.key"

[delivery]
"""


def written(folder: Path, text: str) -> Path:
    Authority.open_or_create(folder, now=NOW, days=1).issue_node("a", now=NOW, days=1)
    (folder / "keys").mkdir()
    for name in ("master.key", "board.key"):
        (folder / "keys" / name).write_bytes(os.urandom(32))
    config = folder / "a.toml"
    config.write_text(text)
    return config


def test_relative_paths_count_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, NODE + TRANSMITTER + RECEIVER)
    monkeypatch.chdir("/")
    relay = load(config)
    assert relay.store.master_key == tmp_path / "keys" / "master.key"
    assert relay.node.status_socket == tmp_path / "qkdd.sock"
    transmitter = relay.links[0].transmitter
    assert transmitter is not None
    assert transmitter.encoder.key_file == tmp_path / "keys" / "board.key"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    text = NODE.replace('"a.db"', '"/var/lib/qkdd/a.db"') + RECEIVER
    assert load(written(tmp_path, text)).store.path == Path("/var/lib/qkdd/a.db")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = written(tmp_path, NODE + TRANSMITTER)
    (tmp_path / "keys" / "board.key").unlink()
    (found,) = mistakes(config)
    assert found.startswith("links[0].transmitter.encoder.key_file: no such file")


def test_a_tagger_on_zeromq_is_no_mistake(tmp_path: Path) -> None:
    old = '"s15-tdc1", resource = "serial:/dev/ttyACM0"'
    new = '"idq-id1000", resource = "zmq://192.0.2.7:5555?dlt=127.0.0.1:6060"'
    assert old in RECEIVER
    assert mistakes(written(tmp_path, (NODE + RECEIVER).replace(old, new)), files=False) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "c-a"', 'name = "a-b"', "two links are called a-b"),
        ('peer = "c"', 'peer = "b"', "two links to b"),
        ('peer = "c"', 'peer = "a"', "link c-a: the peer is this relay itself"),
        ("relay-c:7001", "relay-c:70010", "port 70010 is above 65535"),
        ("127.0.0.1:7001", "127.0.0.1:99999", "port 99999 is above 65535"),
        ("[delivery]", '[delivery]\nlisten = "0.0.0.0:84430"', "port 84430 is above 65535"),
        ('connect = "relay-c:7001"', "", "give either connect or listen"),
        ('role = "receiver"', 'role = "transmitter"', "needs a table"),
        ("koheron-ctl200", "koheron", "laser model 'koheron' is not known; known: koheron-ctl200"),
        ("agilent-8156a", "hp", "attenuator model 'hp' is not known; known: agilent-8156a"),
        ("qmse-1", "qmse", "encoder model 'qmse' is not known; known: qmse-1"),
        ("s15-tdc1", "tdc", "time tagger model 'tdc' is not known; known: s15-tdc1"),
        ("tcp://192.0.2.1:5300", "192.0.2.1:5300", "resource '192.0.2.1:5300' is none of"),
        ("serial:/dev/ttyACM0", "/dev/ttyACM0", "resource '/dev/ttyACM0' is none of"),
        ('"s15-tdc1", resource = "serial:/dev/ttyACM0"', '"idq-id1000", resource = "tcp://h:1"',
         "resource 'tcp://h:1' is not zmq://HOST"),
        ('"s15-tdc1", resource = "serial:/dev/ttyACM0"',
         '"idq-id1000", resource = "zmq://h?edge=up"', "edge 'up' is out of range"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_a_mistake(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = NODE + TRANSMITTER + RECEIVER
    assert old in text
    (found,) = mistakes(written(tmp_path, text.replace(old, new)))
    assert words in found


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[links.light]\npulse_rate_hz = 200_000_000", "must exceed 3 ticks"),
        ("[links.light]\nramp_frames = [20, 65535]", "at most 15000000000"),
        ("[links.frames]\ngate_ps = 10_001", "exceeds"),
        ("[links.frames]\ndead_time_ps = 33_000", "the proof of security does not hold"),
        ("[links.proof]\nmu_uncertainty = 0.2\n[links.intensities]\nweak_mu = 0.4", "touch"),
        ("[links.proof]\neps_sec = nan", "eps_sec"),
        ("[links.proof]\nmu_uncertainty = nan", "mu_uncertainty"),
        ("[links.intensities]\nsignal_mu = nan", "signal_mu"),
        ("[links.intensities]\nsignal_mu = 0.19", "signal_mu"),
        ("[links.reconcile]\nmax_qber = nan", "max_qber"),
    ],
)
def test_light_that_proves_nothing_is_a_mistake(tmp_path: Path, table: str, words: str) -> None:
    (found,) = mistakes(written(tmp_path, NODE + RECEIVER + table))
    assert words in found


def test_check_names_every_mistake_and_load_refuses(tmp_path: Path) -> None:
    text = (NODE + RECEIVER).replace('id = "a"', 'id = "a b"\nhost = "x"')
    config = written(tmp_path, text)
    done = CliRunner().invoke(main, ["check", str(config)])
    assert done.exit_code == 1
    assert "node.host: unknown" in done.output
    assert "node.id: " in done.output
    assert done.output.rstrip().endswith("2 mistakes")
    with pytest.raises(ConfigError, match=r": 2 mistakes"):
        load(config)


def test_check_of_a_good_file_is_silent_about_mistakes(tmp_path: Path) -> None:
    config = written(tmp_path, NODE + TRANSMITTER + RECEIVER)
    done = CliRunner().invoke(main, ["check", str(config)])
    assert (done.exit_code, done.output) == (0, f"{config}: no mistake\n")


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("relay:7001", "relay", 7001), ("[::1]:7001", "::1", 7001), ("0.0.0.0:0", "0.0.0.0", 0)],
)
def test_an_address_is_host_and_port(address: str, host: str, port: int) -> None:
    assert host_and_port(address) == (host, port)


def test_a_tap_that_could_show_nothing_within_the_proofs_box_is_a_mistake(tmp_path: Path) -> None:
    tap = 'tap = { model = "thorlabs-pm100", resource = "tcp://x:1", power_w = 1e-4 }\n'
    (found,) = mistakes(written(tmp_path, NODE + TRANSMITTER + tap))
    assert "mu_uncertainty 0.0 must exceed the tap's own uncertainty 0.005" in found


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5_000])
def test_toml_that_is_nested_or_counted_without_an_end_is_refused_in_words(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="is not TOML"):
        load(path, files=False)
