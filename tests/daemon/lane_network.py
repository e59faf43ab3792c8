"""A route of relays in one process: real stores, desks and lanes; only the light is made up."""

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
import trio

from qkdd.base.ids import BlockNo, LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.config import Link
from qkdd.daemon.birth import BlockBirth
from qkdd.daemon.distil import Work
from qkdd.daemon.key_desk import KEY_MESSAGES, KeyDesk, Say
from qkdd.daemon.lane_desk import LaneDesk, LaneView
from qkdd.daemon.lane_post import LanePost
from qkdd.daemon.lanes import Lanes
from qkdd.daemon.mailbox import Mailbox, Sorter
from qkdd.daemon.store_service import StoreService
from qkdd.keys.account import Account
from qkdd.keys.lane_seal import Kind, Shelf
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore
from qkdd.net.codec import decode_batch, encode_message, join_batch
from qkdd.relay.place import place_of
from qkdd.relay.settings import Lane, LaneTimes
from qkdd.station.settings import Instrument, ReceiverSettings

BLOCK_S = 16
TIMES = LaneTimes(batch_units=4, retry_s=1.0, trust_unsynchronised_clock=True)
BENCH = ReceiverSettings(tagger=Instrument(model="s15-tdc1", resource="tcp://x:1"))


def link_between(upper: str, lower: str) -> LinkId:
    return LinkId(f"{upper}-{lower}")


class Node:
    """One relay's stores and lanes; :meth:`boot` is its process."""

    def __init__(self, folder: Path, name: str, lanes: Sequence[Lane]) -> None:
        self.name = name
        self.lane_orders = tuple(lanes)
        self._settings = StoreSettings(
            path=folder / f"{name}.db", master_key=Path(), auth_floor_bytes=0
        )
        self.open_store()

    def open_store(self) -> None:
        name = self.name
        master_key = Secret.from_bytes(name.encode().ljust(32, b"m"))
        self.store = KeyStore.open(
            self._settings.path, master_key, NodeId(name), os.urandom, self._settings
        )

    def peers(self) -> dict[str, LinkId]:
        found: dict[str, LinkId] = {}
        for lane in self.lane_orders:
            for upper, lower in pairwise(lane.route):
                if self.name in (upper, lower):
                    first, second = sorted((upper, lower))
                    found[lower if self.name == upper else upper] = link_between(first, second)
        return found

    async def boot(self, nursery: trio.Nursery, times: LaneTimes) -> None:
        places = [place_of(lane, self.name) for lane in self.lane_orders]
        self.service = StoreService(self.store)
        self.desk = LaneDesk(NodeId(self.name), {}, times, places)
        self.lanes = Lanes(places, self.peers(), times, self.service, self.desk, entropy=os.urandom)
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        await nursery.start(self._life)

    async def _life(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as users:
            await users.start(self.service.run)
            try:
                with self._scope:
                    await self.lanes.run(task_status=task_status)
            finally:
                self.service.stop()
        self.store.close()
        self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()

    def view(self, lane: str) -> LaneView:
        view = self.desk.view(lane)
        assert view is not None
        return view

    async def keys(self, lane: str) -> dict[int, bytes]:
        """Every READY key of the lane here, as it lies in the store."""
        shelf = Shelf(lane, Kind.READY, self.view(lane).generation)
        numbers, keys = await self.service.do(lambda store: store._lane_rows.read(shelf))
        with keys:
            view = bytes(keys.reveal())
        return {number: view[32 * at :][:32] for at, number in enumerate(numbers)}


@dataclass
class End:
    """One end of a link in a session."""

    node: Node
    link: Link
    desk: KeyDesk
    post: LanePost
    sorter: Sorter
    birth: BlockBirth


@dataclass
class Session:
    """A link that is up, between the node up the route (first) and the one down."""

    ends: tuple[End, End]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)
    errors: list[BaseException] = field(default_factory=list)

    async def cut(self) -> None:
        self.scope.cancel()
        await self.over.wait()


