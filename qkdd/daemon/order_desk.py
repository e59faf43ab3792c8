"""Orders of masters over one link: reserved together, announced, and answered for by the peer."""

import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import trio

from qkdd.base.errors import LinkLost, OutOfKey
from qkdd.base.ids import LinkId
from qkdd.daemon.gathering import Gathering
from qkdd.daemon.key_turn import Wanted, answered_ids
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
    ) -> None:
        """``say`` queues what is to be sent, in order."""
        self._link = link
        self._say = say
        self._orders: Gathering[Wanted, Reservations] = Gathering(
            store, self._reserve, self._reserved, self._not_reserved
        )
        self._wanted: dict[bytes, Wanted] = {}
        """By the name of each key for which the peer has not answered."""
        self._announced: deque[tuple[float, Wanted]] = deque()
        """With the time at which the peer's answer is overdue; those answered go at the front."""
        self._more_announced = trio.lowlevel.ParkingLot()
        self._over = False

    def add(self, order: Order) -> Wanted:
        """Have keys reserved with the next commit, and announced after it."""
        wanted = Wanted(order)
        self._orders.add(wanted)
        return wanted

    def _reserve(self, store: KeyStore, orders: Sequence[Wanted]) -> Reservations:
        now_s = int(time.time())
        return store.reserve_orders(self._link, [wanted.asked for wanted in orders], now_s)

    def _reserved(self, orders: Sequence[Wanted], reservations: Reservations) -> None:
        overdue_s = trio.current_time() + HELD_TIMEOUT_S
        for wanted, records in zip(orders, reservations.records, strict=True):
            if isinstance(records, OutOfKey):
                wanted.finish(records)
                continue
            wanted.reserved(record.key_id for record in records)
            if self._over:
                self._drop(wanted)
            elif not wanted.given_up:
                self._wanted |= {key_id.bytes: wanted for key_id in wanted.key_ids}
                self._announced.append((overdue_s, wanted))
        self._say(reservations.announcements)
        self._more_announced.unpark()

    def _not_reserved(self, orders: Sequence[Wanted], error: Exception) -> None:
        for wanted in orders:
            wanted.finish(error)

    def answered(self, messages: Sequence[Message]) -> list[Wanted]:
        """Return the requests for which the peer's last answer is among ``messages``."""
        answers = [(key_id, self._wanted.pop(key_id, None)) for key_id in answered_ids(messages)]
        ready = [one for key_id, one in answers if one is not None and one.peer_answered(key_id)]
        while self._announced and self._announced[0][1].in_work:
            self._announced.popleft()
        return ready

    def forget(self, wanted: Wanted) -> None:
        """Wait no more for the peer's answer."""
        for key_id in wanted.key_ids:
            self._wanted.pop(key_id.bytes, None)

    def _drop(self, wanted: Wanted) -> None:
        """The peer has not answered, and is not waited for: who asked burns the keys."""
        self.forget(wanted)
        wanted.finish(
            LinkLost(f"link {self._link}: the peer did not confirm the keys; they are burned")
        )

    def end(self) -> None:
        """The session is over: nobody answers any more."""
        self._over = True
        for wanted in set(self._wanted.values()):
            self._drop(wanted)

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
