"""Keys outside lanes: from the first node to the last, hop by hop, under one-time pads.

    first    WAITING --pads--> SENT --HopHeld--> held; --HopFailed, lost, given up--> burned
    relay    HopKeys --> WAITING --pads--> SENT --HopHeld, HopFailed--> passed on, forgotten
    last     HopKeys --> on disk --> HopHeld

At most once beats no loss: what is in doubt is burned by everybody who hears of it, and a relay has
a key in its memory only between two pads. The machine of a node has no clock: every transfer ends
by an answer, by being given up, or with the session of one of its two neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from qkdd.base.errors import PeerError
from qkdd.base.secret import Secret
from qkdd.relay.hop_actions import (
    Action,
    Arrived,
    Burn,
    Failed,
    Hold,
    HopOrder,
    Say,
    WantPads,
)
from qkdd.relay.hop_messages import (
    ID_BYTES,
    MAX_REASON,
    HopBurned,
    HopFailed,
    HopHeld,
    HopKeys,
)

MAX_PASSING = 256
"""Transfers at once through one node: each holds a key in memory for a round trip of a link."""


@dataclass(slots=True)
class _Passing:
    order: HopOrder
    hop: int
    """Our place in the route."""
    keys: Secret | None
    """Until they are sent."""

    @property
    def before(self) -> str | None:
        return self.order.route[self.hop - 1] if self.hop else None

    @property
    def after(self) -> str | None:
        route = self.order.route
        return route[self.hop + 1] if self.hop + 1 < len(route) else None


class HopNode:
    """All transfers that pass, begin or end at one node."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._passing: dict[bytes, _Passing] = {}

    @property
    def n_passing(self) -> int:
        return len(self._passing)

    def start(self, order: HopOrder, keys: Secret) -> list[Action]:
        """Begin a transfer at its first node, with keys of its own copy."""
        if order.route[0] != self._node or len(order.route) < 2:
            raise ValueError(f"the route {order.route} does not begin at {self._node}")
        if len(keys) != order.n_keys * order.n_bytes or order.transfer in self._passing:
            raise ValueError(f"transfer {order.transfer.hex()}: {len(keys)} bytes")
        self._passing[order.transfer] = _Passing(order, 0, Secret.from_bytes(keys.reveal()))
        return [WantPads(order, order.route[1])]

    def check(self, neighbour: str, message: HopKeys) -> None:
        """Raise PeerError if ``neighbour`` may not say this; changes nothing."""
        self._check_place(neighbour, message)
        n_keys = _count(message.key_ids, "key IDs")
        if _count(message.pads, "pads") != n_keys:
            raise PeerError(f"HopKeys: {n_keys} keys, {len(message.pads) // ID_BYTES} pads")
        if len({message.master, *message.slaves}) != 1 + len(message.slaves):
            raise PeerError("HopKeys: an SAE is named twice")
        if len(message.masked) != n_keys * message.n_bytes:
            raise PeerError(
                f"HopKeys: {len(message.masked)} bytes for {n_keys} keys of {message.n_bytes}"
            )
        if message.n_relays < len(message.route) - 2:
            raise PeerError(
                f"HopKeys: {message.n_relays} relays are said to be trusted, the route alone has "
                f"{len(message.route) - 2}"
            )
        if message.transfer in self._passing:
            raise PeerError(f"HopKeys: transfer {message.transfer.hex()} is known already")

    def _check_place(self, neighbour: str, message: HopKeys | HopBurned) -> None:
        route, hop, kind = message.route, message.hop, type(message).__name__
        if len(set(route)) != len(route) or hop >= len(route):
            raise PeerError(f"{kind}: no node is number {hop} of the route {'-'.join(route)[:200]}")
        if (route[hop - 1], route[hop]) != (neighbour, self._node):
            raise PeerError(
                f"{kind}: hop {hop} is {route[hop - 1]} to {route[hop]}, not {neighbour} to "
                f"{self._node}"
            )

    def keys_came(self, neighbour: str, message: HopKeys, pads: Sequence[Secret]) -> list[Action]:
        """Take keys whose pads were read, and consumed on disk; wipes the pads."""
        try:
            self.check(neighbour, message)
            _check_pads(message, pads)
        except PeerError:
            for pad in pads:
                pad.wipe()
            raise
        order = HopOrder(
            message.transfer,
            message.route,
            message.n_relays,
            message.master,
            message.slaves,
            message.n_bytes,
            message.key_ids,
        )
        keys = Secret.from_bytes(message.masked)
        _mask(keys, pads, order)
        if message.hop + 1 == len(message.route):
            return [Hold(order, keys)]
        if len(self._passing) >= MAX_PASSING:
            keys.wipe()
            return self.refuse(neighbour, message, f"{MAX_PASSING} transfers pass here already")
        passing = _Passing(order, message.hop, keys)
        self._passing[order.transfer] = passing
        assert passing.after is not None
        return [WantPads(order, passing.after)]

    def refuse(self, neighbour: str, message: HopKeys, reason: str) -> list[Action]:
        """Answer that keys which came get no further; nothing is kept of them."""
        return [Say(neighbour, self._failed(message.transfer, self._node, reason))]

    def got_pads(self, transfer: bytes, pad_ids: bytes, pads: Sequence[Secret]) -> list[Action]:
        """Send the keys on, masked; wipes the pads. Nothing is sent if they are given up."""
        passing = self._passing.get(transfer)
        if passing is None or passing.keys is None:
            for pad in pads:
                pad.wipe()
            return []
        order, keys = passing.order, passing.keys
        _mask(keys, pads, order)  # from here on it is a ciphertext
        passing.keys = None
        message = HopKeys(
            transfer=transfer,
            route=order.route,
            hop=passing.hop + 1,
            n_relays=order.n_relays,
            master=order.master,
            slaves=order.slaves,
            n_bytes=order.n_bytes,
            key_ids=order.key_ids,
            pads=pad_ids,
            masked=bytes(keys.reveal()),
        )
        keys.wipe()
        assert passing.after is not None
        return [Say(passing.after, message)]

    def no_pads(self, transfer: bytes, reason: str) -> list[Action]:
        """The link to the next node has no pads: the keys end here."""
        passing = self._forget(transfer)
        return [] if passing is None else [self._upstream(passing, self._node, reason)]

    def held(self, order: HopOrder) -> list[Action]:
        """The keys are on disk at this, the last node."""
        return [Say(order.route[-2], HopHeld(transfer=order.transfer))]

    def not_held(self, order: HopOrder, reason: str) -> list[Action]:
        return [Say(order.route[-2], self._failed(order.transfer, self._node, reason))]

    def receive(self, neighbour: str, message: HopHeld | HopFailed | HopBurned) -> list[Action]:
        """Pass an answer upstream, or the end of a transfer downstream; a late one is no fault."""
        if isinstance(message, HopBurned):
            return self._burned(neighbour, message)
        passing = self._passing.get(message.transfer)
        if passing is None:
            return []
        if passing.after != neighbour or passing.keys is not None:
            raise PeerError(
                f"{type(message).__name__}: transfer {message.transfer.hex()} was not sent to "
                f"{neighbour}"
            )
        self._forget(message.transfer)
        if isinstance(message, HopFailed):
            return [self._upstream(passing, message.at, message.reason)]
        if passing.before is None:
            return [Arrived(message.transfer)]
        return [Say(passing.before, message)]

    def _burned(self, neighbour: str, message: HopBurned) -> list[Action]:
        """Burn what is here, and say it to the next node, whatever has become of it here."""
        self._check_place(neighbour, message)
        _count(message.key_ids, "key IDs")
        passing = self._passing.get(message.transfer)
        if passing is not None and passing.before != neighbour:
            raise PeerError(f"HopBurned: transfer {message.transfer.hex()} is not {neighbour}'s")
        if message.hop + 1 == len(message.route):
            return [Burn(message.key_ids)]
        self._forget(message.transfer)
        onward = msgspec.structs.replace(message, hop=message.hop + 1)
        return [Say(message.route[message.hop + 1], onward)]

    def give_up(self, order: HopOrder) -> list[Action]:
        """The first node burns keys that have no answer, or that have arrived and that those to
        other nodes, which have not, make useless."""
        passing = self._forget(order.transfer)
        waiting = passing is not None and passing.keys is not None
        return [] if waiting else [_burn(order, 0)]

    def lost(self, neighbour: str) -> list[Action]:
        """The session with ``neighbour`` is over: nothing on its way over it has an end to wait
        for."""
        actions: list[Action] = []
        for transfer, passing in list(self._passing.items()):
            if passing.before == neighbour:
                sent = passing.keys is None
                self._forget(transfer)
                actions += [_burn(passing.order, passing.hop)] if sent else []
            elif passing.after == neighbour and passing.keys is None:
                self._forget(transfer)
                reason = f"the session with {neighbour} was lost"
                actions.append(self._upstream(passing, self._node, reason))
        return actions

    def _forget(self, transfer: bytes) -> _Passing | None:
        """Take out a transfer; its keys, if they are still here, are wiped."""
        passing = self._passing.pop(transfer, None)
        if passing is not None and passing.keys is not None:
            passing.keys.wipe()
        return passing

    def _upstream(self, passing: _Passing, at: str, reason: str) -> Action:
        if passing.before is None:
            return Failed(passing.order.transfer, at, reason[:MAX_REASON])
        return Say(passing.before, self._failed(passing.order.transfer, at, reason))

    @staticmethod
    def _failed(transfer: bytes, at: str, reason: str) -> HopFailed:
        return HopFailed(transfer=transfer, at=at, reason=reason[:MAX_REASON])


