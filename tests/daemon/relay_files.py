"""The files of one relay that has no bench and no neighbour: enough to be started and looked at."""

import datetime
import os
from pathlib import Path

from click.testing import CliRunner

from qkdd.cli.__main__ import main
from qkdd.net.pki import Authority

NOW = datetime.datetime.now(datetime.UTC)


def relay_file(
    folder: Path, *, more: str = "", days: int = 365, delivery: str = "127.0.0.1:0"
) -> Path:
    """Write a receiver's configuration with certificates that last ``days`` and a master key."""
    authority = Authority.open_or_create(folder, now=NOW, days=days)
    authority.issue_node("a", now=NOW, days=days)
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
{more}
[[links]]
name = "a-b"
peer = "b"
role = "receiver"
connect = "127.0.0.1:9"
receiver.tagger = {{ model = "s15-tdc1", resource = "tcp://127.0.0.1:9" }}
""")
    return config


def install_psk(config: Path) -> None:
    """Make a pre-shared key and lay it into the store of the relay's one link."""
    psk = config.parent / "psk"
    for words in (["make", str(psk)], ["install", str(config), "a-b", str(psk)]):
        assert CliRunner().invoke(main, ["psk", *words]).exit_code == 0
