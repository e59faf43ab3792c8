"""Network files: what is filled in, what is refused, and how it is said."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.base.errors import ConfigError
from qkdd.base.toml import convert
from qkdd.network.cut import first_nodes
from qkdd.network.laid_out import lay_out
from qkdd.network.read import load, mistakes
from qkdd.network.settings import Network
from tests.network.networks import CHAIN, CONFIGS, network_of

BACK = 'along = "all"\nfrom = "c"\nto = "b"\n'


def told(text: str) -> str:
    return "\n".join(mistakes(tomllib.loads(text)))


def test_defaults_are_filled_in_for_every_link() -> None:
    chain = lay_out(network_of(CHAIN))
    first, middle, fast = chain.links
    assert (first.name, middle.name) == ("a--b", "middle")
    assert (first.loss_db, middle.loss_db) == (pytest.approx(3.2), 7.5)
    assert (first.tagger, fast.tagger) == ("s15-tdc1", "idq-id1000")
    assert (first.frames.dead_time_ps, fast.frames.dead_time_ps) == (34_000, 30_002)
    assert fast.plan.frame_pulses == 2 * first.plan.frame_pulses == 20_000_000
    assert fast.plan.payload_pulses(3) == 160 * 20_000_000 * 0.995


def test_a_lane_may_follow_its_route_backwards_and_in_part() -> None:
    there, back = lay_out(network_of(CHAIN)).lanes
    assert there.lane.route == ("a", "b", "c", "d")
    assert (back.lane.route, [link.name for link in back.links]) == (("c", "b"), ["middle"])
    assert back.saes == ("sae-c", "sae-b")


def test_applications_without_a_client_of_the_file_are_made_and_housed() -> None:
    homes = {client.sae: client.node for client in lay_out(network_of(CHAIN)).clients}
    assert homes == {"sae-a": "a", "sae-d": "d", "sae-c": "c", "sae-b": "b"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('nodes = ["a", "b", "c", "d"]\n[[links]]', 'nodes = ["a", "b", "a"]\n[[links]]', "twice"),
        ('to = "b"\nkm = 10.0', 'to = "x"\nkm = 10.0', "links[0]: x is none of the nodes"),
        ('to = "b"\nkm = 10.0', 'to = "a"\nkm = 10.0', "links[0]: both ends are a"),
        ('to = "d"', 'to = "b"', "two links between c and b"),
        ("km = 20.0", "km = -1.0", "links[1].km"),
        ("km = 20.0", 'km = 20.0\nlight = "x"', "links[1]: light 'x' is none of"),
        ("km = 20.0", "km = 20.0\npulse_rate_mhz = 170.0\ntagger = 's15-tdc1'", "ambiguous"),
        ("pulse_rate_mhz = 200.0", "pulse_rate_mhz = 1000.0", "at most 15000000000"),
        ('[[routes]]\nname = "all"\nnodes = ["a", "b",', '[[routes]]\nname = "all"\nnodes = ["a",',
         "routes[0]: no link between a and c"),
        ('id = "back"\nalong = "all"', 'id = "back"\nalong = "none"', "none of [[routes]]: all"),
        (BACK, 'along = "all"\nfrom = "x"\n', "x is not on route all"),
        (BACK, 'along = "all"\nfrom = "c"\nto = "c"\n', "lanes[1]: both ends are c"),
        (BACK, 'along = "all"', "sae-a and sae-d are served by lane there already"),
        (BACK, 'along = "all"\nsaes = ["x", "y"]', "lanes[1].saes: x is no client at a"),
        ('id = "back"', 'id = "back"\nkeys_per_1000_s = 2', "lanes[1]: lane back: batch_age_s"),
        ('id = "back"', 'id = "there"', "lanes: there stands there twice"),
        ("km = 20.0", "km = 20.0\nkilometres = 3", "links[1].kilometres: unknown"),
        ('[[routes]]', '[light.x]\nframe_ms = 0\n[[routes]]', "light.x.frame_ms"),
        ('[[routes]]', '[light.default]\nframe_ms = 0.5\n[[routes]]', "$.frame_pulses"),
        ('[[routes]]', '[[clients]]\nsae = "s"\nnode = "y"\n[[routes]]', "y is none of the nodes"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(old: str, new: str, words: str) -> None:
    assert not told(CHAIN)
    assert old in CHAIN
    assert words in told(CHAIN.replace(old, new, 1))


def test_every_mistake_is_named_and_not_only_the_first(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    path.write_text(CHAIN.replace("km = 10.0", "km = -1.0"))
    with pytest.raises(ConfigError, match=r"2 mistakes\n.*links\[0\]\.km.*\n.*links\[2\]\.km"):
        load(path)


@pytest.mark.parametrize("content", [b"\xff", b"= 1", b""])
def test_a_file_that_is_no_network_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"net\.toml"):
        load(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["name", "nodes", "seed", "links", "light", "receivers", "routes", "lanes", "clients", "goals"]
)


@settings(max_examples=40)
@given(changes=st.dictionaries(FIELDS, VALUES, min_size=1, max_size=3))
def test_no_table_causes_anything_but_words_or_a_network(changes: dict[str, object]) -> None:
    table = tomllib.loads(CHAIN) | changes
    if not mistakes(table):
        lay_out(convert(table, Network))


@pytest.mark.parametrize("name", ["trunk31.toml", "ring6.toml"])
def test_the_examples_have_no_mistake(name: str) -> None:
    lay_out(load(CONFIGS / name))


def test_the_trunk_is_the_one_that_is_promised() -> None:
    trunk = lay_out(load(CONFIGS / "trunk31.toml"))
    assert (len(trunk.nodes), len(trunk.links)) == (32, 31)
    assert sum(link.km for link in trunk.links) == 2072
    assert len(trunk.lanes) >= 10
    whole = trunk.lanes[0].lane
    assert (whole.route[0], whole.route[-1], whole.n_links) == ("beijing-shangdi", "shanghai", 31)
    assert all(lane.lane.keys_per_1000_s >= 1000 for lane in trunk.lanes)


@pytest.mark.parametrize("number", [2, 3, 4, 17, 32])
def test_the_first_nodes_of_a_network_are_a_network(number: int) -> None:
    whole = load(CONFIGS / "trunk31.toml")
    cut = lay_out(first_nodes(whole, number))
    assert cut.nodes == whole.nodes[:number]
    assert len(cut.links) == number - 1
    assert cut.lanes
    assert cut.lanes[0].lane.route == whole.nodes[:number]
    ends = [frozenset((lane.lane.route[0], lane.lane.route[-1])) for lane in cut.lanes]
    assert len(set(ends)) == len(ends)


def test_a_ring_that_is_cut_keeps_the_lanes_that_lie_inside() -> None:
    cut = lay_out(first_nodes(load(CONFIGS / "ring6.toml"), 3))
    assert [lane.lane.route for lane in cut.lanes] == [("north", "north-east", "south-east")]
    assert cut.lanes[0].saes == ("bank-north", "sae-south-east")


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5_000])
def test_toml_that_is_nested_or_counted_without_an_end_is_refused_in_words(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "network.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="is not TOML"):
        load(path)
