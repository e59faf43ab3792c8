"""Which lane serves two applications."""

import math

import pytest

from qkdd.base.ids import NodeId
from qkdd.daemon.clock import read_kernel_clock
from qkdd.daemon.lane_desk import LaneDesk
from qkdd.relay.place import place_of
from qkdd.relay.settings import Lane, LaneTimes

HOMES = {"sae-a": "a", "sae-a2": "a", "sae-c": "c", "sae-c2": "c", "sae-d": "d"}
LANES = (
    Lane(id="theirs", route=("a", "b", "c"), saes=("sae-a", "sae-c")),
    Lane(id="all", route=("c", "b", "a")),
    Lane(id="through", route=("b", "a", "d")),
)


@pytest.fixture
def desk() -> LaneDesk:
    places = [place_of(lane, "a") for lane in LANES]
    return LaneDesk(NodeId("a"), HOMES, LaneTimes(trust_unsynchronised_clock=True), places)


@pytest.mark.parametrize(
    ("master", "slave", "lane"),
    [
        ("sae-a", "sae-c", "theirs"),
        ("sae-c", "sae-a", "theirs"),
        ("sae-a2", "sae-c", "all"),
        ("sae-c2", "sae-a", "all"),
        ("sae-a", "sae-d", None),
        ("sae-a", "sae-a2", None),
        ("sae-c", "sae-d", None),
        ("sae-a", "stranger", None),
        ("stranger", "sae-c", None),
    ],
)
def test_a_lane_of_two_applications_goes_before_one_for_all(
    desk: LaneDesk, master: str, slave: str, lane: str | None
) -> None:
    view = desk.lane_of_saes(master, slave)
    assert (view.settings.id if view else None) == lane


def test_a_lane_that_only_passes_here_gives_no_keys(desk: LaneDesk) -> None:
    assert desk.view("through") is None
    assert desk.lane(NodeId("d")) is None


def test_the_relays_between_the_ends_are_counted(desk: LaneDesk) -> None:
    view = desk.lane(NodeId("c"))
    assert view is not None
    assert (view.settings.id, view.n_relays_trusted) == ("all", 1)


def test_the_kernels_word_on_the_clock_is_asked_unless_the_operator_answers_for_it() -> None:
    place = place_of(LANES[1], "a")
    trusting = LaneDesk(NodeId("a"), HOMES, LaneTimes(trust_unsynchronised_clock=True), [place])
    asking = LaneDesk(NodeId("a"), HOMES, LaneTimes(), [place])
    kernel = read_kernel_clock()
    synchronised = kernel is not None and kernel.synchronised
    assert math.isnan(asking.views[0].clock_offset_s()) != synchronised
    assert synchronised or trusting.views[0].clock_offset_s() == 0.0
