"""Why a lane stands, as far as one node sees."""

from qkdd.base.ids import LinkId
from qkdd.daemon.lane_status import LaneStatus
from qkdd.relay.account import LaneAccount
from qkdd.relay.place import place_of
from qkdd.relay.settings import Lane

LANE = Lane(id="far", route=("a", "b", "c"))


def a_status(lane: Lane = LANE, node: str = "b") -> LaneStatus:
    links = {"up": LinkId("a-b"), "down": LinkId("b-c")}
    status = LaneStatus(place_of(lane, node), links, {"up": 0.0, "down": 0.0})
    status.connected = {"up": True, "down": True}
    return status


def test_a_lane_waits_for_its_neighbours_first_and_then_for_units() -> None:
    status = a_status()
    assert status.why(60.0) is None
    status.born_s["up"] = 50.0
    assert status.why(70.0) == "link b-c has given no units for 70 s"
    status.connected["down"] = False
    assert status.why(70.0) == "no session with c"
    del status.connected["up"]
    assert status.why(70.0) == "no session with a"


def test_a_slow_lane_is_not_starved_between_two_units() -> None:
    slow = a_status(Lane(id="far", route=("a", "b", "c"), keys_per_1000_s=10))
    assert slow.why(399.0) is None
    assert slow.why(401.0) == "link a-b has given no units for 401 s"


def test_a_fault_is_said_before_anything_else_and_a_lack_of_pads_last() -> None:
    status = a_status()
    status.n_pads = 0
    assert str(status.why(1.0)).startswith("no pads are left")
    status.connected["up"] = False
    status.stand("stopped", "3 frames failed")
    assert status.why(1.0) == "3 frames failed"


def test_a_relay_between_the_ends_says_nothing_that_it_does_not_know() -> None:
    account = LaneAccount(cut=1_024, relayed=512, burned=256)
    seen = a_status().snapshot(
        1.0, {"up": account, "down": LaneAccount()}, n_ready=None, newest_ready=None
    )
    assert (seen.place, seen.state, seen.n_came) == ("relay", "up", 2)
    assert (seen.n_missed, seen.n_void, seen.n_pads, seen.hours_ready) == (None,) * 4
    assert [(one.link, one.under_way) for one in seen.lane_account] == [("a-b", 256), ("b-c", 0)]