class Network:
    def __init__(self, nursery: trio.Nursery, folder: Path, times: LaneTimes) -> None:
        self._nursery = nursery
        self._folder = folder
        self.times = times
        self.nodes: dict[str, Node] = {}
        self.sessions: dict[LinkId, Session] = {}
        self.n_batches = 0
        """That crossed any link, either way; each would have a tag."""

    async def add(self, name: str, lanes: Sequence[Lane], unkeyed: Sequence[str]) -> Node:
        node = self.nodes[name] = Node(self._folder, name, lanes)
        for peer, link in node.peers().items():
            role = "alice" if name < peer else "bob"
            psk = random.Random(link).randbytes(64 * 1024)
            node.store.install_psk(link, role, Secret.from_bytes(psk))
        for lane in lanes:
            if name in (lane.route[0], lane.route[-1]) and lane.id not in unkeyed:
                psk = random.Random(lane.id).randbytes(32 * 66)
                node.store.install_lane_psk(lane.id, Secret.from_bytes(psk))
        await node.boot(self._nursery, self.times)
        return node

    async def restart(self, name: str, lanes: Sequence[Lane] | None = None) -> None:
        """End a node's process with its sessions, and start it again."""
        node = self.nodes[name]
        for session in list(self.sessions.values()):
            if any(end.node is node for end in session.ends):
                await session.cut()
        await node.stop()
        node.lane_orders = node.lane_orders if lanes is None else tuple(lanes)
        node.open_store()
        await node.boot(self._nursery, self.times)

    async def connect(self, upper: str, lower: str) -> Session:
        """Open a session; return once every lane has been attached at both ends."""
        link = link_between(upper, lower)
        ends = (self.nodes[upper], self.nodes[lower])
        marks = [await node.service.do(lambda store: store.auth_marks(link)) for node in ends]
        states = [
            await node.service.alone(lambda store, of=theirs: store.begin_session(link, of))
            for node, theirs in zip(ends, reversed(marks), strict=True)
        ]
        made: list[End] = []

        def sender(other: int) -> Say:
            async def send(*messages: msgspec.Struct) -> None:
                await trio.lowlevel.checkpoint()
                self.n_batches += 1
                batch = join_batch([encode_message(one) for one in messages])
                for heard in decode_batch(batch):
                    await made[other].sorter.put(heard)

            return send

        for at, node in enumerate(ends):
            config = Link(
                name=link,
                peer=ends[1 - at].name,
                role="receiver",
                listen="127.0.0.1:0",
                promised_bits_per_s=0.0,
                receiver=BENCH,
            )
            keys = Mailbox(*KEY_MESSAGES)
            desk = KeyDesk(link, node.service, sender(1 - at), keys)
            post = LanePost(link, sender(1 - at))
            birth = BlockBirth(config, desk, node.lanes)
            made.append(End(node, config, desk, post, Sorter([keys, post]), birth))
        session = Session((made[0], made[1]))
        await self._nursery.start(self._run, link, session, states)
        self.sessions[link] = session
        return session

    async def _run(
        self,
        link: LinkId,
        session: Session,
        states: Sequence[object],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            with session.scope:
                async with trio.open_nursery() as nursery:
                    for end, state in zip(session.ends, states, strict=True):
                        nursery.start_soon(end.desk.run, state)
                    for end in session.ends:
                        await end.desk.agreed()
                        nursery.start_soon(end.post.run)
                        await end.node.lanes.attach(link, end.post)
                    task_status.started()
        except* Exception as errors:
            session.errors += errors.exceptions
        finally:
            with trio.CancelScope(shield=True):
                for end in session.ends:
                    end.node.lanes.detach(link, end.post)
                    await end.node.service.do(lambda store: store.end_session(link))
            self.sessions.pop(link, None)
            session.over.set()

    async def connect_all(self, route: Sequence[str]) -> None:
        for upper, lower in pairwise(route):
            if link_between(upper, lower) not in self.sessions:
                await self.connect(upper, lower)

    async def light(self, upper: str, lower: str, index: int = 0, n_bytes: int = 4_096) -> bool:
        """Distil a block of ``BLOCK_S`` on a link; return whether it is live at both ends."""
        session = self.sessions[link_between(upper, lower)]
        store = self.nodes[upper].service
        link = link_between(upper, lower)
        number = await store.do(lambda of: of.next_block_no(link))
        data = os.urandom(n_bytes)
        done: list[bool] = []

        async def commit(end: End) -> None:
            key = Secret.from_bytes(data)
            done.append(await end.birth.commit_block(Work(BlockNo(number), index, 0), key, 0))
            assert key.wiped

        async with trio.open_nursery() as nursery:
            for end in session.ends:
                nursery.start_soon(commit, end)
        return all(done)

    async def light_all(self, route: Sequence[str], index: int = 0) -> None:
        for upper, lower in pairwise(route):
            assert await self.light(upper, lower, index)

    async def accounts(self, upper: str, lower: str) -> tuple[Account, Account]:
        link = link_between(upper, lower)
        nodes = self.nodes[upper], self.nodes[lower]
        first, second = [await node.service.do(lambda store: store.account(link)) for node in nodes]
        return first, second


@asynccontextmanager
async def network(
    folder: Path, *lanes: Lane, times: LaneTimes = TIMES, unkeyed: Sequence[str] = ()
) -> AsyncIterator[Network]:
    """All nodes of all routes, connected; ends of the ``unkeyed`` lanes have no key for them."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        net = Network(nursery, folder, times)
        for name in dict.fromkeys(name for lane in lanes for name in lane.route):
            node = await net.add(name, [lane for lane in lanes if name in lane.route], unkeyed)
            stack.push_async_callback(node.stop)
        for lane in lanes:
            await net.connect_all(lane.route)
        try:
            yield net
        finally:
            for session in list(net.sessions.values()):
                await session.cut()
