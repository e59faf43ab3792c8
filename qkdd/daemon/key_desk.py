"""The keys of one link during one session: what the two stores say to each other."""

import time
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec
import structlog
import trio

from qkdd.base.errors import LinkLost, QkdError
from qkdd.base.ids import BlockNo, LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.daemon.beat import next_beat
from qkdd.daemon.block_commit import BlockCommits
from qkdd.daemon.key_turn import Outcome, Stocking, Turn, Wanted, take_turn
from qkdd.daemon.mailbox import Mailbox, all_waiting
from qkdd.daemon.order_desk import OrderDesk
from qkdd.daemon.store_service import StoreService
from qkdd.keys.cutting import Order
from qkdd.keys.delivery_store import CONFIRM_BATCH
from qkdd.keys.errors import DamagedBlock, KeyNotFound
from qkdd.keys.messages import (
    ID_BYTES,
    BlockBurned,
    BlockLive,
    BlockPrepared,
    KeysAnnounced,
    KeysConfirmed,
    KeysHeld,
    KeysSettled,
    LanesRelayed,
    Message,
    StoreAgreed,
    StoreState,
)
from qkdd.keys.state_parts import StateGatherer, cut_state

log = structlog.get_logger(__name__)

KEY_MESSAGES = (
    BlockPrepared,
    LanesRelayed,
    BlockLive,
    BlockBurned,
    KeysAnnounced,
    KeysHeld,
    KeysConfirmed,
    KeysSettled,
    LanesRelayed,
    StoreState,
    StoreAgreed,
)
CONFIRM_PAUSE_S = 0.02
"""Between two full messages of fates: settling them all at once would keep applications waiting."""
EXPIRE_EVERY_S = 60.0
LANES_EVERY_S = 30.0
"""Between two words on relayed lane bits, which cost a tag each."""


class Say(Protocol):
    """Sends messages in order, together if it can."""

    async def __call__(self, *messages: msgspec.Struct) -> None: ...


