"""A route of real relays: one laboratory with a simulated fibre for each link, a daemon per node.

FOLDER/lab/     the laboratory
FOLDER/pki/     certificates
FOLDER/<node>/  one relay; the node up the route is the transmitter of its link
"""

import datetime
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
import trio

from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.cli.demo.files import (
    FIXED_LOSS_DB,
    LASER_MA,
    LOSS_DB_PER_KM,
    PATCHING_DB,
    SLOPE_MW_PER_MA,
    THRESHOLD_MA,
    WAVELENGTH_NM,
    attenuation_db,
    private_file,
)
from qkdd.cli.demo.processes import Child, ask_status, start, start_lab
from qkdd.cli.ports import lasting_ports
from qkdd.config import load
from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.daemon.snapshot import LinkSnapshot, RelaySnapshot
from qkdd.keys.lane_seal import Kind, Shelf
from qkdd.keys.store import KeyStore
from qkdd.net.pki import Authority
from tests.chaos.proxy import ChaosProxy, open_proxy
from tests.whole.bad_network import DIALLED
from tests.whole.site import POLL_S, nowhere, run_command

LANE = "far"
KM = 50.0
LANE_PSK_PAIRS = 512
END_TIMEOUT_S = 20.0


def link_between(upper: str, lower: str) -> str:
    return f"{upper}-{lower}"


@dataclass
class Route:
    """The relays of one route and their laboratory."""

    folder: Path
    nodes: Sequence[str]
    lab: Child | None
    children: dict[str, Child] = field(default_factory=dict)
    snapshots: dict[str, RelaySnapshot] = field(default_factory=dict)
    launch: dict[str, Callable[[Path], list[str]]] = field(default_factory=dict)
    """Another way than :func:`run_command` to start a relay."""
    lane_psk: bytes = b""
    """The end-to-end key that both ends began with."""

    @property
    def links(self) -> list[tuple[str, str]]:
        return list(pairwise(self.nodes))

    def config(self, node: str) -> Path:
        return self.folder / node / "relay.toml"

    async def start(self, *nodes: str) -> None:
        for node in nodes or self.nodes:
            command = self.launch.get(node, run_command)(self.config(node))
            self.children[node] = await start(node, command, self.config(node).parent)

    async def kill(self, node: str) -> None:
        """End a daemon as a power cut would."""
        child = self.children.pop(node)
        child.process.kill()
        await child.process.wait()

    async def stop(self, node: str) -> int:
        child = self.children.pop(node)
        child.process.send_signal(signal.SIGTERM)
        with trio.fail_after(END_TIMEOUT_S):
            return await child.process.wait()

    async def end_lab(self) -> None:
        """Switch the light of every link off."""
        if self.lab is not None:
            lab, self.lab = self.lab, None
            await _end(lab)

    async def look(self) -> None:
        """Ask every relay for its snapshot; one that does not answer has none."""
        self.snapshots.clear()
        for child in (*self.children.values(), *([self.lab] if self.lab else [])):
            child.check()
        for node in self.nodes:
            answer = await ask_status(self.config(node).parent / "qkdd.sock")
            if answer is not None:
                self.snapshots[node] = msgspec.json.decode(answer, type=RelaySnapshot)

    def lane(self, node: str) -> LaneSnapshot:
        (lane,) = self.snapshots[node].lanes
        return lane

    def link(self, node: str, peer: str) -> LinkSnapshot:
        (link,) = [one for one in self.snapshots[node].links if one.peer == peer]
        return link

    @asynccontextmanager
    async def behind_a_proxy(self, node: str) -> AsyncIterator[ChaosProxy]:
        """Have ``node``, which is not started yet, dial its lower neighbour through a proxy."""
        text = self.config(node).read_text()
        (port,) = DIALLED.findall(text)
        async with open_proxy(int(port)) as proxy:
            self.config(node).write_text(DIALLED.sub(f'connect = "127.0.0.1:{proxy.port}"', text))
            yield proxy

    def under_way(self, node: str) -> int:
        """Bits of the lane whose fate is not known at a node."""
        return sum(one.under_way for one in self.lane(node).lane_account)

    async def wait(self, what: str, condition: Callable[[], bool], within_s: float) -> None:
        """Wait until every relay has answered and ``condition`` holds of their snapshots."""
        with trio.move_on_after(within_s):
            while True:
                await self.look()
                if len(self.snapshots) == len(self.nodes) and condition():
                    return
                await trio.sleep(POLL_S)
        raise AssertionError(f"not within {within_s:g} s: {what}; {self.describe()}")

    def describe(self) -> str:
        lines = []
        for node, snapshot in self.snapshots.items():
            for link in snapshot.links:
                lines.append(f"{node} {link.name} {link.state} {link.reason} {link.n_blocks}")
            lines += [f"{node} {lane}" for lane in snapshot.lanes]
        return "\n".join(lines)

    async def came(self, n_keys: int, within_s: float) -> None:
        """Wait until both ends say that so many keys became READY since their start."""
        ends = (self.nodes[0], self.nodes[-1])
        await self.wait(
            f"{n_keys} keys READY at both ends",
            lambda: all(self.lane(end).n_came >= n_keys for end in ends),
            within_s,
        )

    def keys(self, node: str) -> dict[int, bytes]:
        """Every READY key in the store of a relay that is stopped."""
        store = open_store(self.config(node))
        try:
            numbers, keys = store._lane_rows.read(Shelf(LANE, Kind.READY))
            with keys:
                view = bytes(keys.reveal())
        finally:
            store.close()
        return {number: view[32 * at :][:32] for at, number in enumerate(numbers)}


