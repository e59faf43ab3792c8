"""Relays in a row without light: stores, desks, hops, offices, HTTPS, over in-memory sessions."""

import datetime
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec
import trio

from qkdd.base.ids import BlockNo, LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.daemon.hop_desk import HOP_MESSAGES, HopDesk
from qkdd.daemon.key_desk import KEY_MESSAGES, KeyDesk
from qkdd.daemon.key_office import KeyOffice
from qkdd.daemon.key_rooms import key_rooms
from qkdd.daemon.lane_desk import LaneDesk
from qkdd.daemon.mailbox import Mailbox, Sorter
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.layout import Role
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore
from qkdd.net.client import HttpsClient
from qkdd.net.codec import decode_batch, encode_message, join_batch
from qkdd.net.delivery import Delivery
from qkdd.net.https import HttpsServer, client_context, server_context
from qkdd.net.pki import Authority
from qkdd.relay.place import place_of
from qkdd.relay.settings import Lane, LaneTimes

NOW = datetime.datetime.now(datetime.UTC)
SAES = (
    ("alpha", "a"),
    ("anna", "a"),
    ("beta", "b"),
    ("gamma", "c"),
    ("carl", "c"),
    ("delta", "d"),
)
HOMES = dict(SAES)
SETTINGS = DeliverySettings(saes=tuple(Sae(id=sae, node=node) for sae, node in SAES))
TIMES = LaneTimes(trust_unsynchronised_clock=True)


@dataclass(slots=True)
class Session:
    """One end of the session with a neighbour."""

    link: LinkId
    peer: NodeId
    desk: KeyDesk
    hops: Mailbox
    sorter: Sorter
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass(slots=True)
class Station:
    node: NodeId
    limits: StoreSettings
    store: KeyStore
    service: StoreService
    lanes: LaneDesk
    hops: HopDesk
    office: KeyOffice
    sessions: dict[NodeId, Session] = field(default_factory=dict)
    port: int = 0


@dataclass(slots=True)
class Row:
    folder: Path
    stations: dict[str, Station]

    def client(self, sae: str, *, at: str = "") -> HttpsClient:
        """An application, at its home unless told otherwise."""
        files = (self.folder / f"{sae}.pem", self.folder / f"{sae}.key")
        context = client_context(*files, self.folder / "ca.pem")
        return HttpsClient("127.0.0.1", self.stations[at or HOMES[sae]].port, context)

    async def stock(self, one: str, other: str, n_bytes: int) -> None:
        """Commit one block of random key at both ends of a link."""
        key, ends = os.urandom(n_bytes), (self.stations[one], self.stations[other])
        link = ends[0].sessions[NodeId(other)].link
        number = await ends[0].service.do(lambda store: store.next_block_no(link))

        async def commit(end: Station, peer: str) -> None:
            desk = end.sessions[NodeId(peer)].desk
            assert await desk.commit_block(BlockNo(number), Secret.from_bytes(key), 64)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, ends[0], other)
            nursery.start_soon(commit, ends[1], one)

    def cut(self, one: str, other: str) -> None:
        """End the session between two neighbours, for good."""
        self.stations[one].sessions[NodeId(other)].scope.cancel()
        self.stations[other].sessions[NodeId(one)].scope.cancel()

    async def accounts(self, one: str, other: str) -> tuple[object, object]:
        link = self.stations[one].sessions[NodeId(other)].link
        ends = [self.stations[one].service, self.stations[other].service]
        first, second = [await end.do(lambda store: store.account(link)) for end in ends]
        return first, second


@asynccontextmanager
async def relay_row(
    folder: Path, *, nodes: str = "abcd", lanes: Sequence[Lane] = (), stock_bytes: int = 16 * 1024
) -> AsyncIterator[Row]:
    """Relays that agree, neighbours in the order of ``nodes``, with key on every link."""
    authority = Authority.open_or_create(folder, now=NOW, days=1)
    for name in nodes:
        authority.issue_node(name, now=NOW, days=1)
    for sae, _ in SAES:
        authority.issue_sae(sae, now=NOW, days=1)
    stations = {node: _station(folder, node, nodes, lanes) for node in nodes}
    links = list(pairwise(nodes))
    row = Row(folder, stations)
    try:
        async with trio.open_nursery() as nursery:
            try:
                for station in stations.values():
                    await nursery.start(station.service.run)
                    station.port = await nursery.start(_serve, folder, station)
                for one, other in links:
                    await _connect(nursery, stations[one], stations[other])
                for one, other in links:
                    if stock_bytes:
                        await row.stock(one, other, stock_bytes)
                yield row
            finally:
                nursery.cancel_scope.cancel()
                for station in stations.values():
                    station.service.stop()
    finally:
        for station in stations.values():
            station.store.close()


