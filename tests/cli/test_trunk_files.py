"""What ``qkdd trunk`` writes: relays' and laboratories' files that their readers accept."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.config import read_lab
from qkdd.base.agreement import agreement
from qkdd.cli.trunk.lab_files import write_lab
from qkdd.cli.trunk.pre_shared import install_pre_shared
from qkdd.cli.trunk.relay_files import write_relay
from qkdd.cli.trunk.site import Site, spread, write_secrets
from qkdd.cli.trunk.toml_text import toml_text
from qkdd.config import Link, Relay, load, mistakes
from qkdd.network.laid_out import lay_out
from qkdd.network.read import load as load_network
from tests.network.networks import CONFIGS

NAMES = st.text(max_size=8)
PLAIN = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text()
FLAT = st.dictionaries(NAMES, PLAIN | st.lists(PLAIN, max_size=3), max_size=3)
TABLES = st.dictionaries(
    NAMES,
    PLAIN
    | FLAT
    | st.dictionaries(NAMES, FLAT, max_size=2)
    | st.lists(FLAT, min_size=1, max_size=2),
    max_size=4,
)


@given(table=TABLES)
def test_a_table_comes_back_from_its_text(table: dict[str, object]) -> None:
    assert tomllib.loads(toml_text(table)) == table


def test_a_field_without_a_value_is_left_out() -> None:
    assert tomllib.loads(toml_text({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


@pytest.fixture(scope="module", params=["trunk31.toml", "ring6.toml"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    network = lay_out(load_network(CONFIGS / request.param))
    made = Site.on_free_ports(network, tmp_path_factory.mktemp("site"))
    labs = spread(network.links, 3)
    write_secrets(made, labs)
    resources = {}
    for number, links in enumerate(labs):
        write_lab(made, number, links)
        for link in links:
            zmq = link.tagger == "idq-id1000"
            resources[link.name] = {
                "laser": "serial:/dev/x",
                "attenuator": "TCPIP::127.0.0.1::1::SOCKET",
                "encoder": "tcp://127.0.0.1:2",
                "tagger": "zmq://127.0.0.1:3" if zmq else "tcp://127.0.0.1:3",
                "datalink": "zmq://127.0.0.1:4",
            }
    for node in network.nodes:
        write_relay(made, node, resources)
    return made


def relays(site: Site) -> dict[str, Relay]:
    return {node: load(site.config(node)) for node in site.network.nodes}


def test_every_relay_accepts_its_file_and_finds_its_secrets(site: Site) -> None:
    for node in site.network.nodes:
        assert mistakes(site.config(node)) == []


def test_both_ends_of_every_link_agree(site: Site) -> None:
    all_relays = relays(site)

    def agreed(link: Link) -> bytes:
        parts = {"light": link.light, "intensities": link.intensities, "frames": link.frames}
        return agreement(**parts, reconcile=link.reconcile, proof=link.proof).text

    for link in site.network.links:
        (sender,) = (x for x in all_relays[link.sender].links if x.name == link.name)
        (receiver,) = (x for x in all_relays[link.receiver_node].links if x.name == link.name)
        assert agreed(sender) == agreed(receiver)
        assert sender.connect == receiver.listen
        assert (sender.role, receiver.role) == ("transmitter", "receiver")


def test_a_lane_is_the_same_text_on_every_node_of_its_route_and_nowhere_else(site: Site) -> None:
    all_relays = relays(site)
    for lane in site.network.lanes:
        carriers = [node for node, relay in all_relays.items() if lane.lane in relay.lanes]
        assert sorted(carriers) == sorted(lane.lane.route)


def test_no_relay_learns_anything_of_the_fibre(site: Site) -> None:
    for node in site.network.nodes:
        text = site.config(node).read_text()
        for word in ("length_km", "loss_db = 9.4", "seed", "efficiency", "fibre"):
            assert word not in text


def test_every_laboratory_reads_its_file_and_each_link_is_in_one(site: Site) -> None:
    labs = [read_lab(site.lab(number)) for number in range(3)]
    served = [link.name for lab in labs for link in lab.links]
    assert sorted(served) == sorted(link.name for link in site.network.links)


def test_key_files_are_their_owners_alone(site: Site) -> None:
    secrets = [*site.folder.rglob("*.key")]
    assert len(secrets) > 3 * len(site.network.links)
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_pre_shared_keys_are_laid_into_every_store(site: Site, tmp_path: Path) -> None:
    install_pre_shared(site)
    assert all((site.folder / node / "keys.sqlite").exists() for node in site.network.nodes)


def test_links_are_dealt_evenly_and_no_laboratory_is_idle() -> None:
    links = lay_out(load_network(CONFIGS / "ring6.toml")).links
    assert [len(lab) for lab in spread(links, 4)] == [2, 2, 1, 1]
    assert [len(lab) for lab in spread(links, 40)] == [1] * 6
