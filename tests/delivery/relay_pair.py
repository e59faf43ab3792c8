"""Two relays without light: stores, desks, offices, HTTPS, over an in-memory peer session."""

import datetime
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from qkdd.base.ids import BlockNo, LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.daemon.key_desk import KEY_MESSAGES, KeyDesk
from qkdd.daemon.key_office import KeyOffice
from qkdd.daemon.key_rooms import key_rooms
from qkdd.daemon.lane_desk import LaneDesk
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.rations import Rate
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore
from qkdd.net.client import HttpsClient
from qkdd.net.delivery import Delivery
from qkdd.net.https import HttpsServer, client_context, server_context
from qkdd.net.pki import Authority
from qkdd.relay.settings import LaneTimes

LINK = LinkId("a-b")
NOW = datetime.datetime.now(datetime.UTC)
SAES = (("alpha", "a"), ("anna", "a"), ("beta", "b"), ("bob", "b"))
SETTINGS = DeliverySettings(saes=tuple(Sae(id=sae, node=node) for sae, node in SAES))


def dark(_link: LinkId) -> float | None:
    """The rate of a link without light."""
    return None


@dataclass(slots=True)
class End:
    node: NodeId
    peer: NodeId
    limits: StoreSettings
    store: KeyStore
    service: StoreService
    office: KeyOffice
    mailbox: Mailbox
    desk: KeyDesk
    port: int = 0


@dataclass(slots=True)
class Pair:
    folder: Path
    a: End
    b: End

    def client(self, sae: str, *, at: End | None = None) -> HttpsClient:
        """An application, at its home unless told otherwise."""
        home = self.a if dict(SAES).get(sae) == "a" else self.b
        files = (self.folder / f"{sae}.pem", self.folder / f"{sae}.key")
        context = client_context(*files, self.folder / "ca.pem")
        return HttpsClient("127.0.0.1", (at or home).port, context)

    async def stock(self, n_bytes: int) -> None:
        """Commit one block of random key at both ends."""
        key = os.urandom(n_bytes)
        number = await self.a.service.do(lambda store: store.next_block_no(LINK))

        async def commit(end: End) -> None:
            assert await end.desk.commit_block(BlockNo(number), Secret.from_bytes(key), 64)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, self.a)
            nursery.start_soon(commit, self.b)


@asynccontextmanager
async def relay_pair(
    folder: Path,
    *,
    stock_bytes: int = 64 * 1024,
    settings: DeliverySettings = SETTINGS,
    rate: Rate = dark,
) -> AsyncIterator[Pair]:
    """Two relays that agree and have ``stock_bytes`` of key; links make key at ``rate``."""
    authority = Authority.open_or_create(folder, now=NOW, days=1)
    for name in ("a", "b"):
        authority.issue_node(name, now=NOW, days=1)
    for sae, _ in (*SAES, ("stranger", "")):
        authority.issue_sae(sae, now=NOW, days=1)
    psk = os.urandom(32 * 1024)
    a, b = (_end(folder, *ends, psk, settings, rate) for ends in (("a", "b"), ("b", "a")))
    marks = {end.node: end.store.auth_marks(LINK) for end in (a, b)}
    states = {end.node: end.store.begin_session(LINK, marks[end.peer]) for end in (a, b)}

    def wire(end: End, other: End) -> None:
        async def send(*messages: msgspec.Struct) -> None:
            await trio.lowlevel.checkpoint()
            for message in messages:
                await other.mailbox.put(message)

        end.desk = KeyDesk(LINK, end.service, send, end.mailbox)
        end.office.open_desk(LINK, end.desk)

    wire(a, b)
    wire(b, a)
    try:
        async with trio.open_nursery() as nursery:
            for end in (a, b):
                await nursery.start(end.service.run)
                nursery.start_soon(end.desk.run, states[end.node])
                end.port = await nursery.start(_serve, folder, end)
            await a.desk.agreed()
            await b.desk.agreed()
            pair = Pair(folder, a, b)
            if stock_bytes:
                await pair.stock(stock_bytes)
            try:
                yield pair
            finally:
                nursery.cancel_scope.cancel()
                for end in (a, b):
                    end.service.stop()
    finally:
        a.store.close()
        b.store.close()


def an_office(
    node: NodeId,
    links: dict[NodeId, LinkId],
    service: StoreService,
    delivery: DeliverySettings,
    limits: StoreSettings,
    rate: Rate = dark,
) -> KeyOffice:
    """The office of a relay without lanes or routes."""
    lanes = LaneDesk(node, delivery.homes, LaneTimes(), [])
    rooms = key_rooms(
        node, links, service, delivery, limits, lanes, routes=[], entropy=os.urandom, rate=rate
    )
    return rooms.office


def _end(
    folder: Path, node: str, peer: str, psk: bytes, settings: DeliverySettings, rate: Rate
) -> End:
    limits = StoreSettings(path=folder / f"{node}.sqlite", master_key=Path())
    with Secret.from_bytes(os.urandom(32)) as master_key:
        store = KeyStore.open(limits.path, master_key, NodeId(node), os.urandom, limits)
    store.install_psk(LINK, "alice" if node == "a" else "bob", Secret.from_bytes(psk))
    service = StoreService(store)
    office = an_office(NodeId(node), {NodeId(peer): LINK}, service, settings, limits, rate)
    mailbox = Mailbox(*KEY_MESSAGES)

    async def nowhere(*_messages: msgspec.Struct) -> None:
        raise RuntimeError("the pair is not wired yet")

    desk = KeyDesk(LINK, service, nowhere, mailbox)
    return End(NodeId(node), NodeId(peer), limits, store, service, office, mailbox, desk)


async def _serve(
    folder: Path, end: End, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    server = HttpsServer(
        Delivery(end.office, SETTINGS, end.limits).handle,
        known=SETTINGS.homes,
        max_connections_per_sae=16,
    )
    files = (folder / f"{end.node}.pem", folder / f"{end.node}.key", folder / "ca.pem")
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(server.serve, "127.0.0.1", 0, server_context(*files))
        task_status.started(listeners[0].socket.getsockname()[1])
