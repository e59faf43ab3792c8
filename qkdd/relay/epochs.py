"""Epochs: both applications know a key's ID without a message, and who may serve it first.

Key e of a lane is meant for the e-th epoch since 1970. A READY number is held durably by the
other end too, so either end may serve it first. A number that the last end holds but has no verdict
on is served only to an application that asks for it by its ID, for the other has it from the end
that may.
"""

import hashlib
import math
import struct
from collections.abc import Iterable
from uuid import UUID

from qkdd.base.errors import OutOfKey
from qkdd.relay.settings import Lane

MAX_CLOCK_OFFSET_S = 0.3
DOMAIN = b"qkdd-epoch-1"
KEY_ID_VERSION = 8


class OutsideWindow(OutOfKey):
    """No rule serves this number now: it is too old, or too far in the future."""


def epoch_key_id(lane: Lane, number: int) -> UUID:
    """Return the key_ID of number ``number``: a UUIDv8 (RFC 9562, 5.8) of (lane, generation, e)."""
    name = lane.id.encode()
    text = (
        DOMAIN + struct.pack("<I", len(name)) + name + struct.pack("<QQ", lane.generation, number)
    )
    value = int.from_bytes(hashlib.sha256(text).digest()[:16], "big")
    value = value & ~(0xF << 76) | 8 << 76
    return UUID(int=value & ~(0x3 << 62) | 2 << 62)


def epoch_at(lane: Lane, utc_s: float) -> int:
    """Return the number that is meant for the UTC time ``utc_s``."""
    return int(utc_s // lane.epoch_s)


class Epochs:
    """The numbers of one end of a lane, and which of them may be served now.

    It holds numbers, not keys: a key is marked consumed on disk by its store before it leaves.
    """

    def __init__(self, lane: Lane, *, window: int) -> None:
        """``window``: how many epochs late a key is still good (k)."""
        if window < 0:
            raise ValueError(f"a window of {window} epochs")
        self._lane = lane
        self._window = window
        self._ready: set[int] = set()
        self._held: set[int] = set()

    @property
    def window(self) -> int:
        """How many epochs late a key is still good."""
        return self._window

    def is_ready(self, number: int) -> bool:
        return number in self._ready

    @property
    def horizon(self) -> int | None:
        """The highest number that the other end is known to hold."""
        return max(self._ready, default=None)

    def n_ahead(self, utc_s: float) -> int:
        """Return how many READY numbers lie in the future: the stock, in epochs."""
        now = epoch_at(self._lane, utc_s)
        return sum(number > now for number in self._ready)

    def n_unbroken(self, utc_s: float) -> int:
        """Return for how many epochs from the next on there is a number each: a stock that has run
        out once leaves a gap (``jump_ahead_epochs``)."""
        first = number = epoch_at(self._lane, utc_s) + 1
        while number in self._ready:
            number += 1
        return number - first

    def seconds_to_next(self, utc_s: float) -> float | None:
        """Return when the next READY number may be sent with; None if none lies ahead."""
        now = epoch_at(self._lane, utc_s)
        ahead = min((number for number in self._ready if number > now), default=None)
        return None if ahead is None else ahead * self._lane.epoch_s - utc_s

    def n_late(self, utc_s: float) -> int:
        """Return how many READY numbers may be sent with now: in the window, not in the future."""
        now = epoch_at(self._lane, utc_s)
        return sum(now - self._window <= number <= now for number in self._ready)

    def number_of(self, key_id: UUID, utc_s: float) -> int | None:
        """Return the number in [e-k, e+1] whose key_ID this is, whether it is held or not."""
        if key_id.version != KEY_ID_VERSION:
            return None
        now = epoch_at(self._lane, utc_s)
        numbers = range(now + 1, max(0, now - self._window) - 1, -1)
        return next((n for n in numbers if epoch_key_id(self._lane, n) == key_id), None)

    def held(self, *numbers: int) -> None:
        """Note numbers that this end holds durably, without knowing more (last end)."""
        self._held.update(numbers)

    def ready(self, *numbers: int) -> None:
        self._held.difference_update(numbers)
        self._ready.update(numbers)

    def released(self) -> None:
        """Note that nothing is held unconfirmed: the one batch under way was settled (last end)."""
        self._held.clear()

    def restart(self, ready: Iterable[int], held: Iterable[int]) -> None:
        """Begin with what the store has."""
        self._ready, self._held = set(ready), set(held)

    def gone(self, *numbers: int) -> None:
        """Note numbers that were served, voided or burned."""
        self._held.difference_update(numbers)
        self._ready.difference_update(numbers)

    def past(self, utc_s: float) -> list[int]:
        """Return the numbers that no rule will ever serve again, for the store to burn."""
        oldest = epoch_at(self._lane, utc_s) - self._window
        return sorted(n for n in self._ready | self._held if n < oldest)

    def to_send_with(self, utc_s: float, clock_offset_s: float) -> int:
        """Return the newest READY number that is not in the future.

        Raises
        ------
        OutOfKey
            There is none within the window, or the clock is not to be trusted.
        """
        now = self._trusted_epoch(utc_s, clock_offset_s)
        for number in range(now, now - self._window - 1, -1):
            if number in self._ready:
                return number
        raise OutOfKey(
            f"lane {self._lane.id}: no key for epochs {now - self._window} to {now} is READY"
        )

    def check_asked(self, number: int, utc_s: float, clock_offset_s: float) -> None:
        """Return if ``number``, asked for by its key_ID, may be served: held, in [e-k, e+1].

        Raises
        ------
        OutOfKey
            It may not.
        """
        self._check_window(number, utc_s, clock_offset_s)
        if number not in self._ready and number not in self._held:
            raise OutOfKey(f"lane {self._lane.id}: epoch {number} is not held here")

    def check_named(self, number: int, utc_s: float, clock_offset_s: float) -> None:
        """Return if ``number``, which both applications name by themselves, may be served: either
        may come first, so that it must be READY.

        Raises
        ------
        OutOfKey
            It may not.
        """
        self._check_window(number, utc_s, clock_offset_s)
        if number not in self._ready:
            raise OutOfKey(f"lane {self._lane.id}: epoch {number} is not READY here")

    def _check_window(self, number: int, utc_s: float, clock_offset_s: float) -> None:
        now = self._trusted_epoch(utc_s, clock_offset_s)
        if not now - self._window <= number <= now + 1:
            raise OutsideWindow(
                f"lane {self._lane.id}: epoch {number} is outside of {now - self._window} to "
                f"{now + 1}"
            )

    def check_clock(self, clock_offset_s: float) -> None:
        """Raise OutOfKey if the clock is not to be trusted with epochs."""
        if math.isnan(clock_offset_s):
            raise OutOfKey(
                f"lane {self._lane.id}: nothing keeps this host's clock: no epochs are served"
            )
        if abs(clock_offset_s) > MAX_CLOCK_OFFSET_S:
            raise OutOfKey(
                f"lane {self._lane.id}: the clock may be {abs(clock_offset_s):.3f} s off, limit "
                f"{MAX_CLOCK_OFFSET_S} s: no epochs are served"
            )

    def _trusted_epoch(self, utc_s: float, clock_offset_s: float) -> int:
        self.check_clock(clock_offset_s)
        return epoch_at(self._lane, utc_s)