def open_store(config: Path) -> KeyStore:
    relay = load(config)
    with Secret.from_bytes(relay.store.master_key.read_bytes()) as master_key:
        return KeyStore.open(
            relay.store.path, master_key, NodeId(relay.node.id), os.urandom, relay.store
        )


@asynccontextmanager
async def open_route(
    folder: Path,
    *nodes: str,
    lane: str = "",
    times: str = "",
    seed: int = 1,
    lit: bool = True,
) -> AsyncIterator[Route]:
    """Write all files, lay in all pre-shared keys and start the laboratory, if the route is
    ``lit``; ``lane`` and ``times`` are more TOML for the tables of the lane."""
    lab_file = _write_lab(folder, nodes, seed)
    lab, resources = None, {link_between(*pair): nowhere(folder) for pair in pairwise(nodes)}
    if lit:
        lab, resources = await start_lab(lab_file)
    _write_pki(folder, nodes)
    ports = dict(zip(pairwise(nodes), lasting_ports(len(nodes) - 1), strict=True))
    delivery = lasting_ports(len(nodes))
    text = _lane_text(nodes, lane, times)
    for node, port in zip(nodes, delivery, strict=True):
        private_file(folder / node / "master.key", os.urandom(32))
        links = [
            _link_text(pair, node, ports[pair], resources[link_between(*pair)])
            for pair in ports
            if node in pair
        ]
        head = _head_text(node, port)
        (folder / node / "relay.toml").write_text("\n".join([head, *links, text]))
    route = Route(folder, nodes, lab)
    _install_keys(route)
    try:
        yield route
    finally:
        with trio.CancelScope(shield=True):
            for child in route.children.values():
                await _end(child)
            await route.end_lab()


async def _end(child: Child) -> None:
    if child.process.poll() is None:
        os.killpg(child.process.pid, signal.SIGKILL)
    await child.process.wait()
    if child.process.stdout is not None:
        await child.process.stdout.aclose()


def _install_keys(route: Route) -> None:
    links = {pair: os.urandom(64 * 1024) for pair in route.links}
    lane = route.lane_psk = os.urandom(32 * (LANE_PSK_PAIRS + 2))
    for node in route.nodes:
        store = open_store(route.config(node))
        for pair, psk in links.items():
            if node in pair:
                role = "alice" if node == pair[0] else "bob"
                store.install_psk(LinkId(link_between(*pair)), role, Secret.from_bytes(psk))
        if node in (route.nodes[0], route.nodes[-1]):
            store.install_lane_psk(LANE, Secret.from_bytes(lane))
        store.close()


def _write_pki(folder: Path, nodes: Sequence[str]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(folder / "pki", now=now, days=30)
    for node in nodes:
        authority.issue_node(node, now=now, days=30)


def _write_lab(folder: Path, nodes: Sequence[str], seed: int) -> Path:
    path = folder / "lab" / "lab.toml"
    lines = [f"seed = {seed}"]
    for pair in pairwise(nodes):
        name = link_between(*pair)
        board_key = os.urandom(32)
        private_file(folder / "lab" / f"{name}.key", board_key)
        private_file(folder / pair[0] / f"{name}.key", board_key)
        lines.append(
            f"""
[[links]]
name = "{name}"
[links.fibre]
length_km = {KM}
loss_db = {LOSS_DB_PER_KM * KM + PATCHING_DB!r}
[links.source]
wavelength_nm = {WAVELENGTH_NM}
threshold_ma = {THRESHOLD_MA}
slope_mw_per_ma = {SLOPE_MW_PER_MA}
fixed_loss_db = {FIXED_LOSS_DB}
[links.instruments]
laser = {{ model = "koheron-ctl200", listen = "pty:{name}" }}
attenuator = {{ model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }}
encoder = {{ model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "{name}.key" }}
tagger = {{ model = "s15-tdc1", listen = "tcp:127.0.0.1:0" }}"""
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def _head_text(node: str, delivery_port: int) -> str:
    return f"""[node]
id = "{node}"
certificate = "../pki/{node}.pem"
key = "../pki/{node}.key"
ca = "../pki/ca.pem"
[store]
path = "keys.sqlite"
master_key = "master.key"
[delivery]
listen = "127.0.0.1:{delivery_port}"
"""


def _link_text(pair: tuple[str, str], node: str, port: int, resources: dict[str, str]) -> str:
    name = link_between(*pair)
    up = node == pair[0]
    bench = (
        f"""[links.transmitter]
laser = {{ model = "koheron-ctl200", resource = "{resources["laser"]}", current_ma = {LASER_MA} }}
encoder = {{ model = "qmse-1", resource = "{resources["encoder"]}", key_file = "{name}.key" }}
[links.transmitter.attenuator]
model = "agilent-8156a"
resource = "{resources["attenuator"]}"
loss_db = {attenuation_db():.3f}"""
        if up
        else f"""[links.receiver]
tagger = {{ model = "s15-tdc1", resource = "{resources["tagger"]}" }}"""
    )
    return f"""[[links]]
name = "{name}"
peer = "{pair[1] if up else pair[0]}"
role = "{"transmitter" if up else "receiver"}"
{"connect" if up else "listen"} = "127.0.0.1:{port}"
capacity_bits_per_s = 20000
{bench}
[links.light]
ramp_frames = [20]
"""


def _lane_text(nodes: Sequence[str], lane: str, times: str) -> str:
    return f"""[[lanes]]
id = "{LANE}"
route = {list(nodes)}
{lane}
[lane_times]
trust_unsynchronised_clock = true
{times}
"""
