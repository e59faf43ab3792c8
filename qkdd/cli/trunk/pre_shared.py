"""What couriers carry before the first light: a pre-shared key for every link and every lane."""

import os
from pathlib import Path

from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.cli.trunk.site import Site
from qkdd.daemon.secret_files import read_secret
from qkdd.keys.layout import Role
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore

LINK_PSK_BYTES = LANE_PSK_BYTES = 64 * 1024


def install_pre_shared(site: Site) -> None:
    """Lay fresh keys into the stores of all relays, which must not run."""
    keys = {link.name: os.urandom(LINK_PSK_BYTES) for link in site.network.links}
    lane_keys = {lane.lane.id: os.urandom(LANE_PSK_BYTES) for lane in site.network.lanes}
    for node in site.network.nodes:
        folder = site.config(node).parent
        settings = StoreSettings(path=folder / "keys.sqlite", master_key=folder / "master.key")
        store = _open(node, settings)
        try:
            for link in site.network.links_of(node):
                role: Role = "alice" if node == link.sender else "bob"
                with Secret.from_bytes(keys[link.name]) as psk:
                    store.install_psk(LinkId(link.name), role, psk)
            for lane in site.network.lanes:
                if node in (lane.lane.route[0], lane.lane.route[-1]):
                    with Secret.from_bytes(lane_keys[lane.lane.id]) as psk:
                        store.install_lane_psk(lane.lane.id, psk)
        finally:
            store.close()


def _open(node: str, settings: StoreSettings) -> KeyStore:
    with read_secret(Path(settings.master_key), 32, "master key") as master_key:
        return KeyStore.open(settings.path, master_key, NodeId(node), os.urandom, settings)
