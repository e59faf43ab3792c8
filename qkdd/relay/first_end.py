"""The first end of a lane: it numbers the keys, and is the one judge of which are READY.

``K[e] = L_1[e]``: a number's key is the unit that this end binds to it. Announced --bound-->
pending --confirmation that verifies--> READY; anything else that ends a number makes it VOID.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from qkdd.base.errors import SecurityAlarm
from qkdd.base.secret import Secret
from qkdd.relay.account import LaneAccount
from qkdd.relay.actions import (
    FirstAction,
    PersistMark,
    PersistVerdict,
    Ready,
    SendDown,
    TrimPads,
    Voided,
)
from qkdd.relay.association import Association, Covered, NotTheirs
from qkdd.relay.messages import LaneConfirm, LaneOpen, LaneVerdict, LaneVoid, UpMessage
from qkdd.relay.numbers import OpenNumbers
from qkdd.relay.pool import UnitPool, UnitRef
from qkdd.relay.runs import bitmap_of
from qkdd.relay.settings import UNIT_BYTES, Lane, LaneTimes
from qkdd.relay.speech import Speech
from qkdd.relay.units import UnitBlock

MAX_UNKNOWN = 16
"""Confirmations in a row of keys that are not here, which nobody can verify."""
MAX_SKIPPED = 16
"""Pairs that the first confirmation of a generation may leave out: one for each generation before
that ended with a batch under way. Later on, a last end that leaves out a pair has another past."""
ANNOUNCE_STEP = 16
"""Announced together, to share a mark on disk and a tag on each link."""


@dataclass(slots=True)
class Numbered:
    """One open number at the first end."""

    bound_s: float = math.inf
    """Since when its key is here."""


class FirstEnd:
    """One lane at its first node. Only :attr:`next_number` and the last verdict outlive it."""

    def __init__(
        self,
        lane: Lane,
        times: LaneTimes,
        association: Association,
        *,
        incarnation: int,
        next_number: int = 0,
        newest_epoch: int = 0,
        verdict: LaneVerdict | None = None,
        account: LaneAccount | None = None,
    ) -> None:
        """Resume with the persisted ``next_number`` and ``verdict`` of this generation.

        ``newest_epoch`` is the last that lies READY here.
        """
        self._lane = lane
        self._times = times
        self._association = association
        self._speech = Speech(lane)
        self._verdict = verdict
        self._open: OpenNumbers[Numbered] = OpenNumbers(lane, incarnation, next_number)
        self._unbound: dict[int, None] = {}
        self._newest_epoch = newest_epoch
        self._n_unknown = 0
        self.n_mismatches = 0
        """Confirmations that did not verify: somebody on the route changes what he carries."""
        self.down = UnitPool(account or LaneAccount())

    @property
    def next_number(self) -> int:
        return self._open.next_number

    def born(self, block: UnitBlock, now_s: float) -> tuple[FirstAction, ...]:
        """Take the units of a block of the first link."""
        self.down.born(block)
        return self.tick(now_s)

    def tick(self, now_s: float) -> tuple[FirstAction, ...]:
        """Void what is too old, announce ahead, bind."""
        self.down.expired(now_s, self._times.hold_s)  # the bound ones are keys, with longer time
        limit_s = now_s - self._times.confirm_timeout_s
        old = [e for e in self._open if self._open[e].bound_s <= limit_s]
        return (
            *self._void(old, down=True),
            *self._announce(),
            *self._bind(now_s),
        )

    def _announce(self) -> tuple[FirstAction, ...]:
        n_wanted = self._times.announce_ahead + self.down.n_free - len(self._unbound)
        if n_wanted < ANNOUNCE_STEP:
            return ()
        first = self._open.next_number
        numbers = range(first, first + n_wanted)
        for number in numbers:
            self._open.open(number, Numbered())
            self._unbound[number] = None
        announcements = self._speech.announcements(numbers)
        return (PersistMark(self._open.next_number), *map(SendDown, announcements))

    def _bind(self, now_s: float) -> tuple[SendDown, ...]:
        refs: dict[int, UnitRef] = {}
        while self._unbound and self.down.n_free:
            number = next(iter(self._unbound))
            del self._unbound[number]
            ref = self.down.bind_next(number, now_s)
            assert ref is not None
            self._open[number].bound_s = now_s
            refs[number] = ref
        return tuple(SendDown(one) for one in self._speech.bindings(refs))

    def connected_down(self) -> tuple[SendDown, ...]:
        refs = {number: self.down.ref(number) for number in self._open}
        bindings = self._speech.bindings({n: ref for n, ref in refs.items() if ref is not None})
        return (SendDown(self._open.message()), *map(SendDown, bindings))

    def receive_from_down(self, message: UpMessage) -> tuple[FirstAction, ...]:
        """Hear the first relay, and through it the last end.

        Raises
        ------
        SecurityAlarm
            One tag too many does not verify: the lane stands still until an operator looks.
        """
        if not self._speech.is_ours(message):
            return ()
        match message:
            case LaneOpen():
                return self._opened(message)
            case LaneVoid():
                return self._void(message.run, down=False)
            case LaneConfirm():
                return self._confirmed(message)

    def _opened(self, message: LaneOpen) -> tuple[FirstAction, ...]:
        found = self._open.compare("down", message)
        lost = set(found.missing)
        if found.restarted:
            self.down.burn_free()
            lost |= {
                n for n in self._open if n not in found.theirs and self.down.ref(n) is not None
            }
        return self._void(lost, down=True)

    def _confirmed(self, message: LaneConfirm) -> tuple[FirstAction, ...]:
        if self._verdict is not None and message.pair == self._verdict.pair:
            return (SendDown(self._verdict),)
        numbers = message.numbers
        known = numbers and numbers[-1] < self._open.next_number
        next_pair, end_pair = self._association.next_pair, self._association.end
        n_skipped = MAX_SKIPPED if self._verdict is None else 0
        if (
            not next_pair <= message.pair <= next_pair + n_skipped
            or not message.pair < message.end_pair <= end_pair
            or not known
        ):
            return ()  # an old one, or nothing that an honest last end would say
        unknown = [number for number in numbers if not self.down.has(number)]
        if unknown:
            return self._cannot_tell(message, unknown)
        keys = self._keys(numbers)
        with keys:
            covered = Covered(
                message.pair,
                message.first,
                message.count,
                (message.held,),
                end_pair=message.end_pair,
                epoch=message.epoch,
            )
            try:
                self._association.verify("up", covered, keys, message.tag)
            except NotTheirs:
                self.n_mismatches += 1
                return self._refuse(message, numbers)
            if message.epoch <= self._newest_epoch:
                return self._refuse(message, numbers)  # the last end was set back to an old image
            trimmed = self._trim(message.pair, message.end_pair)
            return (*trimmed, *self._ready(message, numbers, keys))

    def _trim(self, pair: int, end_pair: int) -> tuple[TrimPads, ...]:
        """Let go of pairs that the last end has not, so that both renew in step."""
        if pair == self._association.next_pair and end_pair == self._association.end:
            return ()
        self._association.trim(pair, end_pair)
        return (TrimPads(pair, end_pair),)

    def _keys(self, numbers: list[int]) -> Secret:
        keys = Secret(UNIT_BYTES * len(numbers))
        for at, number in enumerate(numbers):
            keys.reveal()[UNIT_BYTES * at :][:UNIT_BYTES] = self.down.unit(number)
        return keys

    def _ready(
        self, message: LaneConfirm, numbers: list[int], keys: Secret
    ) -> tuple[FirstAction, ...]:
        self._n_unknown = 0
        n_left = self._association.n_pairs - 1
        renew = len(numbers) > 1 and n_left < self._times.renew_below_pairs
        verdict = self._sign(message, message.held, bitmap_of(message.run, ()), renew, keys)
        for number in numbers:
            self._open.close(number)
            self.down.settle(number, relayed=True)
        renewal = None
        n_given = UNIT_BYTES * (len(numbers) - renew)
        if renew:
            self._association.renew(keys.reveal()[n_given:])
            renewal = Secret.from_bytes(keys.reveal()[n_given:])
        given = Secret.from_bytes(keys.reveal()[:n_given])
        epochs = tuple(message.epochs[: len(numbers) - renew])
        self._newest_epoch = epochs[-1]
        return (Ready(epochs, given, verdict, renewal), SendDown(verdict))

    def _cannot_tell(self, message: LaneConfirm, unknown: list[int]) -> tuple[FirstAction, ...]:
        self._n_unknown += 1
        if self._n_unknown > MAX_UNKNOWN:
            raise SecurityAlarm(
                f"lane {self._lane.id}: {self._n_unknown} confirmations in a row name keys that "
                f"are not here, limit {MAX_UNKNOWN}"
            )
        return self._refuse(message, unknown)

    def _refuse(self, message: LaneConfirm, void: list[int]) -> tuple[FirstAction, ...]:
        bitmap = bitmap_of(message.run, void)
        trimmed = self._trim(message.pair, self._association.end)
        verdict = self._sign(message, bitmap_of(message.run, ()), bitmap, False, Secret(0))
        voided = self._void(void, down=False)
        return (*trimmed, PersistVerdict(verdict), *voided, SendDown(verdict))

    def _sign(
        self, message: LaneConfirm, ready: bytes, void: bytes, renew: bool, keys: Secret
    ) -> LaneVerdict:
        """Make the one verdict under this pair, and spend the pair."""
        covered = Covered(message.pair, message.first, message.count, (ready, void), renew)
        self._verdict = LaneVerdict(
            lane=message.lane,
            generation=message.generation,
            first=message.first,
            count=message.count,
            pair=message.pair,
            ready=ready,
            void=void,
            renew=renew,
            tag=self._association.sign("down", covered, keys),
        )
        self._association.spend(message.pair)
        return self._verdict

    def _void(self, numbers: Iterable[int], *, down: bool) -> tuple[SendDown | Voided, ...]:
        closed = [number for number in numbers if self._open.close(number) is not None]
        if not closed:
            return ()
        for number in closed:
            self._unbound.pop(number, None)
            self.down.settle(number, relayed=False)
        told = self._speech.voids(closed) if down else []
        return (Voided(tuple(sorted(closed))), *map(SendDown, told))

    def wipe(self) -> None:
        """End of the process or of the generation."""
        self.down.wipe()
        self._association.wipe()
