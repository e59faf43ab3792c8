"""The key store of a relay: everything the daemon may ask of it, one thread at a time."""

from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec

from qkdd.base.errors import OutOfKey, PeerError, QkdError, SecurityAlarm, StoreError
from qkdd.base.ids import BlockNo, LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys import messages
from qkdd.keys.account_store import AccountStore
from qkdd.keys.cutting import Order
from qkdd.keys.delivery import Reservation, Reservations
from qkdd.keys.epsilon_book import EpsilonYear
from qkdd.keys.errors import DamagedBlock, KeyNotFound
from qkdd.keys.hop_store import HopStore
from qkdd.keys.lane_store import LaneStore
from qkdd.keys.layout import BlockLayout, Direction, Role
from qkdd.keys.messages import AuthMarks, BlockLive, BlockPrepared, KeysConfirmed, StoreState
from qkdd.keys.streams import AuthLeft

T = TypeVar("T")
CONFIRM_BATCH = 64


class KeyStore(LaneStore, HopStore, AccountStore):
    """Reserve, sync, then send: whatever is returned is on disk, and may leave in that order.

    Inside ``with store.transaction():`` several operations share one sync; then nothing that
    they returned, secrets included, may leave before the ``with`` is left without an error.
    A secret handed out in a group commit that fails is wiped.
    """

    # --- links and authentication key ---

    def install_psk(self, link: LinkId, role: Role, psk: Secret, *, rekey: bool = False) -> None:
        """Lay in a pre-shared key of at least 32 KiB; ``rekey`` first burns all of the link."""

        def install() -> None:
            self._links.install(link, role, psk, rekey=rekey)
            self._streams.forget(link)

        self._do(install)

    def links(self) -> list[LinkId]:
        return self._links.all()

    def auth_marks(self, link: LinkId) -> AuthMarks:
        """Begin an incarnation: what to tell the peer before the first tag."""
        return self._do(lambda: self._reconnect.marks(link))

    def begin_session(self, link: LinkId, peer: AuthMarks) -> StoreState:
        """Burn up to the larger marks; return the first message to send under authentication.

        Raises
        ------
        SecurityAlarm
            One of the two stores was restored from an old image: all key here is burned.
        """
        if self._db.in_group:
            raise RuntimeError("a session begins outside of a group commit")
        try:
            self._do(lambda: self._reconnect.begin(link, peer))
        except StoreError:
            self._streams.forget(link)  # what is on disk counts
            raise
        except SecurityAlarm as alarm:
            self.raise_alarm(link, str(alarm))
            raise
        return self._do(lambda: self._reconnect.state(link))

    def end_session(self, link: LinkId) -> None:
        """The peer is gone: nothing more is reserved until the next agreement."""
        self._links.close_session(link)
        self._do(lambda: self._streams.persist(link))

    def raise_alarm(self, link: LinkId, reason: str) -> None:
        """Burn all key of a link until it is re-keyed."""
        self._do(lambda: self._reconnect.alarm(link, reason))

    def take_tx(self, link: LinkId, n_bytes: int) -> Secret:
        """Take the next bytes to tag with; never the same twice. Not inside a transaction."""
        return self._streams.take(link, "tx", n_bytes)

    def take_rx(self, link: LinkId, n_bytes: int) -> Secret:
        """Take the next bytes to check tags with."""
        return self._streams.take(link, "rx", n_bytes)

    def take_ready(self, link: LinkId, direction: Direction, n_bytes: int) -> Secret | None:
        """Take pads that are burned on disk ahead, or None: then ask :meth:`take_tx` or _rx.

        The one operation that may run beside another, in another thread.
        """
        return self._streams.take_ready(link, direction, n_bytes)

    def auth_left(self, link: LinkId) -> AuthLeft:
        return self._streams.left(link)

    # --- blocks ---

    def next_block_no(self, link: LinkId) -> BlockNo:
        """Claim a block number, which is never given again."""
        return self._do(lambda: self._links.next_block(link))

    def prepare_block(
        self,
        link: LinkId,
        block_no: BlockNo,
        key: Secret,
        *,
        n_bits: int,
        auth_bytes: int,
        lane_bits: int = 0,
        facts: Mapping[str, str | int | float] | None = None,
    ) -> tuple[BlockPrepared | BlockLive, ...]:
        """Put a distilled block on disk, ``n_bits`` packed in ``key``; return what to send.

        ``auth_bytes`` go to each direction's authentication first, if the block has as many.
        ``lane_bits`` more are the block's units of lanes, which are not in ``key``: from the
        moment that the block is live they are under way in the account, until they are settled
        (:meth:`settle_lane_bits`) or known to be lost (:meth:`drop_lane_units`).
        """
        if min(n_bits, lane_bits) < 0 or len(key) != -(-n_bits // 8):
            raise ValueError(f"{len(key)} bytes cannot be {n_bits} bits beside {lane_bits}")
        layout = BlockLayout.of(n_bits, auth_bytes)
        text = msgspec.json.encode(facts or {})
        return _or_raise(
            self._do(lambda: self._blocks.prepare(link, block_no, key, layout, text, lane_bits))
        )

    def epsilon_spent(self, link: LinkId, year: int) -> EpsilonYear:
        """Return what the blocks of a link have cost in a calendar year."""
        return self._epsilon.spent(link, year)

    def spend_epsilon(
        self, link: LinkId, year: int, secrecy: float, correctness: float, limit: float
    ) -> EpsilonYear | None:
        """Count a block that is about to become key; None if that would pass ``limit``."""
        return self._do(lambda: self._epsilon.spend(link, year, secrecy, correctness, limit))

    # --- delivery ---

    def available_keys(self, link: LinkId, size_bits: int) -> int:
        """Return how many keys of this size our half of the stock could give."""
        return self._owner.available(link, size_bits // 8)

    def reserve_keys(
        self,
        link: LinkId,
        number: int,
        size_bits: int,
        master: SaeId,
        slaves: Sequence[SaeId],
        now_s: int,
        *,
        local_slaves: Sequence[SaeId] = (),
    ) -> Reservation:
        """Cut keys from our half; announcements must be sent in the order of reservation.

        ``slaves`` are the peer's SAEs, ``local_slaves`` further ones of our own.

        Raises
        ------
        OutOfKey
            Our half, or the authentication key above its floor, does not suffice.
        LinkLost
            The stores have not agreed since the last connection.
        """
        order = Order(number, size_bits // 8, master, tuple(slaves), tuple(local_slaves))
        if size_bits % 8:
            raise ValueError(f"keys of {size_bits} bits")
        reserved = self.reserve_orders(link, [order], now_s)
        (records,) = reserved.records
        if isinstance(records, OutOfKey):
            raise records
        return Reservation(records, reserved.announcements[0])

    def reserve_orders(self, link: LinkId, orders: Sequence[Order], now_s: int) -> Reservations:
        """As :meth:`reserve_keys` for each order, with few statements and announcements for all;
        where an order has no keys, it says why.

        Raises
        ------
        LinkLost
            As there.
        """
        for order in orders:
            self._check_order(order)

        def reserve() -> Reservations:
            self._links.require_up(link)
            short = self._below_floor(link)
            limited: list[OutOfKey | None] = []
            good: list[Order] = []
            for order in orders:
                n_before = sum(one.number for one in good)
                limited.append(short or self._too_many_open(link, order.number, n_before))
                good += [order] if limited[-1] is None else []
            reserved = self._owner.reserve(link, good, self._entropy, now_s)
            records = iter(reserved.records)
            return Reservations(
                [next(records) if limit is None else limit for limit in limited],
                reserved.announcements,
            )

        return self._do(reserve)

    def _check_order(self, order: Order) -> None:
        limits, size_bits = self.settings, 8 * order.n_bytes
        if not limits.min_key_size_bits <= size_bits <= limits.max_key_size_bits:
            raise ValueError(f"keys of {size_bits} bits")
        if not 1 <= order.number <= limits.max_keys_per_request:
            raise ValueError(f"{order.number} keys in one request")
        saes = (order.master, *order.slaves, *order.local_slaves)
        if len(set(saes)) != len(saes) or len(saes) < 2:
            raise ValueError(f"{len(saes)} SAEs, which are not at least two different ones")

    def _below_floor(self, link: LinkId) -> OutOfKey | None:
        left = self.auth_left(link)
        floor = self.settings.auth_floor_bytes
        if min(left.tx, left.rx) < floor:
            return OutOfKey(
                f"link {link}: {min(left.tx, left.rx)} bytes of authentication key, the floor "
                f"is {floor}"
            )
        return None

    def _too_many_open(self, link: LinkId, number: int, unwritten: int) -> OutOfKey | None:
        n_open = self._owner.open_keys(link, number, self.settings.max_open_keys, unwritten)
        if n_open + number > self.settings.max_open_keys:
            return OutOfKey(f"link {link}: {n_open} keys are open, the peer does not settle")
        return None

    def deliver_to_master(self, link: LinkId, key_ids: Sequence[UUID]) -> list[Secret]:
        """Return the master's copies of held keys, all or none, delivered on disk before."""
        (outcome,) = self._do(lambda: self._owner.deliver(link, [key_ids]))
        if isinstance(outcome, KeyNotFound):
            raise outcome
        return self._hand_out(outcome)

    def deliver_all(
        self, link: LinkId, requests: Sequence[Sequence[UUID]]
    ) -> list[list[Secret] | QkdError]:
        """As :meth:`deliver_to_master` for each request, with few statements for all; what stands
        in the way of one is its outcome, and no other's."""
        try:
            outcomes = self._do(lambda: self._owner.deliver(link, requests))
        except DamagedBlock as damage:
            return [
                damage
                if any(key_id.bytes in damage.key_ids for key_id in key_ids)
                else self._delivered(link, key_ids)
                for key_ids in requests
            ]
        for keys in outcomes:
            if not isinstance(keys, KeyNotFound):
                self._hand_out(keys)
        return [*outcomes]

    def _delivered(self, link: LinkId, key_ids: Sequence[UUID]) -> list[Secret] | QkdError:
        try:
            return self.deliver_to_master(link, key_ids)
        except (KeyNotFound, StoreError) as error:
            return error

    def burn_keys(self, link: LinkId, key_ids: Sequence[UUID]) -> None:
        """Give up keys that were reserved and not delivered; others are left as they are."""

        def burn() -> None:
            for key_id in key_ids:
                row = self._copies.row(key_id.bytes)
                if row is not None and row["link"] == link:
                    self._owner.burn(row)

        self._do(burn)

    def expire_keys(self, link: LinkId, now_s: int) -> int:
        """Wipe copies of delivered keys that nobody fetched in ``key_ttl_s``."""
        return self._do(lambda: self._copies.expire(link, now_s - self.settings.key_ttl_s))

    def confirmations(self, link: LinkId) -> KeysConfirmed | None:
        """Return the fates of our keys that the peer has not been told; send it or reconnect."""
        self._links.require_up(link)
        return self._do(lambda: self._owner.confirm(link, CONFIRM_BATCH))

    # --- messages of the peer ---

    def receive(
        self, link: LinkId, message: messages.Message, now_s: int
    ) -> tuple[messages.Message, ...]:
        """Carry out a message; return the answers, which may leave once this is on disk.

        Raises
        ------
        PeerError
            The message is illegal and changed nothing (but a block of unequal lengths is burned).
        SecurityAlarm
            It shows a store restored from an old image: all key of the link is burned.
        """
        try:
            return _or_raise(self._do(lambda: self._receive(link, message, now_s)))
        except ValueError as error:
            raise PeerError(f"link {link}: {type(message).__name__}: {error}") from error
        except SecurityAlarm as alarm:
            if isinstance(message, StoreState):
                self.raise_alarm(link, str(alarm))
            raise

    def _receive(
        self, link: LinkId, message: messages.Message, now_s: int
    ) -> tuple[messages.Message, ...] | PeerError:
        match message:
            case messages.BlockPrepared():
                return self._blocks.peer_prepared(link, message)
            case messages.LanesRelayed():
                self._links.peer_speaks(link, "LanesRelayed")
                self._shares.peer_relayed(link, message.n_bits)
            case messages.BlockLive():
                self._blocks.peer_live(link, message)
            case messages.BlockBurned():
                self._blocks.peer_burned(link, message)
            case messages.KeysAnnounced():
                return (self._holder.hold(link, message, now_s),)
            case messages.KeysHeld():
                self._owner.held(link, message)
            case messages.KeysConfirmed():
                return (self._holder.confirmed(link, message),)
            case messages.KeysSettled():
                self._owner.settled(link, message)
            case messages.StoreState():
                return (self._reconnect.agree(link, message),)
            case messages.StoreAgreed():
                self._reconnect.agreed(link, message)
        return ()


def _or_raise(result: T | PeerError) -> T:
    if isinstance(result, PeerError):
        raise result
    return result
