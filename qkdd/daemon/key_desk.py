"""The keys of one link during one session: what the two stores say to each other."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
import structlog
import trio

from qkdd.base.errors import LinkLost
from qkdd.base.ids import BlockNo, LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.daemon.distil import Send
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.store_service import StoreService
from qkdd.keys.delivery import Reservation
from qkdd.keys.errors import DamagedBlock, KeyNotFound
from qkdd.keys.messages import (
    BlockBurned,
    BlockLive,
    BlockPrepared,
    KeysAnnounced,
    KeysConfirmed,
    KeysHeld,
    KeysSettled,
    Message,
    StoreAgreed,
    StoreState,
    split_ids,
)
from qkdd.keys.state_parts import StateGatherer, cut_state
from qkdd.keys.store import KeyStore

log = structlog.get_logger(__name__)

T = TypeVar("T")

KEY_MESSAGES = (
    BlockPrepared,
    BlockLive,
    BlockBurned,
    KeysAnnounced,
    KeysHeld,
    KeysConfirmed,
    KeysSettled,
    StoreState,
    StoreAgreed,
)
HELD_TIMEOUT_S = 5.0
LIVE_TIMEOUT_S = 20.0
CONFIRM_EVERY_S = 1.0
EXPIRE_EVERY_S = 60.0


class KeyDesk:
    """Keeps two stores in step over a session; the only sender of key messages, in store order."""

    def __init__(self, link: LinkId, store: StoreService, send: Send, mailbox: Mailbox) -> None:
        self._link = link
        self._store = store
        self._send = send
        self._mailbox = mailbox
        self._say, self._said = trio.open_memory_channel[msgspec.Struct](float("inf"))
        self._agreed = trio.Event()
        self._held: dict[bytes, trio.Event] = {}
        self._live: dict[int, trio.Event] = {}
        self._over = False
        self._states = StateGatherer()

    @property
    def up(self) -> bool:
        return self._agreed.is_set() and not self._over

    async def agreed(self) -> None:
        """Wait until both stores have resolved what the last session left open."""
        await self._agreed.wait()

    async def run(self, state: StoreState) -> None:
        """Serve the session until cancelled; ``state`` goes out first."""
        for part in cut_state(state):
            self._say.send_nowait(part)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak)
                nursery.start_soon(self._listen)
                nursery.start_soon(self._confirm)
                nursery.start_soon(self._expire)
        finally:
            self._over = True
            for event in (*self._held.values(), *self._live.values()):
                event.set()

    async def _speak(self) -> None:
        async for message in self._said:
            await self._send(message)

    async def _listen(self) -> None:
        while True:
            message = await self._mailbox.get(*KEY_MESSAGES)
            if isinstance(message, StoreState):
                state = self._states.receive(message)
                if state is None:
                    continue
                message = state
            await self._carry_out(message)  # type: ignore[arg-type]  # get() returns one of them
            if isinstance(message, KeysHeld):
                for key_id in split_ids(message.held) + split_ids(message.refused):
                    if key_id in self._held:
                        self._held[key_id].set()
            elif isinstance(message, StoreAgreed):
                self._agreed.set()

    async def _carry_out(self, message: Message) -> None:
        now_s = int(time.time())
        await self._store.do(
            lambda store: store.receive(self._link, message, now_s), then=self._queue
        )

    def _queue(self, messages: Sequence[msgspec.Struct]) -> None:
        """Queue for sending what the store has just committed, and note blocks that are live."""
        for message in messages:
            self._say.send_nowait(message)
            if isinstance(message, BlockLive):
                self._live.setdefault(message.block_no, trio.Event()).set()

    async def _confirm(self) -> None:
        """Tell the peer, once a second, what became of the keys it holds."""
        await self._agreed.wait()
        while True:
            await trio.sleep(CONFIRM_EVERY_S)
            await self._store.do(
                lambda store: store.confirmations(self._link),
                then=lambda message: self._queue([message] if message is not None else []),
            )

    async def _expire(self) -> None:
        while True:
            await trio.sleep(EXPIRE_EVERY_S)
            n_keys = await self._store.do(
                lambda store: store.expire_keys(self._link, int(time.time()))
            )
            if n_keys:
                log.info("unfetched keys wiped", link=self._link, n_keys=n_keys)

    # --- for the distillers ---

    async def commit_block(self, block_no: BlockNo, key: Secret, auth_bytes: int) -> bool:
        """Two-end commit; return whether the block is live here. Wipes ``key``."""
        event = self._live.setdefault(block_no, trio.Event())
        with key:
            await self._store.do(
                lambda store: store.prepare_block(
                    self._link, block_no, key, n_bits=8 * len(key), auth_bytes=auth_bytes
                ),
                then=self._queue,
            )
        with trio.move_on_after(LIVE_TIMEOUT_S):
            await event.wait()
        del self._live[block_no]
        return event.is_set() and not self._over

    # --- for the key office ---

    async def new_keys(
        self,
        number: int,
        size_bits: int,
        master: SaeId,
        slaves: Sequence[SaeId],
        local_slaves: Sequence[SaeId],
    ) -> list[tuple[UUID, Secret]]:
        """Reserve, have the peer hold, deliver: the master's copies.

        Raises
        ------
        OutOfKey
            See :meth:`KeyStore.reserve_keys`.
        LinkLost
            The peer did not answer, or refused; the keys are burned.
        """
        if not self.up:
            raise LinkLost(f"link {self._link} is not connected")
        now_s = int(time.time())
        reservation = await self._ask(
            lambda store: store.reserve_keys(
                self._link, number, size_bits, master, slaves, now_s, local_slaves=local_slaves
            ),
            then=self._announce,
        )
        key_ids = [record.key_id for record in reservation.records]
        await self._wait_held(key_ids)
        return list(zip(key_ids, await self._deliver(key_ids), strict=True))

    async def _deliver(self, key_ids: Sequence[UUID]) -> list[Secret]:
        """All or none: if one is not to be had, the others are burned."""
        try:
            return await self._ask(lambda store: store.deliver_to_master(self._link, key_ids))
        except KeyNotFound as error:
            await self._burn(key_ids)
            raise LinkLost(
                f"link {self._link}: the peer refused keys, or the session was lost; they are "
                "burned"
            ) from error
        except DamagedBlock:
            await self._burn(key_ids)
            raise

    async def _burn(self, key_ids: Sequence[UUID]) -> None:
        await self._store.do(lambda store: store.burn_keys(self._link, key_ids))

    def _announce(self, reservation: Reservation) -> None:
        for record in reservation.records:
            self._held[record.key_id.bytes] = trio.Event()
        self._say.send_nowait(reservation.announcement)

    async def _wait_held(self, key_ids: Sequence[UUID]) -> None:
        try:
            with trio.move_on_after(HELD_TIMEOUT_S) as scope:
                for key_id in key_ids:
                    await self._held[key_id.bytes].wait()
        finally:
            for key_id in key_ids:
                del self._held[key_id.bytes]
        if scope.cancelled_caught or self._over:
            await self._burn(key_ids)
            raise LinkLost(f"link {self._link}: the peer did not confirm the keys; they are burned")

    async def _ask(
        self, operation: Callable[[KeyStore], T], *, then: Callable[[T], None] | None = None
    ) -> T:
        """Ask the store; if it finds a damaged block, tell the peer that the rest is burned."""
        try:
            return await self._store.do(operation, then=then)
        except DamagedBlock as damage:
            log.error("block damaged", link=self._link, block_no=damage.block_no)
            self._say.send_nowait(BlockBurned(block_no=damage.block_no))
            raise
