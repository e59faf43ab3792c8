"""Where everything of a simulated network lies and listens.

    FOLDER/lab-N/     simulated laboratories: their files and their side of the encoders' board keys
    FOLDER/pki/       a test authority and everybody's certificates
    FOLDER/<node>/    one relay: configuration, master key, store, status socket

Fibres and dice are in the laboratories' files and nowhere else.
"""

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from qkdd.cli.demo.files import private_file
from qkdd.cli.ports import lasting_ports
from qkdd.net.pki import Authority
from qkdd.network.laid_out import LaidLink, LaidOut

DAYS = 30
MAX_SOCKET_PATH = 100
"""Of a Unix socket (sockaddr_un), with room for its name's end."""


@dataclass(frozen=True, slots=True)
class Site:
    """A network laid out on this machine."""

    network: LaidOut
    folder: Path
    link_ports: dict[str, int]
    """Where the receiving end of a link listens for its neighbour."""
    delivery_ports: dict[str, int]
    """Where a node listens for applications."""

    @classmethod
    def on_free_ports(cls, network: LaidOut, folder: Path) -> "Site":
        ports = lasting_ports(len(network.links) + len(network.nodes))
        links = [link.name for link in network.links]
        return cls(
            network,
            folder,
            dict(zip(links, ports, strict=False)),
            dict(zip(network.nodes, ports[len(links) :], strict=True)),
        )

    def config(self, node: str) -> Path:
        return self.folder / node / "relay.toml"

    def status_socket(self, node: str) -> Path:
        return self.folder / node / "qkdd.sock"

    def lab(self, number: int) -> Path:
        return self.folder / f"lab-{number}" / "lab.toml"

    def longest_socket(self) -> Path:
        """Return the path that a Unix socket's name might be too short for."""
        return self.status_socket(max(self.network.nodes, key=len))


def write_secrets(site: Site, labs: list[list[LaidLink]]) -> None:
    """Make certificates, master keys, and each encoder's board key for relay and laboratory."""
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(site.folder / "pki", now=now, days=DAYS)
    for node in site.network.nodes:
        authority.issue_node(node, now=now, days=DAYS)
        private_file(site.folder / node / "master.key", os.urandom(32))
    for client in site.network.clients:
        authority.issue_sae(client.sae, now=now, days=DAYS)
    for number, links in enumerate(labs):
        for link in links:
            key = os.urandom(32)
            private_file(site.lab(number).parent / board_key_of(link), key)
            private_file(site.folder / link.sender / board_key_of(link), key)


def board_key_of(link: LaidLink) -> str:
    return f"{link.name}.board.key"


def spread(links: tuple[LaidLink, ...], n_labs: int) -> list[list[LaidLink]]:
    """Deal links to laboratories, neighbours to different ones; none stays empty."""
    n_labs = min(n_labs, len(links))
    return [list(links[number::n_labs]) for number in range(n_labs)]
