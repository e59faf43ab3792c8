"""The end-to-end association of a lane's two ends: tags that no relay of the route can make.

It opens with a couriered key: two hash keys (one for each direction), then pairs of one-time pads,
16 bytes up and 16 bytes down. A unit of the lane is just one pair, and so renews it. Pair n serves
confirmation n and the verdict on it, and nothing else.

    tag = (Poly1305_r(context | header | keys) + pad) mod 2^128

is uniformly random whatever the keys are, so it tells nothing about them, nor about r: with a pad
for each tag, r wears out by forgery tries alone, and those are counted.
"""

import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkdd.auth.budget import AuthBudget
from qkdd.auth.tags import HASH_KEY_BYTES, PAD_BYTES, TagKey
from qkdd.base.errors import OutOfKey, QkdError
from qkdd.base.secret import Secret
from qkdd.relay.settings import Lane

Way: TypeAlias = Literal["up", "down"]
WAYS: tuple[Way, Way] = ("up", "down")
PAIR_BYTES = 2 * PAD_BYTES
HASH_KEYS_BYTES = 2 * HASH_KEY_BYTES
DOMAIN = b"qkdd-lane-1"


class NotTheirs(QkdError):
    """A tag is wrong: the keys differ, or the message is not the other end's."""


@dataclass(frozen=True, slots=True)
class Covered:
    """All of a confirmation or a verdict that is not secret."""

    pair: int
    first: int
    count: int
    bitmaps: tuple[bytes, ...]
    flag: bool = False
    end_pair: int = 0
    """Of a confirmation: the number behind the last pair that the last end has."""
    epoch: int = 0
    """Of a confirmation: of the first of its keys."""


