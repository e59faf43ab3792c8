"""Two key desks over two real stores: every message crosses the codec, and the test may meddle."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import trio

from qkdd.base.ids import BlockNo, LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.daemon.key_desk import KEY_MESSAGES, KeyDesk
from qkdd.daemon.key_office import KeyOffice
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.account import Account
from qkdd.keys.layout import Role
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore
from qkdd.net.codec import decode_batch, encode_message, join_batch
from tests.delivery.relay_pair import an_office

LINK = LinkId("a-b")
DELIVERY = DeliverySettings(
    saes=(
        Sae(id="alpha", node="alice"),
        Sae(id="anna", node="alice"),
        Sae(id="beta", node="bob"),
        Sae(id="gamma", node="carol"),
    )
)

Meddler = Callable[[msgspec.Struct], msgspec.Struct | None]


@dataclass
class DeskEnd:
    name: str
    store: KeyStore
    service: StoreService
    office: KeyOffice
    desk: KeyDesk | None = None
    peer: "DeskEnd | None" = None
    mailbox: Mailbox | None = None
    meddle: Meddler = field(default=lambda message: message)
    """What becomes of what this end says; None loses it."""

    async def send(self, *messages: msgspec.Struct) -> None:
        await trio.lowlevel.checkpoint()
        told = [one for one in map(self.meddle, messages) if one is not None]
        assert self.peer is not None
        if told and self.peer.mailbox is not None:
            for heard in decode_batch(join_batch([encode_message(one) for one in told])):
                await self.peer.mailbox.put(heard)

    def account(self) -> Account:
        return self.store.account(LINK)

    def up(self) -> KeyDesk:
        assert self.desk is not None
        return self.desk


@dataclass
class DeskPair:
    alice: DeskEnd
    bob: DeskEnd

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Both ends in a session whose stores have agreed; leaving it loses the peer."""
        ends = (self.alice, self.bob)
        marks = [await end.service.do(lambda store: store.auth_marks(LINK)) for end in ends]
        states = [
            await end.service.alone(lambda store, theirs=theirs: store.begin_session(LINK, theirs))
            for end, theirs in zip(ends, reversed(marks), strict=True)
        ]
        for end in ends:
            end.mailbox = Mailbox(*KEY_MESSAGES)
            end.desk = KeyDesk(LINK, end.service, end.send, end.mailbox)
        async with trio.open_nursery() as nursery:
            for end, state in zip(ends, states, strict=True):
                nursery.start_soon(end.up().run, state)
            for end in ends:
                await end.up().agreed()
                end.office.open_desk(LINK, end.up())
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
        for end in ends:
            end.office.close_desk(LINK)
            await end.service.do(lambda store: store.end_session(LINK))

    async def block(self, n_bytes: int = 8_192, auth_bytes: int = 0) -> None:
        """Distil a block at both ends at once."""
        number = await self.alice.service.do(lambda store: store.next_block_no(LINK))
        data = random.Random(number).randbytes(n_bytes)
        done: list[bool] = []

        async def commit(end: DeskEnd) -> None:
            key = Secret.from_bytes(data)
            done.append(await end.up().commit_block(BlockNo(number), key, auth_bytes))
            assert key.wiped

        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, self.alice)
            nursery.start_soon(commit, self.bob)
        assert done == [True, True]


@asynccontextmanager
async def desk_pair(folder: Path) -> AsyncIterator[DeskPair]:
    alice, bob = (_end(folder, name) for name in ("alice", "bob"))
    alice.peer, bob.peer = bob, alice
    try:
        async with trio.open_nursery() as nursery:
            for end in (alice, bob):
                await nursery.start(end.service.run)
            try:
                yield DeskPair(alice, bob)
            finally:
                for end in (alice, bob):
                    end.service.stop()
    finally:  # their threads have ended
        for end in (alice, bob):
            end.store.close()


def _end(folder: Path, name: str) -> DeskEnd:
    limits = StoreSettings(path=folder / f"{name}.db", master_key=Path(), auth_floor_bytes=0)
    store = KeyStore.open(
        limits.path,
        Secret.from_bytes(name.encode().ljust(32, b"m")),
        NodeId(name),
        random.Random(name).randbytes,
        limits,
    )
    role: Role = "alice" if name == "alice" else "bob"
    psk = random.Random("psk").randbytes(32 * 1024)
    store.install_psk(LINK, role, Secret.from_bytes(psk))
    service = StoreService(store)
    other = NodeId("bob" if name == "alice" else "alice")
    office = an_office(NodeId(name), {other: LINK}, service, DELIVERY, limits)
    return DeskEnd(name, store, service, office)


def lose(*kinds: type[msgspec.Struct]) -> Meddler:
    """Lose every message of these kinds."""
    return partial(_lose, kinds)


def _lose(
    kinds: tuple[type[msgspec.Struct], ...], message: msgspec.Struct
) -> msgspec.Struct | None:
    return None if isinstance(message, kinds) else message
