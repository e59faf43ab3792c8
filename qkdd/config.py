"""The whole TOML of a relay, composed of each room's own settings.

Read once, at the start. Secrets are paths, never values; a relative path counts from the folder
of the file that names it, and one that begins with ``$CREDENTIALS_DIRECTORY/`` is found where the
service manager has put it.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from qkdd.amplify.length import check_source
from qkdd.amplify.settings import ProofSettings
from qkdd.base import toml
from qkdd.base.errors import ConfigError
from qkdd.base.light import Intensities, LightPlan
from qkdd.deliver.settings import DeliverySettings
from qkdd.frames.settings import FrameSettings, check_light
from qkdd.keys.settings import StoreSettings
from qkdd.net.settings import MetricsSettings
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.relay.admission import LaneRefused, capacity_of, check_links, lane_tag_bps
from qkdd.relay.cut import PromisedStock
from qkdd.relay.place import Place, place_of
from qkdd.relay.settings import Lane, LaneTimes, Route
from qkdd.station.entropy import EntropySettings
from qkdd.station.settings import ReceiverSettings, TransmitterSettings

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
MAX_PORT = 65_535
MAX_SOCKET_BYTES = 107
"""Of the path of a Unix socket (unix(7): sun_path, less its closing zero)."""
CREDENTIALS = "$CREDENTIALS_DIRECTORY"
Address = Annotated[str, Meta(pattern=r"^\S+:\d{1,5}$")]


def host_and_port(address: str) -> tuple[str, int]:
    """Take an address apart; an IPv6 host is in brackets.

    Raises
    ------
    ValueError
        If there is no such port.
    """
    host, _, port = address.rpartition(":")
    if int(port) > MAX_PORT:
        raise ValueError(f"{address}: port {port} is above {MAX_PORT}")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who this relay is, to neighbours and to applications."""

    id: Name
    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None
    """Certificates that are refused although an authority of ``ca`` has signed them."""
    status_socket: Path = Path("qkdd.sock")


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One end of a quantum link. Both ends must agree on all but instruments and addresses."""

    name: Name
    peer: Name
    role: Literal["transmitter", "receiver"]
    connect: Address | None = None
    listen: Address | None = None
    promised_bits_per_s: Annotated[float, Meta(ge=0)] = 256.0
    """Key promised to applications: hours of stock are counted against it, and lanes of less
    priority leave so much. The same at both ends of a link that carries lanes."""
    promised_priority: Annotated[int, Meta(ge=0, le=9)] = 5
    """Of the promise among the priorities of the lanes."""
    max_epsilon_per_year: Annotated[float, Meta(gt=0, le=1)] = 1e-4
    """Secrecy and correctness of all blocks of a calendar year together; then no more key."""
    capacity_bits_per_s: Annotated[float, Meta(gt=0)] | None = None
    """Secret key rate that lanes may reckon with: not the best day's."""
    light: LightPlan = LightPlan()
    intensities: Intensities = Intensities()
    frames: FrameSettings = FrameSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    proof: ProofSettings = ProofSettings()
    transmitter: TransmitterSettings | None = None
    receiver: ReceiverSettings | None = None

    def __post_init__(self) -> None:
        if (self.connect is None) == (self.listen is None):
            raise ValueError(f"link {self.name}: give either connect or listen, at one end each")
        mine, other = self.transmitter, self.receiver
        if self.role == "receiver":
            mine, other = other, mine  # type: ignore[assignment]  # only for the two checks below
        if mine is None:
            raise ValueError(f"link {self.name}: role {self.role} needs a table [{self.role}]")
        if other is not None:
            raise ValueError(f"link {self.name}: role {self.role} forbids the other end's table")
        host_and_port(self.connect or self.listen or "")
        try:
            check_light(self.light, self.frames)
            check_source(self.intensities, self.proof)
            _check_tap(self.transmitter, self.proof)
        except ValueError as error:
            raise ValueError(f"link {self.name}: {error}") from error

    @property
    def promised(self) -> PromisedStock:
        return PromisedStock(math.ceil(self.promised_bits_per_s), self.promised_priority)


