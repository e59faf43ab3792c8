"""Orders of masters over one link: reserved together, announced, and answered for by the peer."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import msgspec
import trio

from qkdd.base.errors import LinkLost, OutOfKey, QkdError
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.daemon.ahead import SCARCE, Ahead
from qkdd.daemon.gathering import Gathering
from qkdd.daemon.key_turn import Outcome, Stocking, Wanted, answered_ids
from qkdd.daemon.store_service import StoreService
from qkdd.keys.cutting import Order
from qkdd.keys.delivery import Reservations
from qkdd.keys.messages import Message
from qkdd.keys.store import KeyStore

HELD_TIMEOUT_S = 5.0


class OrderDesk:
    """What is wanted during one session, until the peer has answered for its last key."""

    def __init__(
        self,
        link: LinkId,
        store: StoreService,
        say: Callable[[Sequence[msgspec.Struct]], None],
        delivered: Callable[[Iterable[tuple[Wanted, Outcome]]], None],
        most_keys: int,
    ) -> None:
        """``say`` queues what is to be sent, in order; ``delivered`` hears of keys that were ready,
        as of those of a :class:`Turn`. ``most_keys`` may be in one order."""
        self._link = link
        self._store = store
        self._say = say
        self._delivered = delivered
        self._ahead = Ahead(most_keys)
        self._ready: Gathering[Wanted, list[list[Secret] | QkdError]] = Gathering(
            store, self._deliver, self._told, self._failed
        )
        self._orders: Gathering[Wanted, Reservations] = Gathering(
            store, self._reserve, self._reserved, self._failed
        )
        self._wanted: dict[bytes, Wanted] = {}
        """By the name of each key for which the peer has not answered."""
        self._announced: deque[tuple[float, Wanted]] = deque()
        """With the time at which the peer's answer is overdue; those answered go at the front."""
        self._more_announced = trio.lowlevel.ParkingLot()
        self._over = False

    def add(self, order: Order, *, ahead: bool) -> Wanted:
        """Have keys reserved with the next commit, and announced after it; ``ahead``: or delivered
        with it, if some were cut ahead, as they may be for those who ask often."""
        wanted = Wanted(order)
        now_s = trio.current_time()
        names = self._ahead.take(order, now_s) if ahead else ()
        if names:
            wanted.reserved(names)
            wanted.in_work = True
            self._ready.add(wanted)
        else:
            self._orders.add(wanted)
        more = self._ahead.next_order(order, now_s) if ahead else None
        if more is not None:
            self._orders.add(Stocking(more))
        return wanted

    def _deliver(self, store: KeyStore, ready: Sequence[Wanted]) -> list[list[Secret] | QkdError]:
        return store.deliver_all(self._link, [wanted.key_ids for wanted in ready])

    def _told(self, ready: Sequence[Wanted], outcomes: list[list[Secret] | QkdError]) -> None:
        self._delivered(zip(ready, outcomes, strict=True))

    def _reserve(self, store: KeyStore, orders: Sequence[Wanted]) -> Reservations:
        now_s = int(time.time())
        short = [self._scarcity(store, wanted) for wanted in orders]
        good = [one.asked for one, why in zip(orders, short, strict=True) if why is None]
        reserved = store.reserve_orders(self._link, good, now_s)
        records = iter(reserved.records)
        return Reservations(
            [next(records) if why is None else why for why in short], reserved.announcements
        )

    def _scarcity(self, store: KeyStore, wanted: Wanted) -> OutOfKey | None:
        """Say why keys that nobody has asked for yet should stay in the stock, if they should."""
        order = wanted.asked
        if not isinstance(wanted, Stocking):
            return None
        if store.available_keys(self._link, 8 * order.n_bytes) >= SCARCE * order.number:
            return None
        return OutOfKey(f"link {self._link}: too few keys to cut any ahead")

    def _reserved(self, orders: Sequence[Wanted], reservations: Reservations) -> None:
        overdue_s = trio.current_time() + HELD_TIMEOUT_S
        for wanted, records in zip(orders, reservations.records, strict=True):
            if isinstance(records, OutOfKey):
                self._failed([wanted], records)
                continue
            wanted.reserved(record.key_id for record in records)
            if self._over:
                self._drop(wanted)
            elif not wanted.given_up:
                self._wanted |= {key_id.bytes: wanted for key_id in wanted.key_ids}
                self._announced.append((overdue_s, wanted))
        self._say(reservations.announcements)
        self._more_announced.unpark()

    def _failed(self, orders: Sequence[Wanted], error: Exception) -> None:
        for wanted in orders:
            wanted.finish(error)
            if isinstance(wanted, Stocking):
                self._ahead.refused(wanted.asked, trio.current_time())

    def answered(self, messages: Sequence[Message]) -> list[Wanted]:
        """Return the requests for which the peer's last answer is among ``messages``."""
        ready: list[Wanted] = []
        for key_id, held in answered_ids(messages):
            wanted = self._wanted.pop(key_id, None)
            if wanted is not None and wanted.peer_answered(key_id, held=held):
                ready.append(wanted)
        while self._announced and self._announced[0][1].in_work:
            self._announced.popleft()
        return ready

    def stocked(self, stocking: Iterable[Stocking]) -> None:
        """The peer holds these, and it is on disk that it does."""
        for one in stocking:
            self._ahead.came(one.asked, one.held_ids)

    def burn_idle(self) -> None:
        """Burn keys that were cut ahead for somebody who no longer asks."""
        self._burn(self._ahead.idle(trio.current_time()))

    def _burn(self, key_ids: Sequence[UUID]) -> None:
        """Burn them when the store comes to it; should it not, the next session does."""
        if key_ids:
            self._store.post(lambda store: store.burn_keys(self._link, key_ids), _forget, _forget)

    def forget(self, wanted: Wanted) -> None:
        """Wait no more for the peer's answer."""
        for key_id in wanted.key_ids:
            self._wanted.pop(key_id.bytes, None)

    def _drop(self, wanted: Wanted) -> None:
        """The peer has not answered, and is not waited for: who asked burns the keys."""
        self.forget(wanted)
        lost = LinkLost(f"link {self._link}: the peer did not confirm the keys; they are burned")
        self._failed([wanted], lost)
        if isinstance(wanted, Stocking):
            self._burn(wanted.key_ids)

    def end(self) -> None:
        """The session is over: nobody answers any more."""
        self._over = True
        for wanted in set(self._wanted.values()):
            self._drop(wanted)
        self._burn(self._ahead.all())

    async def watch(self) -> None:
        """Drop what the peer has not answered for in time."""
        while True:
            if not self._announced:
                await self._more_announced.park()
                continue
            overdue_s, wanted = self._announced[0]
            await trio.sleep_until(overdue_s)
            if self._announced and self._announced[0][1] is wanted:
                self._announced.popleft()
                if not wanted.in_work:
                    self._drop(wanted)


def _forget(_: object) -> None:
    """Nobody waits for it."""
