"""A lane is refused by the names of the links that cannot carry it."""

import pytest

from qkdd.base.ids import LinkId
from qkdd.relay.admission import LaneRefused, LinkCapacity, admit
from qkdd.relay.settings import Lane, LaneTimes


def a_lane(name: str = "new", keys_per_1000_s: int = 1_000, priority: int = 5) -> Lane:
    return Lane(id=name, route=("a", "b", "c"), keys_per_1000_s=keys_per_1000_s, priority=priority)


def a_link(name: str, secret_bps: float, *lanes: Lane) -> LinkCapacity:
    return LinkCapacity(LinkId(name), secret_bps, auth_bps=100, promised_bps=200, lanes=lanes)


def test_a_lane_is_admitted_where_it_just_fits() -> None:
    admit(a_lane(), [a_link("ab", 566), a_link("bc", 900)], tag_bps=10)


def test_every_link_that_falls_short_is_named_with_its_shortfall() -> None:
    links = [a_link("ab", 565.5), a_link("bc", 900, a_lane("old", 2_000))]
    with pytest.raises(LaneRefused, match=r"new refused: ab is 0.5 .*, bc is 178.0") as refused:
        admit(a_lane(), links, tag_bps=10)
    assert refused.value.shortfalls_bps == {"ab": pytest.approx(0.5), "bc": pytest.approx(178)}


def test_an_urgent_lane_takes_nothing_that_was_promised_to_another() -> None:
    links = [a_link("ab", 600, a_lane("old", priority=9)), a_link("bc", 900)]
    with pytest.raises(LaneRefused, match="ab"):
        admit(a_lane(priority=0), links, tag_bps=0)


def test_a_lane_that_is_provisioned_again_does_not_stand_in_its_own_way() -> None:
    admit(a_lane(), [a_link("ab", 566, a_lane()), a_link("bc", 566, a_lane())], tag_bps=10)


def test_capacities_of_another_route_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="2 links, 1"):
        admit(a_lane(), [a_link("ab", 10_000)], tag_bps=0)


def test_batches_that_would_feed_only_their_own_tags_are_refused() -> None:
    with pytest.raises(ValueError, match="one of a batch pays"):
        LaneTimes(batch_age_s=30).check(a_lane(keys_per_1000_s=100))
    LaneTimes(batch_age_s=40).check(a_lane(keys_per_1000_s=100))


def test_a_route_does_not_pass_a_node_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        Lane(id="x", route=("a", "b", "a"))
