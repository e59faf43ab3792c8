"""A relay of a lane: two units in, their XOR out, both wiped in the same step.

Of each open number: up unit and down unit born --> X (both wiped) --> with C_{i-1}: C_i is sent.
Announcements, bindings and voids carry numbers only. Nothing made of units leaves before the wipe,
and nothing of them is ever stored: a relay that starts again knows nothing, and voids.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qkdd.base.errors import PeerError
from qkdd.relay.account import LaneAccount
from qkdd.relay.actions import RelayAction, SendDown, SendUp
from qkdd.relay.messages import (
    DownMessage,
    LaneAnnounce,
    LaneBind,
    LaneConfirm,
    LaneOpen,
    LaneVerdict,
    LaneVoid,
    LaneWave,
    UpMessage,
)
from qkdd.relay.numbers import OpenNumbers
from qkdd.relay.pool import UnitPool, UnitRef
from qkdd.relay.settings import UNIT_BYTES, Lane, LaneTimes
from qkdd.relay.speech import Speech, bound_in, ciphers_in
from qkdd.relay.units import UnitBlock

NOTHING = bytes(UNIT_BYTES)
"""C_0: the first relay has no wave to fold into."""


@dataclass(slots=True)
class Passing:
    """One open number at a relay; all of it may be public."""

    x: bytes | None = None
    c_in: bytes | None = None
    c_out: bytes | None = None


class LaneRelay:
    """One lane at one relay; ``hop`` is the relay's place in the route, 1 behind the first end."""

    def __init__(
        self,
        lane: Lane,
        hop: int,
        times: LaneTimes,
        *,
        incarnation: int,
        up: LaneAccount | None = None,
        down: LaneAccount | None = None,
    ) -> None:
        if not 1 <= hop < lane.n_links:
            raise ValueError(f"lane {lane.id} has no relay {hop}")
        self._c_in = NOTHING if hop == 1 else None
        self._times = times
        self._speech = Speech(lane)
        self._open: OpenNumbers[Passing] = OpenNumbers(lane, incarnation)
        self._unbound: dict[int, None] = {}
        self.up = UnitPool(up or LaneAccount())
        self.down = UnitPool(down or LaneAccount())

    # --- light ---

    def born_up(self, block: UnitBlock, now_s: float) -> tuple[RelayAction, ...]:
        """Take the units of a block of the link to the first end's side."""
        waiting = self.up.born(block)
        return (*self._fold(waiting), *self.tick(now_s))

    def born_down(self, block: UnitBlock, now_s: float) -> tuple[RelayAction, ...]:
        """Take the units of a block of the link to the last end's side."""
        self.down.born(block)
        return (*self._bind(now_s), *self.tick(now_s))

    def tick(self, now_s: float) -> tuple[RelayAction, ...]:
        """Burn what has waited too long."""
        old = {*self.up.expired(now_s, self._times.hold_s)}
        old |= {*self.down.expired(now_s, self._times.hold_s)}
        return self._void(old, up=True, down=True)

    # --- connections ---

    def connected_down(self) -> tuple[SendDown, ...]:
        """Say all that the neighbour may have missed; the same ciphers are safe to repeat."""
        refs = {number: self.down.ref(number) for number in self._open}
        ciphers = {number: self._open[number].c_out for number in self._open}
        messages: list[DownMessage] = [self._open.message()]
        messages += self._speech.bindings({n: ref for n, ref in refs.items() if ref is not None})
        messages += self._speech.waves({n: c for n, c in ciphers.items() if c is not None})
        return tuple(SendDown(message) for message in messages)

    def connected_up(self) -> tuple[SendUp, ...]:
        return (SendUp(self._open.message()),)

    # --- from the first end's side ---

    def receive_from_up(self, message: DownMessage, now_s: float) -> tuple[RelayAction, ...]:
        if not self._speech.is_ours(message):
            return ()
        match message:
            case LaneOpen():
                return self._opened_up(message, now_s)
            case LaneAnnounce():
                return self._announced(message, now_s)
            case LaneBind():
                return self._bound(message, now_s)
            case LaneWave():
                return self._waved(message)
            case LaneVoid():
                return self._void(message.run, up=False, down=True)
            case LaneVerdict():
                return self._judged(message)

    def _opened_up(self, message: LaneOpen, now_s: float) -> tuple[RelayAction, ...]:
        found = self._open.compare("up", message)
        voids = self._void(found.missing, up=False, down=True)
        if found.restarted:
            # It would bind other units to these numbers, and no number is ever bound twice.
            self.up.burn_free()
            bound = [number for number in self._open if self.up.ref(number) is not None]
            voids += self._void(bound, up=True, down=True)
        for number in found.new:
            self._add(number)
        self._open.follow(message)
        # What the neighbour no longer knows, ours need not learn one by one: it gets our list.
        return (*voids, SendDown(self._open.message()), *self._bind(now_s))

    def _announced(self, message: LaneAnnounce, now_s: float) -> tuple[RelayAction, ...]:
        fresh = [number for number in message.run if number >= self._open.next_number]
        self._open.check_room(len(fresh))
        for number in fresh:
            self._add(number)
        return (
            *(SendDown(one) for one in self._speech.announcements(fresh)),
            *self._bind(now_s),
        )

    def _add(self, number: int) -> None:
        self._open.open(number, Passing(c_in=self._c_in))
        self._unbound[number] = None

    def _bound(self, message: LaneBind, now_s: float) -> tuple[RelayAction, ...]:
        refs = bound_in(message)
        for number, ref in refs.items():
            self.up.check(number, ref)
        closed = {n: ref for n, ref in refs.items() if n not in self._open}
        for ref in closed.values():
            self.up.burn(ref)
        lost = [
            number
            for number, ref in refs.items()
            if number in self._open and not self.up.bind(number, ref, now_s)
        ]
        return (
            *(SendUp(void) for void in self._speech.voids(closed)),
            *self._void(lost, up=True, down=True),
            *self._fold(refs),
        )

    def _waved(self, message: LaneWave) -> tuple[RelayAction, ...]:
        ciphers = ciphers_in(message)
        for number, cipher in ciphers.items():
            if number in self._open and self._open[number].c_in not in (None, cipher):
                raise PeerError(f"lane {message.lane}: two different waves for number {number}")
        for number, cipher in ciphers.items():
            if number in self._open:
                self._open[number].c_in = cipher
        closed = [number for number in ciphers if number not in self._open]
        return (
            *(SendUp(void) for void in self._speech.voids(closed)),
            *self._fold(ciphers),
        )

    def _judged(self, message: LaneVerdict) -> tuple[RelayAction, ...]:
        """Release what the ends have settled, and pass the word on."""
        ready, void = message.ready_numbers, message.void_numbers
        for number in ready:
            self._close(number)
            self.up.came_through(number)
            self.down.came_through(number)
        return (SendDown(message), *self._void(void, up=False, down=True))

    # --- from the last end's side ---

    def receive_from_down(self, message: UpMessage, now_s: float) -> tuple[RelayAction, ...]:
        if not self._speech.is_ours(message):
            return ()
        match message:
            case LaneOpen():
                return self._opened_down(message, now_s)
            case LaneVoid():
                return self._void(message.run, up=True, down=False)
            case LaneConfirm():
                _ = message.numbers  # the neighbour of whoever garbled it is to say so
                return (SendUp(message),)

    def _opened_down(self, message: LaneOpen, now_s: float) -> tuple[RelayAction, ...]:
        found = self._open.compare("down", message)
        lost = set(found.missing)
        if found.restarted:
            self.down.burn_free()
            lost |= {
                n for n in self._open if n not in found.theirs and self.down.ref(n) is not None
            }
        return (*self._void(lost, up=True, down=True), *self._bind(now_s))

    # --- the work ---

    def _bind(self, now_s: float) -> tuple[RelayAction, ...]:
        """Give free units of the down link to numbers without one.

        First to those with a unit of the newest block of the up link: after an outage the older
        ones are about to expire, and would always be served too late. Then to the lowest.
        """
        refs: dict[int, UnitRef] = {}
        numbers = sorted(self._unbound, key=self._up_age) if self.down.n_free else []
        for number in numbers[: self.down.n_free]:
            del self._unbound[number]
            ref = self.down.bind_next(number, now_s)
            assert ref is not None
            refs[number] = ref
        folded = self._fold(refs)  # wipes, before a word of these numbers is said
        return (*(SendDown(one) for one in self._speech.bindings(refs)), *folded)

    def _up_age(self, number: int) -> tuple[int, int]:
        """Order numbers by their unit of the up link, the newest block first, then by size."""
        ref = self.up.ref(number)
        return (1 if ref is None else -ref.block_no, number)

    def _fold(self, numbers: Iterable[int]) -> tuple[SendDown, ...]:
        """Shred every number that has both units, and send every wave that is complete."""
        ciphers: dict[int, bytes] = {}
        for number in numbers:
            if number not in self._open:
                continue
            passing = self._open[number]
            if passing.x is None and self.up.has(number) and self.down.has(number):
                passing.x = _xor(self.up.unit(number), self.down.unit(number))
                self.up.use(number)
                self.down.use(number)
            if passing.c_out is None and passing.x is not None and passing.c_in is not None:
                passing.c_out = ciphers[number] = _xor(passing.c_in, passing.x)
        return tuple(SendDown(wave) for wave in self._speech.waves(ciphers))

    def _close(self, number: int) -> bool:
        self._unbound.pop(number, None)
        return self._open.close(number) is not None

    def _void(self, numbers: Iterable[int], *, up: bool, down: bool) -> tuple[RelayAction, ...]:
        """Burn the units of open numbers, and tell the sides that do not know yet."""
        closed = [number for number in numbers if self._close(number)]
        for number in closed:
            self.up.settle(number, relayed=False)
            self.down.settle(number, relayed=False)
        voids = self._speech.voids(closed)
        return (
            *(SendUp(void) for void in voids if up),
            *(SendDown(void) for void in voids if down),
        )

    def wipe(self) -> None:
        """End of the process or of the generation."""
        self.up.wipe()
        self.down.wipe()


def _xor(one: memoryview | bytes, other: memoryview | bytes) -> bytes:
    """XOR through views: no copy of a unit is made, and the result may be public."""
    return (np.frombuffer(one, np.uint8) ^ np.frombuffer(other, np.uint8)).tobytes()
