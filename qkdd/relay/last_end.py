"""The last end of a lane: it computes the keys, holds them durably, and asks for the verdict.

Of each open number: unit and wave --> key --batch, Hold, confirmation--> held --verdict--> READY.
One batch is under way at a time. What is held is settled by the first end's word alone: a relay's
VOID takes only what is not held yet.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qkdd.base.errors import PeerError
from qkdd.base.secret import Secret
from qkdd.relay.account import LaneAccount
from qkdd.relay.actions import Hold, LastAction, PersistVerdict, Ready, SendUp, Voided
from qkdd.relay.association import Association, Covered, NotTheirs
from qkdd.relay.messages import (
    DownMessage,
    LaneAnnounce,
    LaneBind,
    LaneConfirm,
    LaneOpen,
    LaneVerdict,
    LaneVoid,
    LaneWave,
)
from qkdd.relay.middle import NOTHING
from qkdd.relay.numbers import OpenNumbers
from qkdd.relay.pool import UnitPool
from qkdd.relay.runs import MAX_RUN, Run, bitmap_of
from qkdd.relay.settings import UNIT_BYTES, Lane, LaneTimes
from qkdd.relay.speech import Speech, bound_in, ciphers_in
from qkdd.relay.units import UnitBlock


@dataclass(slots=True, eq=False)
class Arriving:
    """One open number at the last end."""

    wave: bytes | None = None
    key: Secret | None = None
    complete_s: float = 0.0


class LastEnd:
    """One lane at its last node. Only the held batch outlives it."""

    def __init__(
        self,
        lane: Lane,
        times: LaneTimes,
        association: Association,
        *,
        incarnation: int,
        newest_epoch: int = 0,
        held: Hold | None = None,
        account: LaneAccount | None = None,
    ) -> None:
        """Resume with the persisted ``held`` of this generation, if its verdict is not in.

        ``newest_epoch`` is the last that lies here, READY or held.
        """
        self._times = times
        self._association = association
        self._lane = lane
        self._speech = Speech(lane)
        self._wave = NOTHING if lane.n_links == 1 else None
        self._open: OpenNumbers[Arriving] = OpenNumbers(lane, incarnation)
        self._newest_epoch = newest_epoch
        self._held: LaneConfirm | None = None
        self._sent_s = -times.retry_s
        self.up = UnitPool(account or LaneAccount())
        if held is not None:
            self._resume(held)

    def _resume(self, held: Hold) -> None:
        for at, number in enumerate(held.confirm.numbers):
            key = Secret.from_bytes(held.keys.reveal()[UNIT_BYTES * at :][:UNIT_BYTES])
            self._open.open(number, Arriving(key=key))
        held.keys.wipe()
        self._held = held.confirm

    @property
    def held(self) -> tuple[int, ...]:
        """Numbers of the batch under way."""
        return () if self._held is None else tuple(self._held.numbers)

    @property
    def n_complete(self) -> int:
        """Keys that are computed and not READY, the batch under way included."""
        return sum(self._open[number].key is not None for number in self._open)

    def born(self, block: UnitBlock, now_s: float, current_e: int) -> tuple[LastAction, ...]:
        """Take the units of a block of the last link."""
        self._complete(self.up.born(block), now_s)
        return self.tick(now_s, current_e)

    def tick(self, now_s: float, current_e: int) -> tuple[LastAction, ...]:
        """Void what waits too long for its wave; make a batch, or ask for its verdict again.

        ``current_e`` is the present epoch, here and below.
        """
        voids = self._void(self.up.expired(now_s, self._times.hold_s), up=True)
        if self._held is None:
            return (*voids, *self._batch(now_s, current_e))
        if now_s - self._sent_s >= self._times.retry_s:
            self._sent_s = now_s
            return (*voids, SendUp(self._held))
        return voids

    def connected_up(self) -> tuple[SendUp, ...]:
        return (SendUp(self._open.message()),)

    def receive_from_up(
        self, message: DownMessage, now_s: float, current_e: int
    ) -> tuple[LastAction, ...]:
        """Hear the last relay, and through it the first end.

        Raises
        ------
        SecurityAlarm
            One verdict too many does not verify.
        """
        if not self._speech.is_ours(message):
            return ()
        match message:
            case LaneOpen():
                return self._opened(message)
            case LaneAnnounce():
                self._announced(message)
                return ()
            case LaneBind():
                return (*self._bound(message, now_s), *self._batch(now_s, current_e))
            case LaneWave():
                return (*self._waved(message, now_s), *self._batch(now_s, current_e))
            case LaneVoid():
                return self._void(message.run, up=False)
            case LaneVerdict():
                return (*self._judged(message), *self._batch(now_s, current_e))

    # --- numbers, units, waves ---

    def _opened(self, message: LaneOpen) -> tuple[LastAction, ...]:
        found = self._open.compare("up", message)
        voids = self._void(found.missing, up=False)
        if found.restarted:  # it would bind other units to these numbers
            self.up.burn_free()
            bound = [number for number in self._open if self.up.ref(number) is not None]
            voids += self._void(bound, up=True)
        for number in found.new:
            self._open.open(number, Arriving(wave=self._wave))
        return voids

    def _announced(self, message: LaneAnnounce) -> None:
        fresh = [number for number in message.run if number >= self._open.next_number]
        self._open.check_room(len(fresh))
        for number in fresh:
            self._open.open(number, Arriving(wave=self._wave))

    def _bound(self, message: LaneBind, now_s: float) -> tuple[LastAction, ...]:
        held = set(self.held)
        refs = {n: ref for n, ref in bound_in(message).items() if n not in held}
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
        self._complete(refs, now_s)
        return (*map(SendUp, self._speech.voids(closed)), *self._void(lost, up=True))

    def _waved(self, message: LaneWave, now_s: float) -> tuple[LastAction, ...]:
        ciphers = ciphers_in(message)
        for number, cipher in ciphers.items():
            if number in self._open and self._open[number].wave not in (None, cipher):
                raise PeerError(f"lane {message.lane}: two different waves for number {number}")
        for number, cipher in ciphers.items():
            if number in self._open:
                self._open[number].wave = cipher
        self._complete(ciphers, now_s)
        closed = [number for number in ciphers if number not in self._open]
        return tuple(SendUp(void) for void in self._speech.voids(closed))

    def _complete(self, numbers: Iterable[int], now_s: float) -> None:
        """Compute ``K = C xor L_H`` wherever both are there, and wipe the unit."""
        for number in numbers:
            if number not in self._open or not self.up.has(number):
                continue
            arriving = self._open[number]
            if arriving.wave is None or arriving.key is not None:
                continue
            arriving.key = Secret(UNIT_BYTES)
            unit = np.frombuffer(self.up.unit(number), np.uint8)
            wave = np.frombuffer(arriving.wave, np.uint8)
            np.bitwise_xor(unit, wave, out=np.frombuffer(arriving.key.reveal(), np.uint8))
            self.up.use(number)
            arriving.complete_s = now_s

    # --- batches ---

    def _batch(self, now_s: float, current_e: int) -> tuple[LastAction, ...]:
        """Hold and confirm what is complete, if it is enough or old enough."""
        complete = [number for number in self._open if self._open[number].key is not None]
        if self._held is not None or not complete or not self._association.n_pairs:
            return ()
        age_s = now_s - min(self._open[number].complete_s for number in complete)
        if len(complete) < self._times.batch_units and age_s < self._times.batch_age_s:
            return ()
        numbers = [number for number in complete if number < complete[0] + MAX_RUN]
        run = Run(numbers[0], numbers[-1] + 1 - numbers[0])
        keys = self._keys(numbers)
        held = bitmap_of(run, numbers)
        pair, end_pair = self._association.next_pair, self._association.end
        epoch = max(self._newest_epoch + 1, current_e + self._times.jump_ahead_epochs)
        covered = Covered(pair, run.first, run.count, (held,), end_pair=end_pair, epoch=epoch)
        self._held = LaneConfirm(
            lane=self._lane.id,
            generation=self._lane.generation,
            first=run.first,
            count=run.count,
            pair=pair,
            end_pair=end_pair,
            epoch=epoch,
            held=held,
            tag=self._association.sign("up", covered, keys),
        )
        self._sent_s = now_s
        self._newest_epoch = self._held.epochs[-1]
        return (Hold(self._held, keys), SendUp(self._held))

    def _keys(self, numbers: Iterable[int]) -> Secret:
        held = list(numbers)
        keys = Secret(UNIT_BYTES * len(held))
        for at, number in enumerate(held):
            key = self._open[number].key
            assert key is not None
            keys.reveal()[UNIT_BYTES * at :][:UNIT_BYTES] = key.reveal()
        return keys

    def _judged(self, message: LaneVerdict) -> tuple[LastAction, ...]:
        held = self._held
        if held is None or message.pair != held.pair:
            return ()
        ready, void = message.ready_numbers, set(message.void_numbers)
        covered = Covered(
            message.pair,
            message.first,
            message.count,
            (message.ready, message.void),
            message.renew,
        )
        with self._keys(held.numbers if ready else ()) as keys:
            try:
                self._association.verify("down", covered, keys, message.tag)
            except NotTheirs:
                return ()  # counted there; the true verdict is asked for again
            if ready and (message.run != held.run or ready != held.numbers):
                raise AssertionError("a verdict on other keys verified with those held")
            self._association.spend(message.pair)
            self._held = None
            if ready:
                return self._ready(message, held, keys)
        mine = [number for number in held.numbers if number in void]
        return (PersistVerdict(message), *self._void(mine, up=False))

    def _ready(self, verdict: LaneVerdict, held: LaneConfirm, keys: Secret) -> tuple[Ready]:
        for number in held.numbers:
            self._close(number)
            self.up.came_through(number)
        renewal = None
        n_given = len(held.epochs) - verdict.renew
        stop = UNIT_BYTES * n_given
        if verdict.renew:
            self._association.renew(keys.reveal()[stop:])
            renewal = Secret.from_bytes(keys.reveal()[stop:])
        epochs = tuple(held.epochs[:n_given])
        self._newest_epoch = epochs[-1]
        return (Ready(epochs, Secret.from_bytes(keys.reveal()[:stop]), verdict, renewal),)

    def _close(self, number: int) -> bool:
        arriving = self._open.close(number)
        if arriving is not None and arriving.key is not None:
            arriving.key.wipe()
        return arriving is not None

    def _void(self, numbers: Iterable[int], *, up: bool) -> tuple[SendUp | Voided, ...]:
        held = set(self.held)
        closed = [number for number in numbers if number not in held and self._close(number)]
        if not closed:
            return ()
        for number in closed:
            self.up.settle(number, relayed=False)
        told = self._speech.voids(closed) if up else []
        return (Voided(tuple(sorted(closed))), *map(SendUp, told))

    def wipe(self) -> None:
        """End of the process or of the generation."""
        for number in self._open:
            self._close(number)
        self.up.wipe()
        self._association.wipe()
