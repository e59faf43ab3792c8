"""What neighbours say about lanes and hops, at each kind of node, in the middle of its work."""

from typing import Any

import msgspec

from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.base.secret import Secret
from qkdd.relay.hop_messages import HopAny, HopKeys
from qkdd.relay.hops import HopNode, split_ids
from qkdd.relay.messages import DownMessage, UpMessage
from qkdd.relay.settings import LaneTimes
from tests.fuzz.machines import MALFORMED
from tests.fuzz.samples import sample_of
from tests.fuzz.target import Kept, Target
from tests.relay.chain import Chain, a_lane
from tests.relay.hop_chain import Chain as HopChain


def a_chain() -> Chain:
    """Two links with light, half of the words delivered."""
    chain = Chain(a_lane(2), LaneTimes(batch_units=4))
    chain.connect_all()
    chain.pass_time(0)
    chain.light(8)
    for _ in range(3):
        chain.deliver_down(0)
        chain.deliver_down(1)
    return chain


def lane_target(name: str, node: int, kind: Any, *, from_up: bool) -> Target:
    """A word that is refused leaves a node's accounts as they were; none ever makes a key here."""
    decoder = msgspec.msgpack.Decoder(kind)

    def hear(chain: Chain, word: Any) -> None:
        machine = chain.nodes[node]
        if not from_up:
            more = () if node == 0 else (0.0,)
            chain._carry_out(node, machine.receive_from_down(word, *more))
        else:
            more = (chain.epoch,) if node == 2 else ()
            chain._carry_out(node, machine.receive_from_up(word, 0.0, *more))

    def feed(data: bytes) -> bool:
        try:
            word = decoder.decode(data)
        except MALFORMED:
            return False
        chain = a_chain()
        try:
            hear(chain, word)
        except (PeerError, SecurityAlarm):
            accounts = [one for pair in chain.accounts for one in pair]
            assert all(one.under_way >= 0 and one.cut == 8 * 256 for one in accounts)
            return False
        assert not chain.disks[0].ready or word in heard, "a key came of a false confirmation"
        return True

    chain = a_chain()
    chain.deliver_all()
    heard = [one for one in chain.heard if isinstance(one, kind)]
    seeds = {type(one): one for one in heard} | {
        one: sample_of(one) for one in kind.__args__ if one not in {type(said) for said in heard}
    }
    written = tuple(map(msgspec.msgpack.encode, seeds.values()))
    return Target(name, "peer", written, feed, "msgpack", words=(b"lane",), slow=True)


def hop_target() -> Target:
    """The second of four nodes, which carries two transfers."""

    def carrying() -> HopNode:
        chain = HopChain(4)
        for number in (1, 2):
            chain.start(chain.order(number))
        chain.give_pads()
        chain.pass_one("a", "b")
        chain.give_pads()
        return chain.nodes["b"]

    chain = HopChain(4)
    chain.start(chain.order(3))
    chain.settle()
    machine, decoder = Kept(carrying), msgspec.msgpack.Decoder(HopAny)

    def feed(data: bytes) -> bool:
        try:
            word = decoder.decode(data)
        except MALFORMED:
            return False
        node = machine.get()
        neighbour = "a" if isinstance(word, HopKeys) or hasattr(word, "route") else "c"
        try:
            if isinstance(word, HopKeys):
                node.check(neighbour, word)
                pads = [Secret(word.n_bytes) for _ in split_ids(word.pads)]
                node.keys_came(neighbour, word, pads)
            else:
                node.receive(neighbour, word)
        except PeerError:
            machine.refused()
            return False
        machine.accepted()
        return True

    said = {(type(one), getattr(one, "hop", 0)): one for one in chain.said}
    seeds = [*said.values(), *(sample_of(kind) for kind in HopAny.__args__)]
    return Target("hops", "peer", tuple(map(msgspec.msgpack.encode, seeds)), feed, "msgpack")


def targets() -> list[Target]:
    return [
        lane_target("lane-first", 0, UpMessage, from_up=False),
        lane_target("lane-middle-down", 1, DownMessage, from_up=True),
        lane_target("lane-middle-up", 1, UpMessage, from_up=False),
        lane_target("lane-last", 2, DownMessage, from_up=True),
        hop_target(),
    ]
