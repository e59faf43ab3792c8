"""Keys hop by hop, over wires that break: what arrives is equal, what fails is burned."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import PeerError
from qkdd.base.secret import Secret
from qkdd.relay.hop_actions import Action, Say, WantPads
from qkdd.relay.hop_messages import HopAny, HopBurned, HopFailed, HopHeld, HopKeys
from qkdd.relay.hops import MAX_PASSING, HopNode, split_ids
from qkdd.relay.routes import Routes, n_relays
from tests.relay.hop_chain import NODES, Chain


def held_of(chain: Chain, key_ids: bytes) -> bytes:
    return b"".join(chain.held.get(key_id, b"") for key_id in split_ids(key_ids))


@pytest.mark.parametrize("n_nodes", [2, 3, 5])
def test_keys_arrive_as_they_were_drawn_under_pads_used_once_and_nobody_keeps_them(
    n_nodes: int,
) -> None:
    chain = Chain(n_nodes)
    orders = [chain.order(number) for number in (1, 2, 3)]
    for order in orders:
        chain.start(order)
    chain.settle()
    assert chain.arrived == {order.transfer for order in orders}
    assert chain.n_pads == 3 * 2 * (n_nodes - 1) == len(chain.used)
    for order in orders:
        assert held_of(chain, order.key_ids) == chain.keys(order)
        assert not any(
            chain.keys(order)[:8] in message.masked
            for message in chain.said
            if isinstance(message, HopKeys)
        )
    assert [node.n_passing for node in chain.nodes.values()] == [0] * n_nodes


@pytest.mark.parametrize("dry", ["a", "b", "c", "d"])
def test_a_hop_without_key_is_named_and_nothing_is_left_of_what_came_so_far(dry: str) -> None:
    chain = Chain(5, dry={dry})
    order = chain.order(1)
    chain.start(order)
    chain.settle()
    assert chain.failed == {order.transfer: dry}
    assert not chain.held
    assert not chain.arrived
    assert all(node.n_passing == 0 for node in chain.nodes.values())


def test_keys_that_have_arrived_are_burned_when_the_first_node_takes_them_back() -> None:
    chain = Chain(4)
    order = chain.order(1)
    chain.start(order)
    chain.settle()
    assert chain.held
    chain.do("a", chain.nodes["a"].give_up(order))
    chain.settle()
    assert not chain.held


@given(st.integers(2, 5), st.data())
def test_whatever_breaks_the_ends_never_differ_and_no_node_waits_for_ever(
    n_nodes: int, data: st.DataObject
) -> None:
    chain = Chain(n_nodes, dry=data.draw(st.sets(st.sampled_from(NODES), max_size=1)))
    orders = [chain.order(number) for number in (1, 2, 3)]
    waiting, given_up = list(orders), []
    links = list(zip(chain.route, chain.route[1:], strict=False))
    steps = st.sampled_from(["start", "pads", "lose", "give up", *chain.wires])
    for step in data.draw(st.lists(steps, max_size=60)):
        if step == "start" and waiting:
            chain.start(waiting.pop())
        elif step == "pads":
            chain.give_pads()
        elif step == "lose":
            chain.lose(*data.draw(st.sampled_from(links)))
        elif step == "give up" and len(waiting) < len(orders):
            order = data.draw(st.sampled_from(orders[len(waiting) :]))
            if order.transfer not in chain.arrived:
                given_up.append(order)
                chain.do("a", chain.nodes["a"].give_up(order))
        elif isinstance(step, tuple):
            chain.pass_one(*step)
    chain.settle()
    for order in orders[len(waiting) :]:
        ends = (order.transfer in chain.arrived, order.transfer in chain.failed)
        assert any(ends) or order in given_up  # whoever waits is told
        if order.transfer in chain.arrived:
            assert held_of(chain, order.key_ids) == chain.keys(order)
    assert all(node.n_passing == 0 for node in chain.nodes.values())


GOOD = HopKeys(
    transfer=bytes(16),
    route=("a", "b", "c"),
    hop=1,
    n_relays=1,
    master="alpha",
    slaves=("beta",),
    n_bytes=8,
    key_ids=bytes(range(32)),
    pads=bytes(range(32)),
    masked=bytes(16),
)


def test_a_relay_that_is_full_refuses_by_its_name_and_keeps_what_passes() -> None:
    node = HopNode("b")

    def comes(number: int) -> list[Action]:
        name = number.to_bytes(16, "big")
        return node.keys_came(
            "a",
            msgspec.structs.replace(GOOD, transfer=name, key_ids=name, pads=name, masked=bytes(8)),
            [Secret(8)],
        )

    for number in range(MAX_PASSING):
        assert isinstance(comes(number)[0], WantPads)
    (answer,) = comes(MAX_PASSING)
    assert isinstance(answer, Say)
    assert isinstance(answer.message, HopFailed)
    assert (answer.neighbour, answer.message.at, node.n_passing) == ("a", "b", MAX_PASSING)


@pytest.mark.parametrize(
    "wrong",
    [
        {"route": ("a", "b", "a")},
        {"hop": 2},
        {"hop": 3},
        {"route": ("x", "b", "c")},
        {"route": ("a", "x", "c")},
        {"masked": bytes(24)},
        {"pads": bytes(16)},
        {"key_ids": bytes(range(31))},
        {"key_ids": bytes(32)},
        {"n_bytes": 16},
        {"pads": bytes(32)},
        {"slaves": ("beta", "beta")},
        {"slaves": ("beta", "alpha")},
        {"n_relays": 0},
    ],
)
def test_keys_that_make_no_sense_are_the_neighbours_fault_and_change_nothing(
    wrong: dict[str, object],
) -> None:
    node = HopNode("b")
    node.check("a", GOOD)
    with pytest.raises(PeerError):
        node.keys_came("a", msgspec.structs.replace(GOOD, **wrong), [Secret(8), Secret(8)])
    assert node.n_passing == 0


@pytest.mark.parametrize("sizes", [(8, 16), (7, 8), (16, 16)])
def test_pads_of_another_length_than_the_keys_are_the_neighbours_fault_and_are_wiped(
    sizes: tuple[int, int],
) -> None:
    node = HopNode("b")
    pads = [Secret(size) for size in sizes]
    with pytest.raises(PeerError, match=r"a pad of \d+ bytes for keys of 8"):
        node.keys_came("a", GOOD, pads)
    assert node.n_passing == 0
    assert all(pad.wiped for pad in pads)


def test_pads_of_a_transfer_that_came_before_are_wiped() -> None:
    node = HopNode("b")
    node.keys_came("a", GOOD, [Secret(8), Secret(8)])
    pads = [Secret(8), Secret(8)]
    with pytest.raises(PeerError, match="known already"):
        node.keys_came("a", GOOD, pads)
    assert all(pad.wiped for pad in pads)


def test_a_transfer_comes_once_and_only_the_next_node_answers_for_it() -> None:
    node = HopNode("b")
    node.keys_came("a", GOOD, [Secret(8), Secret(8)])
    with pytest.raises(PeerError, match="known already"):
        node.keys_came("a", GOOD, [Secret(8), Secret(8)])
    for neighbour in ("a", "c"):  # not even sent to c yet
        with pytest.raises(PeerError, match="was not sent to"):
            node.receive(neighbour, HopHeld(transfer=GOOD.transfer))
    with pytest.raises(PeerError, match="hop 1 is a to b, not c to b"):
        node.receive(
            "c", HopBurned(transfer=GOOD.transfer, route=GOOD.route, hop=1, key_ids=GOOD.key_ids)
        )
    with pytest.raises(PeerError, match="31 bytes of key IDs"):
        node.receive(
            "a", HopBurned(transfer=GOOD.transfer, route=GOOD.route, hop=1, key_ids=bytes(31))
        )
    assert node.n_passing == 1


messages = st.one_of(
    st.builds(
        HopKeys,
        transfer=st.sampled_from([bytes(16), b"t" * 16]),
        route=st.lists(st.sampled_from(NODES), min_size=2, max_size=5).map(tuple),
        hop=st.integers(1, 6),
        n_relays=st.integers(0, 9),
        master=st.just("alpha"),
        slaves=st.just(("beta",)),
        n_bytes=st.integers(8, 16),
        key_ids=st.binary(min_size=16, max_size=48),
        pads=st.binary(min_size=16, max_size=48),
        masked=st.binary(min_size=8, max_size=48),
    ),
    st.builds(HopHeld, transfer=st.just(bytes(16))),
    st.builds(HopFailed, transfer=st.just(bytes(16)), at=st.sampled_from(NODES), reason=st.text()),
    st.builds(
        HopBurned,
        transfer=st.just(bytes(16)),
        route=st.lists(st.sampled_from(NODES), min_size=2, max_size=5).map(tuple),
        hop=st.integers(1, 6),
        key_ids=st.binary(min_size=16, max_size=48),
    ),
)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "c", "d"]), messages), max_size=8),
    st.integers(8, 16),
)
def test_no_words_of_a_neighbour_cause_anything_but_a_peer_error(
    words: list[tuple[str, HopAny]], n_pad_bytes: int
) -> None:
    node = HopNode("b")
    for neighbour, message in words:
        try:
            if isinstance(message, HopKeys):
                node.check(neighbour, message)
                n_keys = len(message.key_ids) // 16
                node.keys_came(neighbour, message, [Secret(n_pad_bytes) for _ in range(n_keys)])
            else:
                node.receive(neighbour, message)
        except PeerError:
            continue


def test_a_way_is_the_shortest_piece_of_what_was_written_down_either_way_round() -> None:
    routes = Routes("c", ["b", "d"], [("a", "b", "c", "d", "e"), ("x", "a", "c"), ("p", "q")])
    assert routes.to("e") == ("c", "d", "e")
    assert routes.to("a") == ("c", "a")
    assert routes.to("x") == ("c", "a", "x")
    assert routes.to("b") == ("c", "b")
    assert routes.to("q") is None
    assert routes.to("c") is None


def test_relays_are_counted_once_over_all_ways_of_a_key() -> None:
    assert n_relays([("a", "b")]) == 0
    assert n_relays([("a", "b", "c"), ("a", "b", "d")]) == 2
    assert n_relays([]) == 0
