"""Keys that go hop by hop: carries out what the machine of this node says, session by session."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import structlog
import trio

from qkdd.base.errors import LinkLost, OutOfKey, PeerError, StoreError
from qkdd.base.ids import LinkId, NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.daemon.key_desk import KeyDesk, Say
from qkdd.daemon.mailbox import Mailbox, all_waiting
from qkdd.daemon.store_service import StoreService
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.hop_keys import HopCopies
from qkdd.keys.schema import NEXT_RELAY, RELAY
from qkdd.keys.settings import StoreSettings
from qkdd.relay import hop_actions
from qkdd.relay.hop_actions import Action, HopOrder
from qkdd.relay.hop_messages import ID_BYTES, HopBurned, HopFailed, HopHeld, HopKeys
from qkdd.relay.hops import MAX_PASSING, HopNode, split_ids

log = structlog.get_logger(__name__)

HOP_MESSAGES = (HopKeys, HopHeld, HopFailed, HopBurned)
ARRIVE_TIMEOUT_S = 15.0
"""From the first pads to the last node's word that all keys are on disk there."""
EXPIRE_EVERY_S = 60.0
MAX_WORDS_WAITING = 4 * MAX_PASSING
"""To a neighbour that takes them slower than others speak. The first node gives up keys whose
answer is dropped; keys that are not burned for it expire, and nobody knows their IDs."""
NO_PADS = (LinkLost, OutOfKey, StoreError)


@dataclass(slots=True)
class _Waiting:
    """A transfer that begins here, until its end is known."""

    over: trio.Event = field(default_factory=trio.Event)
    failure: str | None = None