def split_ids(ids: bytes) -> list[bytes]:
    return [ids[start : start + ID_BYTES] for start in range(0, len(ids), ID_BYTES)]


def _count(ids: bytes, what: str) -> int:
    """Return how many IDs these are; PeerError unless they are whole and differ."""
    n_ids, rest = divmod(len(ids), ID_BYTES)
    if rest or len(set(split_ids(ids))) != n_ids:
        raise PeerError(f"{len(ids)} bytes of {what} are not whole, or one is named twice")
    return n_ids


def _check_pads(message: HopKeys, pads: Sequence[Secret]) -> None:
    """Raise PeerError if the pads that the neighbour has named are not as long as its keys."""
    wrong = [len(pad) for pad in pads if len(pad) != message.n_bytes]
    if wrong:
        raise PeerError(f"HopKeys: a pad of {wrong[0]} bytes for keys of {message.n_bytes}")


def _burn(order: HopOrder, hop: int) -> Say:
    """Say downstream, from place ``hop`` of the route, that the keys are given up."""
    message = HopBurned(
        transfer=order.transfer, route=order.route, hop=hop + 1, key_ids=order.key_ids
    )
    return Say(order.route[hop + 1], message)


def _mask(keys: Secret, pads: Sequence[Secret], order: HopOrder) -> None:
    """Xor each key with its pad where it lies; wipe the pads."""
    if [len(pad) for pad in pads] != [order.n_bytes] * order.n_keys:
        raise ValueError(f"{len(pads)} pads for {order.n_keys} keys of {order.n_bytes} bytes")
    for number, pad in enumerate(pads):
        start = number * order.n_bytes
        with keys.reveal()[start : start + order.n_bytes] as view:
            key = np.frombuffer(view, np.uint8)
            np.bitwise_xor(key, np.frombuffer(pad.reveal(), np.uint8), out=key)
            del key
        pad.wipe()
