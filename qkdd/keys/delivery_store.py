"""Keys for applications at the owner: reserved, delivered to masters, burned, confirmed."""

from collections.abc import Sequence
from uuid import UUID

from qkdd.base.errors import OutOfKey, QkdError, StoreError
from qkdd.base.ids import LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.core import StoreCore
from qkdd.keys.cutting import Order
from qkdd.keys.delivery import Reservation, Reservations
from qkdd.keys.errors import DamagedBlock, KeyNotFound
from qkdd.keys.messages import KeysConfirmed

CONFIRM_BATCH = 64


class DeliveryStore(StoreCore):
    """The part of the store from which masters have their keys; see
    :class:`qkdd.keys.store.KeyStore`, and :class:`qkdd.keys.hop_store.HopStore` for slaves."""

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
        left = self._streams.left(link)
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