class HopDesk:
    """The machine of this node, its neighbours' sessions, and whoever waits for an answer."""

    def __init__(
        self,
        node: NodeId,
        links: Mapping[NodeId, LinkId],
        store: StoreService,
        homes: Mapping[str, str],
        limits: StoreSettings,
        desks: Mapping[LinkId, KeyDesk],
    ) -> None:
        """``desks``: of the links whose session is up."""
        self._node = node
        self._links = links
        self._store = store
        self._homes = homes
        self._limits = limits
        self._desks = desks
        self._machine = HopNode(node)
        self._says: dict[str, trio.MemorySendChannel[msgspec.Struct]] = {}
        self._waiting: dict[bytes, _Waiting] = {}

    def take(self, homes: Mapping[str, str]) -> None:
        """Know these SAEs from now on."""
        self._homes = homes

    # --- a neighbour's session ---

    async def run(self, neighbour: NodeId, send: Say, mailbox: Mailbox) -> None:
        """Serve a session until cancelled; what was on its way over it ends with it."""
        # Keys are bounded by the transfers that pass at once, all other words in _queue.
        say, said = trio.open_memory_channel[msgspec.Struct](float("inf"))
        self._says[neighbour] = say
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak, send, said)
                nursery.start_soon(self._listen, neighbour, mailbox, nursery)
        finally:
            del self._says[neighbour]
            self._say(self._machine.lost(neighbour))

    async def _speak(self, send: Say, said: trio.MemoryReceiveChannel[msgspec.Struct]) -> None:
        async for message in said:
            await send(message, *all_waiting(said))

    async def _listen(self, neighbour: NodeId, mailbox: Mailbox, nursery: trio.Nursery) -> None:
        while True:
            message = await mailbox.any()
            if isinstance(message, HopKeys):
                actions = await self._keys_came(neighbour, message)
            else:
                assert isinstance(message, HopHeld | HopFailed | HopBurned)
                actions = self._machine.receive(neighbour, message)
            for action in self._say(actions):
                if isinstance(action, hop_actions.WantPads):
                    nursery.start_soon(self._get_pads, action)
                else:
                    await self._at_the_end(action)

    async def _keys_came(self, neighbour: NodeId, message: HopKeys) -> list[Action]:
        self._machine.check(neighbour, message)
        link = self._links[neighbour]
        pad_ids = [UUID(bytes=one) for one in split_ids(message.pads)]
        try:
            pads = await self._store.do(lambda store: store.take_pads(link, pad_ids))
        except (KeyNotFound, KeyNotEntitled) as error:
            raise PeerError(
                f"link {link}: HopKeys under pads that are not held: {error}"
            ) from error
        refusal = self._refusal(message)
        if refusal:
            for pad in pads:
                pad.wipe()
            return self._machine.refuse(neighbour, message, refusal)
        return self._machine.keys_came(neighbour, message, pads)

    def _refusal(self, message: HopKeys) -> str:
        """Say why these keys cannot be taken here, if they cannot."""
        limits, size_bits = self._limits, 8 * message.n_bytes
        if not limits.min_key_size_bits <= size_bits <= limits.max_key_size_bits:
            return (
                f"keys of {size_bits} bits, allowed {limits.min_key_size_bits} to "
                f"{limits.max_key_size_bits}"
            )
        n_keys = len(message.key_ids) // ID_BYTES
        if n_keys > limits.max_keys_per_request:
            return f"{n_keys} keys at once, at most {limits.max_keys_per_request}"
        if message.hop + 1 < len(message.route):
            after = message.route[message.hop + 1]
            return "" if after in self._links else f"no link to {after}"
        if self._homes.get(message.master) != message.route[0]:
            return f"SAE {message.master} is not known as one of {message.route[0]}"
        strange = [sae for sae in message.slaves if self._homes.get(sae) != self._node]
        return f"SAE {strange[0]} has not its home here" if strange else ""

    async def _at_the_end(self, action: Action) -> None:
        """The last node: put keys on disk before saying so, or burn them."""
        if isinstance(action, hop_actions.Burn):
            ids = [UUID(bytes=one) for one in split_ids(action.key_ids)]
            n_keys = await self._store.do(lambda store: store.burn_hop_keys(ids))
            log.info("keys of others burned", n_keys=n_keys)
            return
        assert isinstance(action, hop_actions.Hold)
        try:
            with action.keys:
                await self._hold(action.order, action.order.slaves, action.keys)
        except (StoreError, ValueError) as error:
            self._say(self._machine.not_held(action.order, str(error)))
        else:
            self._say(self._machine.held(action.order))

    async def _hold(self, order: HopOrder, slaves: Sequence[str], keys: Secret) -> None:
        copies = HopCopies(
            tuple(UUID(bytes=one) for one in split_ids(order.key_ids)),
            keys,
            order.n_relays,
            SaeId(order.master),
            tuple(SaeId(sae) for sae in slaves),
        )
        await self._store.do(lambda store: store.hold_hop_keys(copies, int(time.time())))

    async def _get_pads(self, wanted: hop_actions.WantPads) -> None:
        """Reserve pads with the next node, and send the keys on under them."""
        order, link = wanted.order, self._links[NodeId(wanted.neighbour)]
        try:
            desk = self._desks.get(link)
            if desk is None or wanted.neighbour not in self._says:
                raise LinkLost(f"link {link} is not connected")
            found = await desk.new_keys(
                order.n_keys, 8 * order.n_bytes, SaeId(RELAY), [SaeId(NEXT_RELAY)], []
            )
        except NO_PADS as error:
            self._say(self._machine.no_pads(order.transfer, str(error)))
            return
        except trio.Cancelled:
            self._say(self._machine.no_pads(order.transfer, f"{self._node} gives up"))
            raise
        pad_ids = b"".join(pad_id.bytes for pad_id, _ in found)
        self._say(self._machine.got_pads(order.transfer, pad_ids, [pad for _, pad in found]))

    def _say(self, actions: Iterable[Action]) -> list[Action]:
        """Queue messages and wake those who wait; return what takes time.

        A neighbour whose session is over does not hear: its end of it has forgotten the transfer.
        """
        left: list[Action] = []
        for action in actions:
            if isinstance(action, hop_actions.Say):
                channel = self._says.get(action.neighbour)
                if channel is not None:
                    _queue(channel, action)
                elif isinstance(action.message, HopKeys):
                    left += self._say(self._machine.lost(action.neighbour))
            elif isinstance(action, hop_actions.Arrived):
                self._end(action.transfer, None)
            elif isinstance(action, hop_actions.Failed):
                self._end(action.transfer, f"at {action.at}: {action.reason}")
            else:
                left.append(action)
        return left

    def _end(self, transfer: bytes, failure: str | None) -> None:
        waiting = self._waiting.get(transfer)
        if waiting is not None:
            waiting.failure = failure
            waiting.over.set()

    # --- for the key office ---

    async def carry(
        self, orders: Sequence[HopOrder], keys: Secret, local_slaves: Sequence[str]
    ) -> None:
        """Bring the same ``keys`` to the last node of every order, and to slaves at home.

        Raises
        ------
        LinkLost
            They did not reach one of them; they are burned everywhere.
        """
        for order in orders:
            self._waiting[order.transfer] = _Waiting()
        delivered = False
        try:
            with trio.move_on_after(ARRIVE_TIMEOUT_S):
                async with trio.open_nursery() as nursery:
                    for order in orders:
                        nursery.start_soon(self._carry_one, order, keys)
            for order in orders:
                self._check_arrived(order)
            if local_slaves:
                await self._hold(orders[0], local_slaves, keys)
            delivered = True
        finally:
            for order in orders:
                del self._waiting[order.transfer]
                if not delivered:
                    self._say(self._machine.give_up(order))

    async def _carry_one(self, order: HopOrder, keys: Secret) -> None:
        for action in self._say(self._machine.start(order, keys)):
            assert isinstance(action, hop_actions.WantPads)
            await self._get_pads(action)
        await self._waiting[order.transfer].over.wait()

    def _check_arrived(self, order: HopOrder) -> None:
        waiting, way = self._waiting[order.transfer], "-".join(order.route)
        if not waiting.over.is_set():
            raise LinkLost(
                f"no answer from {order.route[-1]} over {way} within {ARRIVE_TIMEOUT_S:g} s; the "
                "keys are burned"
            )
        if waiting.failure is not None:
            raise LinkLost(f"the keys for {order.route[-1]} are burned {waiting.failure}")

    async def expire(self) -> None:
        """Wipe, once a minute, what came here and nobody fetched in time; a store that is in
        trouble is asked again, for no link's session ends here in its place."""
        while True:
            await trio.sleep(EXPIRE_EVERY_S)
            try:
                n_keys = await self._store.do(lambda store: store.expire_hop_keys(int(time.time())))
            except StoreError as error:
                log.warning("unfetched keys wait to be wiped", reason=str(error))
                continue
            if n_keys:
                log.info("unfetched keys wiped", n_keys=n_keys)


def _queue(channel: trio.MemorySendChannel[msgspec.Struct], say: hop_actions.Say) -> None:
    """Queue a message; there is always room for keys, whose number the machine bounds."""
    n_waiting = channel.statistics().current_buffer_used
    if n_waiting < MAX_WORDS_WAITING or isinstance(say.message, HopKeys):
        channel.send_nowait(say.message)
    else:
        log.debug("word about keys by hops dropped", to=say.neighbour)
