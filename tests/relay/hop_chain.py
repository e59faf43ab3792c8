"""Nodes in a row that carry keys by hops, over sessions that a test can break at any word."""

from collections import deque
from dataclasses import dataclass, field

from qkdd.base.secret import Secret
from qkdd.relay.hop_actions import Action, Arrived, Burn, Failed, Hold, HopOrder, Say, WantPads
from qkdd.relay.hop_messages import HopAny, HopKeys
from qkdd.relay.hops import HopNode, split_ids

NODES = ("a", "b", "c", "d", "e")


@dataclass
class Chain:
    """Machines, the pads of each link, what is on the wire, and what the two ends have to show."""

    n_nodes: int
    dry: set[str] = field(default_factory=set)
    """Nodes whose link onward has no key."""
    nodes: dict[str, HopNode] = field(default_factory=dict)
    wires: dict[tuple[str, str], deque[HopAny]] = field(default_factory=dict)
    wanted: deque[tuple[str, WantPads]] = field(default_factory=deque)
    pads: dict[bytes, bytes] = field(default_factory=dict)
    """Announced and not yet used at the far end of their link."""
    used: set[bytes] = field(default_factory=set)
    held: dict[bytes, bytes] = field(default_factory=dict)
    """On disk at the last node."""
    said: list[HopAny] = field(default_factory=list)
    arrived: set[bytes] = field(default_factory=set)
    failed: dict[bytes, str] = field(default_factory=dict)
    n_pads: int = 0

    def __post_init__(self) -> None:
        self.route = NODES[: self.n_nodes]
        self.nodes = {name: HopNode(name) for name in self.route}
        for one, other in zip(self.route, self.route[1:], strict=False):
            self.wires[one, other] = deque()
            self.wires[other, one] = deque()

    def order(self, number: int, n_keys: int = 2, n_bytes: int = 8) -> HopOrder:
        return HopOrder(
            transfer=number.to_bytes(16, "big"),
            route=self.route,
            n_relays=self.n_nodes - 2,
            master="alpha",
            slaves=("beta",),
            n_bytes=n_bytes,
            key_ids=b"".join(bytes([number, n]) * 8 for n in range(n_keys)),
        )

    def keys(self, order: HopOrder) -> bytes:
        return bytes(
            (7 * n + order.transfer[-1]) % 256 for n in range(order.n_keys * order.n_bytes)
        )

    def start(self, order: HopOrder) -> None:
        with Secret.from_bytes(self.keys(order)) as keys:
            self.do("a", self.nodes["a"].start(order, keys))

    def do(self, node: str, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Say(neighbour, message):
                    self.said.append(message)
                    self.wires[node, neighbour].append(message)
                case WantPads():
                    self.wanted.append((node, action))
                case Hold(order, keys):
                    text = bytes(keys.reveal())
                    for number, key_id in enumerate(split_ids(order.key_ids)):
                        assert key_id not in self.held
                        start = number * order.n_bytes
                        self.held[key_id] = text[start : start + order.n_bytes]
                    keys.wipe()
                    self.do(node, self.nodes[node].held(order))
                case Burn(key_ids):
                    for key_id in split_ids(key_ids):
                        self.held.pop(key_id, None)
                case Arrived(transfer):
                    self.arrived.add(transfer)
                case Failed(transfer, at, _):
                    self.failed[transfer] = at

    def give_pads(self) -> bool:
        """Answer the oldest wish for pads."""
        if not self.wanted:
            return False
        node, wish = self.wanted.popleft()
        if node in self.dry:
            self.do(node, self.nodes[node].no_pads(wish.order.transfer, "no key"))
            return True
        ids, pads = [], []
        for _ in range(wish.order.n_keys):
            self.n_pads += 1
            ids.append(self.n_pads.to_bytes(16, "big"))
            pad = bytes((self.n_pads * 31 + n) % 256 for n in range(wish.order.n_bytes))
            self.pads[ids[-1]] = pad
            pads.append(Secret.from_bytes(pad))
        self.do(node, self.nodes[node].got_pads(wish.order.transfer, b"".join(ids), pads))
        assert all(pad.wiped for pad in pads)
        return True

    def pass_one(self, one: str, other: str) -> bool:
        """Carry the oldest word from ``one`` to ``other``."""
        wire = self.wires[one, other]
        if not wire:
            return False
        message = wire.popleft()
        node = self.nodes[other]
        if isinstance(message, HopKeys):
            ids = split_ids(message.pads)
            assert not self.used & set(ids)
            self.used |= set(ids)
            pads = [Secret.from_bytes(self.pads.pop(pad)) for pad in ids]
            self.do(other, node.keys_came(one, message, pads))
            assert all(pad.wiped for pad in pads)
        else:
            self.do(other, node.receive(one, message))
        return True

    def lose(self, one: str, other: str) -> None:
        """The session between two neighbours breaks: what is on the wire is gone."""
        self.wires[one, other].clear()
        self.wires[other, one].clear()
        self.do(one, self.nodes[one].lost(other))
        self.do(other, self.nodes[other].lost(one))

    def settle(self) -> None:
        while self.give_pads() or sum(self.pass_one(*wire) for wire in self.wires):
            pass
