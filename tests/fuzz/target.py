"""One parser under fuzzing: what it faces, true inputs to begin from, and what it has promised.

``feed`` takes one input and returns whether it was accepted. Refusals by the errors that the room
has documented are caught inside of it; whatever else comes out of it is a finding.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import msgspec
import numpy as np

from qkdd.base.scratch import Scratch
from qkdd.base.secret import Secret

Faces = Literal["peer", "client", "instrument", "file"]
Form = Literal["bytes", "msgpack", "json", "text"]


@dataclass(frozen=True)
class Target:
    name: str
    faces: Faces
    seeds: tuple[bytes, ...]
    """What a true writer would write."""
    feed: Callable[[bytes], bool]
    """True: accepted; False: refused as documented."""
    form: Form = "bytes"
    """How a seed can be taken apart, so that mutations reach behind the outermost parser."""
    words: tuple[bytes, ...] = ()
    """Of the language: put in and exchanged."""
    max_bytes: int = 4_096
    """Longer inputs are cut: a limit of the fuzzing, not of the parser."""
    slow: bool = False
    """An input costs milliseconds (a disk, a decoder): it gets fewer."""


class StateChanged(AssertionError):
    """A machine refused a word and is not what it was before."""


def state_of(thing: object, depth: int = 12) -> object:
    """Copy all that a machine holds into plain values that can be compared."""
    kind = type(thing)
    if thing is None or kind in (bool, int, float, str, bytes, range, slice):
        return repr(thing) if kind in (float, slice) else thing  # nan is to equal nan
    if kind is np.ndarray:
        return thing.dtype.str, thing.shape, thing.tobytes()
    if kind in (bytearray, memoryview):
        return bytes(thing)
    if kind in (list, tuple, deque):
        return [state_of(one, depth - 1) for one in thing]
    if kind in (set, frozenset):
        return sorted(repr(state_of(one, depth - 1)) for one in thing)
    if isinstance(thing, dict):
        return [(state_of(k, depth - 1), state_of(v, depth - 1)) for k, v in thing.items()]
    if kind is Scratch:
        return None  # what is in it means nothing
    if kind is Secret:
        return None if thing.wiped else bytes(thing.reveal())
    if isinstance(thing, Enum | np.generic):
        return repr(thing)
    if isinstance(thing, msgspec.Struct):
        return thing  # frozen, and equal by value
    if depth <= 0 or callable(thing):
        return None
    held = [(name, value) for name, value in getattr(thing, "__dict__", {}).items()]
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name) and not name.startswith("__"):
                held.append((name, getattr(thing, name)))
    return [(name, state_of(value, depth - 1)) for name, value in held]


class Kept:
    """A machine that is used again for as long as it refuses, and must not change by refusing."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._machine: object = None
        self._state: object = None

    def get(self) -> object:
        if self._machine is None:
            self._machine = self._make()
            self._state = state_of(self._machine)
        return self._machine

    def accepted(self) -> None:
        self._machine = None

    def refused(self) -> None:
        if state_of(self._machine) != self._state:
            self._machine = None
            raise StateChanged("a refused word has changed the machine")
