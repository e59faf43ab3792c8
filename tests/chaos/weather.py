"""What may happen to the bytes of one direction of a connection, and dice to make it repeatable."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Weather:
    """One direction's; the default passes everything on at once.

    TCP hides losses, so nothing is dropped alone: what is ``blocked`` waits, its sender with it.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """At most so much more, drawn afresh for each piece; pieces keep their order."""
    bytes_per_s: float = math.inf
    blocked: bool = False

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.jitter_s < 0 or not self.bytes_per_s > 0:
            raise ValueError(f"no such weather: {self}")


CALM = Weather()


@dataclass(slots=True)
class Direction:
    """One direction of all connections of a proxy: its weather now, and what it did so far."""

    dice: random.Random
    weather: Weather = CALM
    bytes_passed: int = 0
    n_flipped: int = 0
    n_truncated: int = 0
    _flips_due: int = 0
    _cuts_due: int = 0
    _skip: Callable[[bytes], int] = field(default=lambda _piece: 0)

    def flip_next(self, times: int = 1, *, skip: Callable[[bytes], int] = lambda _piece: 0) -> None:
        """Have one bit wrong in each of the next pieces, behind their first ``skip(piece)`` bytes;
        a piece that has no more waits for the next."""
        self._flips_due += times
        self._skip = skip

    def cut_next(self) -> None:
        """Pass on half of the next piece, then end its connection."""
        self._cuts_due += 1

    def due_s(self, now_s: float, last_due_s: float) -> float:
        """When a piece that comes now may leave, never before the one ahead of it."""
        late_s = self.weather.delay_s + self.weather.jitter_s * self.dice.random()
        return max(now_s + late_s, last_due_s)

    def spoil(self, piece: bytes) -> tuple[bytes, bool]:
        """Do to a piece what is due; return it, and whether its connection ends behind it."""
        skip = self._skip(piece)
        if self._flips_due and len(piece) > skip:
            self._flips_due -= 1
            self.n_flipped += 1
            at = self.dice.randrange(skip, len(piece))
            changed = bytearray(piece)
            changed[at] ^= 1 << self.dice.randrange(8)
            piece = bytes(changed)
        if self._cuts_due:
            self._cuts_due -= 1
            self.n_truncated += 1
            return piece[: len(piece) // 2], True
        return piece, False