class CarriedLanes(msgspec.Struct, frozen=True, kw_only=True):
    """What both ends of a link must agree on, so that they cut its blocks alike."""

    promised_bits_per_s: int
    promised_priority: int
    lanes: dict[str, Lane]


def _check_tap(transmitter: TransmitterSettings | None, proof: ProofSettings) -> None:
    tap = None if transmitter is None else transmitter.tap
    if tap is not None and not tap.uncertainty < proof.mu_uncertainty:
        raise ValueError(
            f"mu_uncertainty {proof.mu_uncertainty} must exceed the tap's own uncertainty "
            f"{tap.uncertainty}: no reading could show that the light is within it"
        )


class Relay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One relay: the whole file."""

    node: Node
    store: StoreSettings
    delivery: DeliverySettings
    links: Annotated[tuple[Link, ...], Meta(min_length=1)]
    metrics: MetricsSettings | None = None
    lanes: tuple[Lane, ...] = ()
    lane_times: LaneTimes = LaneTimes()
    routes: tuple[Route, ...] = ()
    entropy: EntropySettings = EntropySettings()

    def __post_init__(self) -> None:
        names = [link.name for link in self.links]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two links are called {name}")
        peers = [link.peer for link in self.links]
        for link in self.links:
            if link.peer == self.node.id:
                raise ValueError(f"link {link.name}: the peer is this relay itself")
            if peers.count(link.peer) > 1:
                raise ValueError(f"two links to {link.peer}: keys for it would come from one only")
        host_and_port(self.delivery.listen)
        if self.metrics is not None:
            host_and_port(self.metrics.listen)
        self._check_lanes()
        self._check_routes()

    def _check_routes(self) -> None:
        """Refuse a route that leads from here to a node without a link."""
        links = {link.peer for link in self.links}
        for nodes in (route.nodes for route in self.routes):
            place = nodes.index(self.node.id) if self.node.id in nodes else None
            beside = () if place is None else (*nodes[:place][-1:], *nodes[place + 1 :][:1])
            for peer in beside:
                if peer not in links:
                    raise ValueError(
                        f"route {'-'.join(nodes)}: there is no link to {peer}, which is next in it"
                    )

    @property
    def places(self) -> list[Place]:
        """Where this relay stands in each lane."""
        return [place_of(lane, self.node.id) for lane in self.lanes]

    def carried(self, link: Link) -> CarriedLanes:
        """The lanes that cross ``link``; without any, nothing of them has to be agreed."""
        lanes = {one.lane.id: one.lane for one in self.places if link.peer in one.peers}
        promised = link.promised if lanes else PromisedStock()
        return CarriedLanes(
            promised_bits_per_s=promised.bits_per_s,
            promised_priority=promised.priority,
            lanes=lanes,
        )

    def _check_lanes(self) -> None:
        """Refuse a lane that does not pass here, or that a link of ours cannot carry beside those
        before it."""
        links = {link.peer: link for link in self.links}
        carried: dict[str, tuple[Lane, ...]] = {}
        for number, lane in enumerate(self.lanes):
            if any(lane.id == other.id for other in self.lanes[:number]):
                raise ValueError(f"two lanes are called {lane.id}")
            self.lane_times.check(lane)
            place = place_of(lane, self.node.id)
            for sae, end in zip(lane.saes, (lane.route[0], lane.route[-1]), strict=False):
                home = self.delivery.homes.get(sae)
                if place.is_end and home != end:
                    raise ValueError(f"lane {lane.id}: SAE {sae} has its home at {home}, not {end}")
            for peer in place.peers:
                if peer not in links:
                    raise ValueError(
                        f"lane {lane.id}: there is no link to {peer}, which is next in its route"
                    )
                before = carried.get(peer, ())
                check_carries(links[peer], before, lane)
                carried[peer] = (*before, lane)


def check_carries(link: Link, lanes: tuple[Lane, ...], lane: Lane) -> None:
    """Raise ValueError unless ``link`` carries ``lane`` beside ``lanes``."""
    if link.capacity_bits_per_s is None:
        raise ValueError(
            f"lane {lane.id}: link {link.name} needs capacity_bits_per_s, what lanes may count on"
        )
    capacity = capacity_of(link.name, link.capacity_bits_per_s, link.promised_bits_per_s, lanes)
    try:
        check_links(lane, [capacity], tag_bps=lane_tag_bps(lane))
    except LaneRefused as refused:
        raise ValueError(str(refused)) from refused


def mistakes(path: Path, *, files: bool = True) -> list[str]:
    """Every mistake of the file ``path``, one line each: where, what it is, what is allowed."""
    try:
        table = toml.read(path)
    except ConfigError as error:
        return [str(error)]
    return _mistakes(table, path, files=files)


def _mistakes(table: dict[str, object], path: Path, *, files: bool) -> list[str]:
    found = list(toml.mistakes(table, Relay))
    if found:
        return found
    relay = _placed(toml.convert(table, Relay), path.parent)
    socket = os.fsencode(relay.node.status_socket)
    if len(socket) > MAX_SOCKET_BYTES:
        return [
            f"node.status_socket: {relay.node.status_socket} has {len(socket)} bytes, at most "
            f"{MAX_SOCKET_BYTES} are allowed"
        ]
    if not files:
        return []
    return [
        f"{where}: no such file {file}"
        for where, file in _files(relay)
        if not is_credential(file) and not file.exists()
    ]


def load(path: Path, *, files: bool = True) -> Relay:
    """Read the file ``path``, its relative paths resolved.

    Whoever opens none of the files that it names says ``files=False``: they may be missing.

    Raises
    ------
    ConfigError
        Naming every mistake.
    """
    table = toml.read(path)
    found = _mistakes(table, path, files=files)
    if found:
        raise toml.refusal(path, found)
    return _placed(toml.convert(table, Relay), path.parent)


def is_credential(path: Path) -> bool:
    """Tell whether only the unit can see ``path``: a credential, and we are not in the unit."""
    return path.parts[:1] == (CREDENTIALS,)


def _files(relay: Relay) -> Iterator[tuple[str, Path]]:
    yield "node.certificate", relay.node.certificate
    yield "node.key", relay.node.key
    yield "node.ca", relay.node.ca
    if relay.node.crl is not None:
        yield "node.crl", relay.node.crl
    yield "store.master_key", relay.store.master_key
    for number, link in enumerate(relay.links):
        if link.transmitter is not None:
            key_file = link.transmitter.encoder.key_file
            yield f"links[{number}].transmitter.encoder.key_file", key_file


def _placed(relay: Relay, folder: Path) -> Relay:
    """Resolve every relative path against the folder of the file."""
    placed = _resolve(relay, folder.resolve())
    assert isinstance(placed, Relay)
    return placed


def _credential(path: Path) -> Path | None:
    """Find ``$CREDENTIALS_DIRECTORY/name`` where the service manager has put it (systemd.exec(5)).

    Unset, the path stays as it is written: whoever then opens it names it rightly as missing.
    """
    if not is_credential(path):
        return None
    folder = os.environ.get(CREDENTIALS.removeprefix("$"))
    return Path(folder, *path.parts[1:]) if folder else path


def _resolve(value: object, folder: Path) -> object:
    if isinstance(value, Path):
        return _credential(value) or folder / value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value,
            **{
                name: _resolve(field, folder)
                for name, field in msgspec.structs.asdict(value).items()
            },
        )
    if isinstance(value, tuple):
        return tuple(_resolve(item, folder) for item in value)
    return value
