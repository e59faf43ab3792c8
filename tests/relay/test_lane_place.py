"""Where a node stands in a route."""

import pytest

from qkdd.relay.place import place_of
from qkdd.relay.settings import Lane

LANE = Lane(id="far", route=("a", "b", "c"))


@pytest.mark.parametrize(
    ("node", "peers", "other_end"),
    [("a", (None, "b"), "c"), ("b", ("a", "c"), None), ("c", ("b", None), "a")],
)
def test_a_place_has_its_neighbours_and_an_end_its_other_end(
    node: str, peers: tuple[str | None, str | None], other_end: str | None
) -> None:
    place = place_of(LANE, node)
    assert (place.up_peer, place.down_peer) == peers
    assert place.peers == tuple(peer for peer in peers if peer is not None)
    assert place.other_end == other_end
    assert place.is_end == (other_end is not None)


def test_a_node_that_the_route_does_not_pass_has_no_place() -> None:
    with pytest.raises(ValueError, match="lane far: its route does not pass d"):
        place_of(LANE, "d")
