"""Where a node stands in the route of a lane."""

from dataclasses import dataclass

from qkdd.relay.settings import Lane


@dataclass(frozen=True, slots=True)
class Place:
    """Node ``lane.route[hop]``."""

    lane: Lane
    hop: int

    @property
    def is_first(self) -> bool:
        return self.hop == 0

    @property
    def is_last(self) -> bool:
        return self.hop == self.lane.n_links

    @property
    def is_end(self) -> bool:
        return self.is_first or self.is_last

    @property
    def up_peer(self) -> str | None:
        """The neighbour on the first end's side."""
        return None if self.is_first else self.lane.route[self.hop - 1]

    @property
    def down_peer(self) -> str | None:
        """The neighbour on the last end's side."""
        return None if self.is_last else self.lane.route[self.hop + 1]

    @property
    def peers(self) -> tuple[str, ...]:
        return tuple(peer for peer in (self.up_peer, self.down_peer) if peer is not None)

    @property
    def other_end(self) -> str | None:
        """The node that an end shares the lane's keys with."""
        if self.is_first:
            return self.lane.route[-1]
        return self.lane.route[0] if self.is_last else None


def place_of(lane: Lane, node: str) -> Place:
    """Find ``node`` in the route.

    Raises
    ------
    ValueError
        It is not there.
    """
    if node not in lane.route:
        raise ValueError(f"lane {lane.id}: its route does not pass {node}")
    return Place(lane, lane.route.index(node))
