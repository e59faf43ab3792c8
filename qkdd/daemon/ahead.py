"""Keys cut ahead: names of keys that the peer holds already, for applications that ask often.

A key asked for alone is reserved, held by the peer and delivered, three commits one after another
at two relays. Who asks for many, one by one, will ask again: for him a few keys are reserved
together before he does, and his request costs the last commit only. Here are names, never bytes;
what is left of them when a session ends, or when nobody comes for them, is burned.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from uuid import UUID

from qkdd.keys.cutting import Order

SPAN_S = 0.25
"""Over which the rate of asking is taken, with the past fading away."""
OFTEN_PER_S = 10.0
"""Keys a second, from which on some are cut ahead: three at once are enough."""
AHEAD_S = 0.5
"""For how long they last; they are reserved anew when half is gone. A shorter time shares the two
commits among fewer keys, a longer one burns more where somebody stops asking."""
MOST_BYTES = 4_096
"""Of keys cut ahead for one kind of order, 128 of 256 bits: a crash burns so much. Those who ask as
fast as they can get all their keys out of this, 64 being cut in a tenth of the time they last."""
LARGE_ORDER = 8
"""Keys in one order, from which on it is worth its own commits."""
IDLE_S = 60.0
"""After which keys that nobody came for are burned: who asks for many once a minute has them."""
SCARCE = 100
"""Part of our half of the stock, as one in so many, above which nothing is cut ahead."""
PAUSE_S = 10.0
"""After a refusal (the stock is short, or the peer slow to answer), before the next try."""


@dataclass(slots=True)
class _Kind:
    """Orders for the same applications and size."""

    asked: float = 0.0
    """Keys of the last SPAN_S, weighed by their age."""
    at_s: float = -math.inf
    ready: deque[UUID] = field(default_factory=deque)
    coming: bool = False
    paused_until_s: float = -math.inf

    def note(self, n_keys: int, now_s: float) -> None:
        self.asked = self.asked * math.exp((self.at_s - now_s) / SPAN_S) + n_keys
        self.at_s = now_s


class Ahead:
    """What is ready for whom, and what to reserve next; time is an argument."""

    def __init__(self, most_keys: int) -> None:
        """``most_keys``: that may be in one order."""
        self._most_keys = most_keys
        self._kinds: dict[Order, _Kind] = {}

    def take(self, order: Order, now_s: float) -> tuple[UUID, ...]:
        """Note that somebody asks; return the names of his keys, none if they are not ready."""
        if order.number >= LARGE_ORDER:
            return ()
        kind = self._kinds.setdefault(_one_of(order), _Kind())
        kind.note(order.number, now_s)
        if len(kind.ready) < order.number:
            return ()
        return tuple(kind.ready.popleft() for _ in range(order.number))

    def next_order(self, order: Order, now_s: float) -> Order | None:
        """Return what to reserve for those who ask as in ``order``: then it is under way until
        :meth:`came` or :meth:`refused`."""
        alone = _one_of(order)
        kind = self._kinds.get(alone)
        if kind is None or kind.coming or now_s < kind.paused_until_s:
            return None
        per_s = kind.asked / SPAN_S
        wanted = min(self._most_keys, MOST_BYTES // order.n_bytes, math.ceil(AHEAD_S * per_s))
        if per_s < OFTEN_PER_S or wanted < 1 or 2 * len(kind.ready) > wanted:
            return None
        kind.coming = True
        return replace(alone, number=wanted - len(kind.ready))

    def came(self, order: Order, key_ids: Iterable[UUID]) -> None:
        """The peer holds what was reserved."""
        kind = self._kinds[_one_of(order)]
        kind.coming = False
        kind.ready += key_ids

    def refused(self, order: Order, now_s: float) -> None:
        """Nothing came of it."""
        kind = self._kinds[_one_of(order)]
        kind.coming = False
        kind.paused_until_s = now_s + PAUSE_S

    def idle(self, now_s: float) -> list[UUID]:
        """Forget those who ask no more; return the names of their keys, to be burned."""
        over = [
            order
            for order, kind in self._kinds.items()
            if kind.at_s + IDLE_S <= now_s and not kind.coming
        ]
        return [key_id for order in over for key_id in self._kinds.pop(order).ready]

    def all(self) -> list[UUID]:
        """Forget every name, and return them: the keys are to be burned."""
        left = [key_id for kind in self._kinds.values() for key_id in kind.ready]
        for kind in self._kinds.values():
            kind.ready.clear()
        return left


def _one_of(order: Order) -> Order:
    """Return what orders for the same applications and size have in common."""
    return order if order.number == 1 else replace(order, number=1)