def _station(folder: Path, name: str, nodes: str, lanes: Sequence[Lane]) -> Station:
    limits = StoreSettings(path=folder / f"{name}.sqlite", master_key=Path(), auth_floor_bytes=64)
    node, place = NodeId(name), nodes.index(name)
    with Secret.from_bytes(os.urandom(32)) as master_key:
        store = KeyStore.open(limits.path, master_key, node, os.urandom, limits)
    beside = [*nodes[:place][-1:], *nodes[place + 1 :][:1]]
    links = {NodeId(peer): _link(name, peer) for peer in beside}
    service = StoreService(store)
    here = [place_of(lane, node) for lane in lanes if node in lane.route]
    lane_desk = LaneDesk(node, HOMES, TIMES, here)
    rooms = key_rooms(
        node,
        links,
        service,
        SETTINGS,
        limits,
        lane_desk,
        routes=[tuple(nodes)],
        entropy=os.urandom,
    )
    return Station(node, limits, store, service, lane_desk, rooms.hops, rooms.office)


def _link(one: str, other: str) -> LinkId:
    return LinkId("-".join(sorted((one, other))))


def _install(store: KeyStore, *, link: LinkId, role: Role, psk: bytes) -> None:
    store.install_psk(link, role, Secret.from_bytes(psk))


async def _connect(nursery: trio.Nursery, one: Station, other: Station) -> None:
    link, psk = _link(one.node, other.node), os.urandom(32 * 1024)
    roles: tuple[tuple[Station, Role], ...] = ((one, "alice"), (other, "bob"))
    marks = []
    for station, role in roles:
        await station.service.do(partial(_install, link=link, role=role, psk=psk))
        marks.append(await station.service.alone(partial(KeyStore.auth_marks, link=link)))
    states = [
        await station.service.alone(partial(KeyStore.begin_session, link=link, peer=mark))
        for station, mark in ((one, marks[1]), (other, marks[0]))
    ]
    for station, peer in ((one, other), (other, one)):
        _session(station, peer, link)
    for station, peer, state in ((one, other, states[0]), (other, one, states[1])):
        nursery.start_soon(_run, station, station.sessions[peer.node], state)
    await one.sessions[other.node].desk.agreed()
    await other.sessions[one.node].desk.agreed()


def _session(station: Station, peer: Station, link: LinkId) -> None:
    async def send(*messages: msgspec.Struct) -> None:
        await trio.lowlevel.checkpoint()
        batch = join_batch([encode_message(message) for message in messages])
        for message in decode_batch(batch):
            await peer.sessions[station.node].sorter.put(message)

    keys, hops = Mailbox(*KEY_MESSAGES), Mailbox(*HOP_MESSAGES)
    desk = KeyDesk(link, station.service, send, keys)
    session = Session(link, peer.node, desk, hops, Sorter([keys, hops]))
    station.sessions[peer.node] = session
    station.office.open_desk(link, desk)


async def _run(station: Station, session: Session, state: msgspec.Struct) -> None:
    with session.scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.desk.run, state)
            nursery.start_soon(station.hops.run, session.peer, session.desk._send, session.hops)
    station.office.close_desk(session.link)


async def _serve(
    folder: Path, station: Station, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    server = HttpsServer(
        Delivery(station.office, SETTINGS, station.limits).handle,
        known=SETTINGS.homes,
        max_connections_per_sae=16,
    )
    files = (folder / f"{station.node}.pem", folder / f"{station.node}.key", folder / "ca.pem")
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(server.serve, "127.0.0.1", 0, server_context(*files))
        task_status.started(listeners[0].socket.getsockname()[1])
