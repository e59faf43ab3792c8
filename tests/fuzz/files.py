"""Files that an operator writes, or that a disk gives back: settings, keys, lists, logs."""

import datetime
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec

from drivers.sim.config import LabConfigError, read_lab
from drivers.sim.control import Answer, ControlRefused, answer_to
from hil.rig import read_rig
from qkdd.base import toml
from qkdd.base.audit_chain import ChainBroken, Head, follow, record_line
from qkdd.base.errors import ConfigError
from qkdd.base.ids import NodeId
from qkdd.config import Relay, load
from qkdd.daemon.secret_files import read_secret
from qkdd.net.pki import Authority
from qkdd.net.revocation import read_crls
from qkdd.net.trust import TrustFiles, check_certificate
from qkdd.network import read as network
from tests.drivers.sim.test_sim_config import LAB
from tests.fuzz.mutate import dictionary
from tests.fuzz.scratch import scratch
from tests.fuzz.target import Target
from tests.network.networks import CHAIN

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
TOML_WORDS = dictionary(
    ["[", "[[", "]]", "=", "{", "}", '"""', "'", "inf", "nan", "1e400", "0x", "."]
)


def file_target(
    name: str,
    seeds: tuple[bytes, ...],
    read: Callable[[Path], object],
    refusals: tuple[type[Exception], ...],
    *,
    words: tuple[bytes, ...] = (),
    slow: bool = False,
) -> Target:
    """Write each input to a file of its own name, and have it read."""

    def feed(data: bytes) -> bool:
        path = folder / "file.toml"
        path.write_bytes(data)
        try:
            read(path)
        except refusals:
            return False
        return True

    folder = scratch(feed)
    return Target(name, "file", seeds, feed, words=words, max_bytes=16_384, slow=slow)


def table_target(
    name: str, texts: tuple[str, ...], mistakes: Callable[[object], list[str]]
) -> Target:
    """Give a table, as TOML is read, to what names the mistakes in it; no mistake, no error."""

    def feed(data: bytes) -> bool:
        try:
            table = json.loads(data)
        except (ValueError, RecursionError):
            return False
        return not (mistakes(table) if isinstance(table, dict) else ["no table"])

    seeds = tuple(json.dumps(tomllib.loads(text)).encode() for text in texts)
    return Target(name, "file", seeds, feed, "json", max_bytes=32_768, slow=True)


def relay_mistakes(table: object) -> list[str]:
    found = list(toml.mistakes(table, Relay))
    if not found:
        toml.convert(table, Relay)
    return found


def network_mistakes(table: object) -> list[str]:
    return network.mistakes(table)


def settings() -> list[Target]:
    relays = tuple(path.read_text() for path in sorted((CONFIGS / "pair").glob("relay-*.toml")))
    labs = (LAB.encode(),)
    rigs = tuple(path.read_bytes() for path in sorted((ROOT / "hil").rglob("*.toml")))
    written = tuple(text.encode() for text in relays)
    return [
        file_target(
            "relay-toml",
            written,
            lambda path: load(path, files=False),
            (ConfigError,),
            words=TOML_WORDS,
            slow=True,
        ),
        table_target("relay-table", relays, relay_mistakes),
        file_target(
            "network-toml", (CHAIN.encode(),), network.load, (ConfigError,), words=TOML_WORDS
        ),
        table_target("network-table", (CHAIN,), network_mistakes),
        file_target("lab-toml", labs, read_lab, (LabConfigError,), words=TOML_WORDS, slow=True),
        file_target("rig-toml", rigs, read_rig, (msgspec.DecodeError,), words=TOML_WORDS),
    ]


def secret_file() -> Target:
    def read(path: Path) -> None:
        read_secret(path, 32, "master key", guarded=False).wipe()

    return file_target("secret-file", (bytes(range(32)),), read, (ConfigError,))


def audit_log() -> Target:
    """A line more, less or changed is found, unless what is left is a whole beginning."""
    head, lines = Head(), []
    for number in range(4):
        line, head = record_line(head, f"2026-06-0{number + 1}T00:00:00Z", "event", {"n": "v"})
        lines.append(line)
    true = b"".join(lines)

    def feed(data: bytes) -> bool:
        try:
            end = follow(data.splitlines(keepends=True))
        except ChainBroken:
            return False
        assert data.startswith(b"".join(lines[: end.n])), "a chain that nobody has written"
        return end.n > 0

    return Target("audit-log", "file", (true,), feed, words=tuple(lines))


def certificates() -> list[Target]:
    owner = _Owner()
    folder = owner.folder = scratch(owner)
    authority = Authority.open_or_create(folder, now=NOW, days=30)
    issued = [authority.issue_node(name, now=NOW, days=1) for name in "ab"]
    crl = authority.revoke([issued[0].certificate], now=NOW, days=1).read_bytes()
    ca = authority.certificate

    def check(path: Path) -> None:
        assert owner.folder == folder
        check_certificate(TrustFiles(path, issued[1].key, ca), NodeId("b"), NOW)

    def lists(path: Path) -> None:
        assert owner.folder == folder
        read_crls(path, ca)

    pem = issued[1].certificate.read_bytes()
    return [
        file_target("crl", (crl,), lists, (ConfigError,)),
        file_target("certificate-file", (pem,), check, (ConfigError,)),
    ]


class _Owner:
    folder: Path


def lab_order() -> Target:
    """The laboratory's control socket: any line is answered with a line."""
    seeds = (
        b'{"type":"dark","link":"a-b","seconds":2.5}',
        b'{"type":"attack","attack":{"kind":"time-shift","fraction":0.5},"links":["a-b"]}',
        b'{"type":"status"}',
    )
    done = Answer(lab_s=1.0, cpu_s=0.5, links=())

    def obey(order: object) -> Answer:
        if getattr(order, "link", "a-b") != "a-b":
            raise ControlRefused("no such link")
        return done

    def feed(data: bytes) -> bool:
        return "error" not in msgspec.json.decode(answer_to(data, obey))

    return Target("lab-order", "client", seeds, feed, "json")


def targets() -> list[Target]:
    return [*settings(), secret_file(), audit_log(), *certificates(), lab_order()]
