"""Inputs that are nearly right: bytes turned over, cut, doubled and spliced, and trees pruned.

Numbers that sit at the edge of something are taken before others. All dice are the caller's.
"""

import json
import random
from collections.abc import Sequence

import msgspec

from tests.fuzz.target import Target

EDGES = (
    *(0, 1, -1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 1_000, 4_096, 10_000),
    *(32_767, 32_768, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**48, 2**53),
    *(2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1),
)
ODD = (
    None,
    True,
    False,
    0.0,
    -0.5,
    1e-300,
    1e300,
    "",
    "a",
    "x" * 300,
    b"",
    b"\0",
    bytes(300),
    [],
    {},
)
HUGE_JSON = (10**30, -(10**30), 10**400, float("nan"), float("inf"), -float("inf"))
PLAIN_WORDS = (
    *(b"\0", b"\n", b"\r\n", b" ", b",", b";", b"-", b"+", b"0", b"9" * 20, b"9" * 5_000, b"1e999"),
    *(b"nan", b"inf", b"-inf", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"%00", b"../", b"[" * 2_000),
    *(b"{" * 50, b'"', b"\\ud800", b"\xc2\xb2", b"\xd9\xa3", b"null", b"true", b"1_0", b"0x10"),
)


class Mutator:
    """Makes inputs out of a target's seeds."""

    def __init__(self, target: Target, dice: random.Random) -> None:
        self._target = target
        self._dice = dice
        self._words = target.words + PLAIN_WORDS
        self._trees = [tree for tree in map(self._tree_of, target.seeds) if tree is not None]

    def next(self) -> bytes:
        dice = self._dice
        turn = dice.random()
        if turn < 0.01:
            return dice.choice(self._target.seeds)
        if turn < 0.02:
            return dice.randbytes(dice.randrange(80))
        if self._trees and turn < 0.7:
            data = self._written(self._changed(dice.choice(self._trees)))
            if turn < 0.6:
                return data[: self._target.max_bytes]
        else:
            data = dice.choice(self._target.seeds)
        for _ in range(1 + int(dice.expovariate(0.8))):
            data = self._bytes_changed(data)
        return data[: self._target.max_bytes]

    def _bytes_changed(self, data: bytes) -> bytes:
        dice = self._dice
        at = dice.randrange(len(data) + 1)
        match dice.randrange(9):
            case 0 if at < len(data):  # a bit
                return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
            case 1:  # a byte
                return data[:at] + dice.randbytes(1) + data[at + 1 :]
            case 2:
                return data[:at]
            case 3:  # a piece is gone
                return data[:at] + data[at + 1 + int(dice.expovariate(0.1)) :]
            case 4:  # a piece comes again
                stop = at + 1 + int(dice.expovariate(0.1))
                return data[:stop] + data[at:stop] * (1 << dice.randrange(6)) + data[stop:]
            case 5:  # a number, as a length field would be
                size = dice.choice((1, 2, 4, 8))
                number = dice.choice(EDGES) % (1 << 8 * size)
                order = dice.choice(("little", "big"))
                return data[:at] + number.to_bytes(size, order) + data[at + size :]
            case 6:  # another input's end
                other = dice.choice(self._target.seeds)
                return data[:at] + other[dice.randrange(len(other) + 1) :]
            case 7:
                return data[:at] + dice.choice(self._words) + data[at:]
            case _:
                word = dice.choice(self._words)
                return data[:at] + word + data[at + len(word) :]

    def _tree_of(self, seed: bytes) -> object:
        if self._target.form == "msgpack":
            return msgspec.msgpack.decode(seed)
        return json.loads(seed) if self._target.form == "json" else None

    def _written(self, tree: object) -> bytes:
        if self._target.form == "msgpack":
            return msgspec.msgpack.encode(tree)
        return json.dumps(tree).encode()

    def _changed(self, tree: object) -> object:
        for _ in range(1 + int(self._dice.expovariate(1.2))):
            tree = self._pruned(tree)
        return tree

    def _pruned(self, node: object) -> object:
        """Change one place somewhere below ``node``; what is not on the way there is shared."""
        dice = self._dice
        if isinstance(node, list) and node and dice.random() < 0.85:
            at = dice.randrange(len(node))
            match dice.randrange(12):
                case 0:
                    return node[:at] + node[at + 1 :]
                case 1:
                    return node[:at] + node[at : at + 1] * dice.choice((2, 3, 40)) + node[at + 1 :]
                case 2:
                    other = dice.randrange(len(node))
                    return [*node[:at], node[other], *node[at + 1 :]]
                case _:
                    return [*node[:at], self._pruned(node[at]), *node[at + 1 :]]
        if isinstance(node, dict) and node and dice.random() < 0.9:
            name = dice.choice(list(node))
            match dice.randrange(12):
                case 0:
                    return {one: value for one, value in node.items() if one != name}
                case 1:
                    return {**node, name + dice.choice(("", "x", "_")): node[name]}
                case 2:
                    return {**node, dice.choice(list(node)): node[name]}
                case _:
                    return {**node, name: self._pruned(node[name])}
        return self._leaf(node)

    def _leaf(self, value: object) -> object:
        dice = self._dice
        turn = dice.random()
        if turn < 0.15:
            return self._odd()
        if isinstance(value, bool) or value is None:
            return self._odd()
        if isinstance(value, int):
            near = value + dice.choice((1, -1, 2, -2, 8, -8))
            return near if turn < 0.5 and -(2**63) <= near < 2**64 else dice.choice(EDGES)
        if isinstance(value, float):
            return dice.choice((-value, value * 10, value / 10, 0.0, self._odd(), *HUGE_JSON[3:]))
        if isinstance(value, bytes):
            return self._bytes_changed(value)
        if isinstance(value, str):
            changed = self._bytes_changed(value.encode()).decode("utf-8", "ignore")
            return dice.choice((value + "x", value[:-1], changed, changed, "a", ""))
        return self._odd()

    def _odd(self) -> object:
        dice = self._dice
        if dice.random() < 0.4:
            return dice.choice(EDGES)
        if self._target.form == "json":
            plain = tuple(one for one in ODD if not isinstance(one, bytes))
            return dice.choice((*plain, *HUGE_JSON, _deep(dice)))
        return dice.choice((*ODD, float("nan"), float("inf"), _deep(dice)))


def _deep(dice: random.Random) -> list[object]:
    """Nest lists, sometimes deeper than a parser that calls itself can follow."""
    nested: list[object] = []
    for _ in range(dice.choice((3, 50, 400))):
        nested = [nested]
    return nested


def dictionary(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)
