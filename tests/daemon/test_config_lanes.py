"""A lane that cannot be is refused before the relay starts, by name, with the cure."""

import re
from pathlib import Path

import pytest

from qkdd.base.agreement import agreement, check_agreement
from qkdd.base.errors import PeerError
from qkdd.config import load, mistakes
from tests.daemon.relay_files import relay_file

LANE = """
[[lanes]]
id = "far"
route = ["a", "b", "c"]
"""
CAPACITY = "capacity_bits_per_s = 100000"


def mistakes_of(folder: Path, lanes: str, link: str = CAPACITY) -> list[str]:
    config = relay_file(folder)
    config.write_text(config.read_text() + link + "\n" + lanes)
    return mistakes(config)


def test_a_lane_over_a_link_that_can_carry_it_is_accepted(tmp_path: Path) -> None:
    assert mistakes_of(tmp_path, LANE) == []


@pytest.mark.parametrize(
    ("lanes", "link", "said"),
    [
        (LANE, "", "link a-b needs capacity_bits_per_s"),
        (LANE, "capacity_bits_per_s = 2400", "lane far refused: a-b is 92.8 bit/s short"),
        (LANE.replace('"a", ', ""), CAPACITY, "its route does not pass a"),
        (LANE.replace('"b", ', ""), CAPACITY, "there is no link to c"),
        (LANE + LANE, CAPACITY, "two lanes are called far"),
        (LANE + 'saes = ["x"]', CAPACITY, "saes are two"),
        (LANE + 'saes = ["x", "y"]', CAPACITY, "SAE x has its home at None, not a"),
        (LANE + "[lane_times]\nbatch_age_s = 2.0", CAPACITY, "collects 2.4 units"),
    ],
)
def test_a_lane_that_cannot_be_is_named(tmp_path: Path, lanes: str, link: str, said: str) -> None:
    (line,) = mistakes_of(tmp_path, lanes, link)
    assert said in line


def test_the_second_lane_is_refused_where_the_first_has_taken_the_rest(tmp_path: Path) -> None:
    other = LANE.replace("far", "second")
    (line,) = mistakes_of(tmp_path, LANE + other, "capacity_bits_per_s = 2500")
    assert "lane second refused: a-b is 357.6 bit/s short" in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("far", "fur"), "carried.lanes.far is"),
        (
            ('"c"]', '"c"]\nkeys_per_1000_s = 900'),
            "carried.lanes.far.keys_per_1000_s is 1200 here and '900' there",
        ),
        ((CAPACITY, CAPACITY + "\npromised_priority = 2"), "carried.promised_priority is 5 here"),
        ((CAPACITY, CAPACITY + "0"), None),
    ],
)
def test_the_two_ends_of_a_link_compare_the_lanes_that_cross_it(
    tmp_path: Path, change: tuple[str, str], said: str | None
) -> None:
    config = relay_file(tmp_path)
    text = config.read_text() + CAPACITY + "\n" + LANE
    agreements = []
    for one in (text, text.replace(*change)):
        config.write_text(one)
        relay = load(config)
        agreements.append(agreement(carried=relay.carried(relay.links[0])))
    if said is None:
        check_agreement(*agreements)
        return
    with pytest.raises(PeerError, match=re.escape(said)):
        check_agreement(*agreements)


def test_a_promise_is_each_ends_own_on_a_link_without_lanes(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    before = load(config)
    config.write_text(config.read_text() + "promised_bits_per_s = 1.0")
    after = load(config)
    assert before.carried(before.links[0]) == after.carried(after.links[0])