class KeyDesk:
    """Keeps two stores in step over a session; the only sender of key messages, in store order."""

    def __init__(self, link: LinkId, store: StoreService, send: Say, mailbox: Mailbox) -> None:
        self._link = link
        self._store = store
        self._send = send
        self._mailbox = mailbox
        self._say, self._said = trio.open_memory_channel[msgspec.Struct](float("inf"))
        self._agreed = trio.Event()
        self._orders = OrderDesk(
            link, store, self._queue, self._finish, store.settings.max_keys_per_request
        )
        self._commits = BlockCommits(link, store, self._queue)
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
                nursery.start_soon(self._orders.watch)
                nursery.start_soon(self._confirm)
                nursery.start_soon(self._expire)
                nursery.start_soon(self._tell_lane_bits)
        finally:
            self._over = True
            self._commits.end()
            self._orders.end()

    async def _speak(self) -> None:
        async for message in self._said:
            await self._send(message, *all_waiting(self._said))

    async def _listen(self) -> None:
        while True:
            first = await self._mailbox.get(*KEY_MESSAGES)
            messages: list[Message] = []
            for message in (first, *self._mailbox.waiting()):
                if isinstance(message, StoreState):
                    state = self._states.receive(message)
                    if state is None:
                        continue
                    message = state
                messages.append(message)  # type: ignore[arg-type]  # the mailbox takes no others
            if messages:
                await self._carry_out(messages)
            if any(isinstance(message, StoreAgreed) for message in messages):
                self._agreed.set()

    async def _carry_out(self, messages: Sequence[Message]) -> None:
        """Whatever has come shares one commit, with the deliveries that waited for it."""
        answered = self._orders.answered(messages)
        ready = [wanted for wanted in answered if not isinstance(wanted, Stocking)]
        now_s = int(time.time())
        try:
            turn = await self._store.do(
                lambda store: take_turn(store, self._link, messages, ready, now_s),
                then=self._turned,
            )
            if turn.error is None:
                self._orders.stocked(one for one in answered if isinstance(one, Stocking))
        except QkdError as error:
            for wanted in ready:
                wanted.finish(error)
            raise
        finally:
            for wanted in ready:
                wanted.finish(LinkLost(f"link {self._link}: the session was lost"))
        if turn.error is not None:
            raise turn.error
        for message in messages:
            self._commits.heard(message, from_peer=True)

    def _turned(self, turn: Turn) -> None:
        self._queue(turn.answers)
        self._finish(turn.delivered)

    def _finish(self, delivered: Iterable[tuple[Wanted, Outcome]]) -> None:
        damages: set[DamagedBlock] = set()
        for wanted, outcome in delivered:
            wanted.finish(outcome)
            damages |= {outcome} if isinstance(outcome, DamagedBlock) else set()
        for damage in damages:
            self._tell_damage(damage)

    def _queue(self, messages: Sequence[msgspec.Struct]) -> None:
        """Queue for sending what the store has just committed, and note blocks that are live."""
        for message in messages:
            self._say.send_nowait(message)
            self._commits.heard(message, from_peer=False)

    async def _confirm(self) -> None:
        """Tell the peer, once a second at most, what became of the keys it holds."""
        await self._agreed.wait()
        seen: int | None = None
        while True:
            self._orders.burn_idle()
            if seen != self._store.n_changes:
                seen = self._store.n_changes
                if await self._confirm_some() == CONFIRM_BATCH:
                    await trio.sleep(CONFIRM_PAUSE_S)
                    continue
            await next_beat()

    async def _confirm_some(self) -> int:
        """Tell the fates of up to CONFIRM_BATCH keys; return of how many."""
        message = await self._store.do(
            lambda store: store.confirmations(self._link),
            then=lambda message: self._queue([message] if message is not None else []),
        )
        return 0 if message is None else (len(message.delivered) + len(message.burned)) // ID_BYTES

    async def _expire(self) -> None:
        while True:
            await trio.sleep(EXPIRE_EVERY_S)
            n_keys = await self._store.do(
                lambda store: store.expire_keys(self._link, int(time.time()))
            )
            if n_keys:
                log.info("unfetched keys wiped", link=self._link, n_keys=n_keys)

    async def _tell_lane_bits(self) -> None:
        await self._agreed.wait()
        while True:
            await trio.sleep(LANES_EVERY_S)
            await self._store.do(
                lambda store: store.lane_bits_relayed(self._link),
                then=lambda message: self._queue([message] if message is not None else []),
            )

    # --- for the distillers ---

    async def commit_block(
        self, block_no: BlockNo, key: Secret, auth_bytes: int, *, lane_bits: int = 0
    ) -> bool:
        """See :meth:`BlockCommits.commit`."""
        return await self._commits.commit(block_no, key, auth_bytes, lane_bits)

    # --- for the key office ---

    async def new_keys(
        self,
        number: int,
        size_bits: int,
        master: SaeId,
        slaves: Sequence[SaeId],
        local_slaves: Sequence[SaeId],
        *,
        ahead: bool = False,
    ) -> list[tuple[UUID, Secret]]:
        """Reserve, have the peer hold, deliver: the master's copies.

        ``ahead``: the first two may be done for a few keys at once before they are asked for, see
        :mod:`qkdd.daemon.ahead`.

        Raises
        ------
        OutOfKey
            See :meth:`KeyStore.reserve_keys`.
        LinkLost
            The peer did not answer, or refused; the keys are burned.
        """
        if not self.up:
            raise LinkLost(f"link {self._link} is not connected")
        order = Order(number, size_bits // 8, master, tuple(slaves), tuple(local_slaves))
        keys = await self._delivered(wanted := self._orders.add(order, ahead=ahead))
        return list(zip(wanted.key_ids, keys, strict=True))

    async def _delivered(self, wanted: Wanted) -> list[Secret]:
        """All or none: if one is not to be had, the others are burned."""
        try:
            return await wanted.result()
        except KeyNotFound as error:
            await self._burn(wanted)
            raise LinkLost(
                f"link {self._link}: the peer refused keys, or the session was lost; they are "
                "burned"
            ) from error
        except (LinkLost, DamagedBlock):
            await self._burn(wanted)
            raise
        except trio.Cancelled:
            self._orders.forget(wanted)
            raise

    async def _burn(self, wanted: Wanted) -> None:
        if wanted.key_ids:
            await self._store.do(lambda store: store.burn_keys(self._link, wanted.key_ids))

    def _tell_damage(self, damage: DamagedBlock) -> None:
        log.error("block damaged", link=self._link, block_no=damage.block_no)
        self._say.send_nowait(BlockBurned(block_no=damage.block_no))