class Association:
    """The pairs from ``first_pair`` on. Both ends hold the same, and spend them in step.

    It outlives generations of its lane: a pair that was spent under one is spent under all.
    """

    def __init__(
        self,
        lane: Lane,
        hash_keys: Secret,
        pairs: Secret,
        *,
        first_pair: int = 0,
        budget: AuthBudget | None = None,
    ) -> None:
        """Own ``hash_keys`` and take over ``pairs``, which is wiped."""
        if len(hash_keys) != HASH_KEYS_BYTES or len(pairs) % PAIR_BYTES:
            raise ValueError(f"{len(hash_keys)} bytes of hash keys, {len(pairs)} bytes of pads")
        self.budget = budget or AuthBudget(f"lane {lane.id}")
        self._hash_keys = hash_keys
        self._pads: dict[int, Secret] = {}
        self._pool = pairs
        self._start = first_pair
        self._end = first_pair + len(pairs) // PAIR_BYTES
        self._next = first_pair
        names = (lane.id, *lane.route)
        self._context = DOMAIN + struct.pack("<IQ", len(names), lane.generation)
        for name in names:
            self._context += struct.pack("<I", len(name)) + name.encode()

    @classmethod
    def from_psk(cls, lane: Lane, psk: Secret) -> "Association":
        """Open with a couriered key of 32 + 32 n bytes, which is wiped."""
        n_pairs = (len(psk) - HASH_KEYS_BYTES) // PAIR_BYTES
        if n_pairs < 1:
            raise ValueError(f"an end-to-end key of {len(psk)} bytes has no pair of pads")
        view = psk.reveal()
        stop = HASH_KEYS_BYTES + PAIR_BYTES * n_pairs
        hash_keys = Secret.from_bytes(view[:HASH_KEYS_BYTES])
        pairs = Secret.from_bytes(view[HASH_KEYS_BYTES:stop])
        psk.wipe()
        return cls(lane, hash_keys, pairs)

    @property
    def next_pair(self) -> int:
        """The pair of the next confirmation."""
        return self._next

    @property
    def n_pairs(self) -> int:
        """Pairs that are left."""
        return self._end - self._next

    @property
    def end(self) -> int:
        """The number of the pair that a renewal would add."""
        return self._end

    def renew(self, pair: memoryview) -> None:
        """Append a copy of a READY unit."""
        self._pads[self._end] = Secret.from_bytes(pair)
        self._end += 1

    def spend(self, pair: int) -> None:
        """Wipe every pair up to and including ``pair``."""
        while self._next <= pair:
            if self._next in self._pads:
                self._pads.pop(self._next).wipe()
            else:
                at = PAIR_BYTES * (self._next - self._start)
                self._pool.reveal()[at : at + PAIR_BYTES] = bytes(PAIR_BYTES)
            self._next += 1

    def trim(self, first_pair: int, end_pair: int) -> None:
        """Wipe every pair that the other end does not have (any more).

        Within a generation both ends hold the same pairs whenever a confirmation is verified. A
        generation that was given up with a batch under way leaves the last end without the pair of
        that batch, and without what its verdict renewed.
        """
        self.spend(first_pair - 1)
        while self._end > max(end_pair, self._next):
            self._end -= 1
            if self._end in self._pads:
                self._pads.pop(self._end).wipe()
            else:
                at = PAIR_BYTES * (self._end - self._start)
                self._pool.reveal()[at : at + PAIR_BYTES] = bytes(PAIR_BYTES)

    def sign(self, way: Way, covered: Covered, keys: Secret) -> bytes:
        """Tag the one message of this direction that its pair will ever carry.

        Raises
        ------
        OutOfKey
            There is no such pair (any more).
        """
        return self._hash(self._header(way, covered, keys), way, covered.pair, keys).finalize()

    def verify(self, way: Way, covered: Covered, keys: Secret, tag: bytes) -> None:
        """Raise NotTheirs unless the other end signed just this.

        Raises
        ------
        SecurityAlarm
            If it was one bad tag too many for this association.
        """
        self.budget.refuse_if_spent()
        header = self._header(way, covered, keys)
        poly = self._hash(header, way, covered.pair, keys)
        self.budget.tried(len(header) + len(keys))
        try:
            poly.verify(tag)  # constant time
        except InvalidSignature as error:
            raise NotTheirs(str(self.budget.failed(f"pair {covered.pair}"))) from error

    def _header(self, way: Way, covered: Covered, keys: Secret) -> bytes:
        """Return what is hashed before the keys; no two different calls give the same bytes."""
        header = self._context + struct.pack(
            "<BQQQQI?",
            WAYS.index(way),
            covered.pair,
            covered.end_pair,
            covered.epoch,
            covered.first,
            covered.count,
            covered.flag,
        )
        for bitmap in covered.bitmaps:
            header += struct.pack("<I", len(bitmap)) + bitmap
        return header + struct.pack("<I", len(keys))

    def _hash(self, header: bytes, way: Way, pair: int, keys: Secret) -> Poly1305:
        if not self._next <= pair < self._end:
            raise OutOfKey(f"pair {pair}: there are pairs {self._next} to {self._end - 1}")
        at = WAYS.index(way)
        fresh = Secret(HASH_KEY_BYTES + PAD_BYTES)
        hash_key = self._hash_keys.reveal()[HASH_KEY_BYTES * at :][:HASH_KEY_BYTES]
        fresh.reveal()[:HASH_KEY_BYTES] = hash_key
        fresh.reveal()[HASH_KEY_BYTES:] = self._pair(pair)[PAD_BYTES * at :][:PAD_BYTES]
        key = TagKey()
        key.load(fresh)
        try:
            poly = key.hash(header, b"")
        finally:
            key.wipe()
        poly.update(keys.reveal())
        return poly

    def _pair(self, pair: int) -> memoryview:
        if pair in self._pads:
            return self._pads[pair].reveal()
        at = PAIR_BYTES * (pair - self._start)
        return self._pool.reveal()[at : at + PAIR_BYTES]

    def wipe(self) -> None:
        for secret in (self._hash_keys, self._pool, *self._pads.values()):
            secret.wipe()
