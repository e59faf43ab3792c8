"""A relay's configuration, cut out of the network: what it may know, and nothing of the fibre."""

from collections.abc import Mapping

import msgspec

from qkdd.cli.demo.files import LASER_MA, THRESHOLD_MA, attenuation_db
from qkdd.cli.trunk.site import Site, board_key_of
from qkdd.cli.trunk.toml_text import toml_text
from qkdd.network.laid_out import LaidLink

LOCAL = "127.0.0.1"
MAX_LOSS_DB = 58.0
"""The attenuator reaches 60 dB; slow pulses of the full laser would need more."""
RECORD_MS = 1_000
"""Tags of an ID1000 come a second late, for a sixth less of processor time than at 200 ms."""

Resources = Mapping[str, Mapping[str, str]]
"""Link -> instrument -> resource string, as the laboratories announce them."""


def write_relay(site: Site, node: str, resources: Resources) -> None:
    """Write the configuration of ``node`` around its instruments' resource strings."""
    network = site.network
    lanes = [lane.lane for lane in network.lanes if node in lane.lane.route]
    times = msgspec.structs.replace(network.network.lane_times, trust_unsynchronised_clock=True)
    table = {
        "node": {
            "id": node,
            "certificate": f"../pki/{node}.pem",
            "key": f"../pki/{node}.key",
            "ca": "../pki/ca.pem",
        },
        "store": {"path": "keys.sqlite", "master_key": "master.key"},
        "delivery": {
            "listen": f"{LOCAL}:{site.delivery_ports[node]}",
            "saes": [{"id": client.sae, "node": client.node} for client in network.clients],
        },
        "links": [_link(site, node, link, resources) for link in network.links_of(node)],
        "lanes": msgspec.to_builtins(lanes),
        "lane_times": msgspec.to_builtins(times),
    }
    path = site.config(node)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(toml_text(table))


def _link(site: Site, node: str, link: LaidLink, resources: Resources) -> dict[str, object]:
    sends = node == link.sender
    address = f"{LOCAL}:{site.link_ports[link.name]}"
    end = _transmitter if sends else _receiver
    return {
        "name": link.name,
        "peer": link.receiver_node if sends else link.sender,
        "role": "transmitter" if sends else "receiver",
        "connect" if sends else "listen": address,
        "promised_bits_per_s": link.promised_bits_per_s,
        "capacity_bits_per_s": link.capacity_bits_per_s or None,
        "light": msgspec.to_builtins(link.plan),
        "intensities": msgspec.to_builtins(link.light.intensities),
        "frames": msgspec.to_builtins(link.frames),
        "reconcile": msgspec.to_builtins(link.light.reconcile),
        "proof": msgspec.to_builtins(link.light.proof),
        "transmitter" if sends else "receiver": end(link, resources[link.name]),
    }


def _transmitter(link: LaidLink, resources: Mapping[str, str]) -> dict[str, object]:
    loss_db = attenuation_db(link.plan.pulse_rate_hz, link.light.intensities.signal_mu)
    current_ma = LASER_MA
    if loss_db > MAX_LOSS_DB:
        loss_db -= 10.0
        current_ma = THRESHOLD_MA + (LASER_MA - THRESHOLD_MA) / 10
    return {
        "laser": {
            "model": "koheron-ctl200",
            "resource": resources["laser"],
            "current_ma": current_ma,
        },
        "attenuator": {
            "model": "agilent-8156a",
            "resource": resources["attenuator"],
            "loss_db": round(loss_db, 3),
        },
        "encoder": {
            "model": "qmse-1",
            "resource": resources["encoder"],
            "key_file": board_key_of(link),
        },
    }


def _receiver(link: LaidLink, resources: Mapping[str, str]) -> dict[str, object]:
    resource = resources["tagger"]
    if link.tagger == "idq-id1000":
        resource += f"?dlt={resources['datalink'].removeprefix('zmq://')}&record_ms={RECORD_MS}"
    return {"tagger": {"model": link.tagger, "resource": resource}}
