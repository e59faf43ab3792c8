"""Whether a route can carry a further lane: asked once, answered by link and shortfall."""

from collections.abc import Sequence
from dataclasses import dataclass

from qkdd.base.errors import OutOfKey
from qkdd.base.ids import LinkId
from qkdd.relay.settings import UNIT_BITS, Lane

FRAMES_PER_BATCH, UNITS_PER_BATCH, TAG_BITS = 6, 16, 128
OWN_TAGS_BPS = 1_360.0
PROMISED_TAGS_PER_BIT = 2.0


@dataclass(frozen=True, slots=True)
class LinkCapacity:
    """What a link makes, and what is spoken for; key bits per second, both directions together."""

    link: LinkId
    secret_bps: float
    """Secret key rate to reckon with (not the best day's)."""
    auth_bps: float
    """What the link's own tags use, lanes left out."""
    promised_bps: float
    """Promised to direct delivery between the two neighbours."""
    lanes: tuple[Lane, ...] = ()
    """Accepted before, of every priority: a promise is not taken back for a newcomer."""

    @property
    def free_bps(self) -> float:
        """What is left for a further lane; negative if the link has promised too much."""
        carried = sum(lane_bps(lane) for lane in self.lanes)
        return self.secret_bps - self.auth_bps - self.promised_bps - carried


def lane_bps(lane: Lane) -> float:
    """Return the key that ``lane`` takes on each of its links, in bits per second."""
    return UNIT_BITS * lane.keys_per_1000_s / 1000


def lane_tag_bps(lane: Lane) -> float:
    """Return what the lane's messages add to the authentication of each of its links, both ways.

    Announcement, binding, wave, void, confirmation and verdict, each a frame of its own for every
    16 units: what shares a frame costs less.
    """
    return FRAMES_PER_BATCH * TAG_BITS / UNITS_PER_BATCH * lane.keys_per_1000_s / 1000


def capacity_of(
    link: str, secret_bps: float, promised_bps: float, lanes: tuple[Lane, ...]
) -> LinkCapacity:
    """Reckon with a link that carries ``lanes``, its tags and theirs.

    The link's own tags are counted as measured on the default demonstration link, and each
    promised key as if it were asked for alone (docs/operating.md, "Stock").
    """
    own = OWN_TAGS_BPS + PROMISED_TAGS_PER_BIT * promised_bps
    return LinkCapacity(
        link=LinkId(link),
        secret_bps=secret_bps,
        auth_bps=own + sum(map(lane_tag_bps, lanes)),
        promised_bps=promised_bps,
        lanes=lanes,
    )


class LaneRefused(OutOfKey):
    """At least one link of the route has not enough key to spare."""

    def __init__(self, lane: str, shortfalls_bps: dict[LinkId, float]) -> None:
        links = ", ".join(
            f"{link} is {bps:.1f} bit/s short" for link, bps in shortfalls_bps.items()
        )
        super().__init__(f"lane {lane} refused: {links}")
        self.shortfalls_bps = shortfalls_bps


def admit(lane: Lane, links: Sequence[LinkCapacity], *, tag_bps: float) -> None:
    """Return if every link of the route carries ``lane`` beside what it carries now.

    Parameters
    ----------
    lane : Lane
        A lane of the same name on a link is replaced, not added (re-provisioning).
    links : sequence of LinkCapacity
        The route's links from the first end on.
    tag_bps : float
        Authentication key that the lane's messages add on each link, both directions.

    Raises
    ------
    LaneRefused
        With every link that falls short, and by how much.
    """
    if len(links) != lane.n_links:
        raise ValueError(f"lane {lane.id} has {lane.n_links} links, {len(links)} were given")
    check_links(lane, links, tag_bps=tag_bps)


def check_links(lane: Lane, links: Sequence[LinkCapacity], *, tag_bps: float) -> None:
    """Do what :func:`admit` does for those links of the route that a node knows."""
    needed = lane_bps(lane) + tag_bps
    shortfalls: dict[LinkId, float] = {}
    for capacity in links:
        replaced = sum(lane_bps(other) for other in capacity.lanes if other.id == lane.id)
        missing = needed - capacity.free_bps - replaced
        if missing > 0:
            shortfalls[capacity.link] = missing
    if shortfalls:
        raise LaneRefused(lane.id, shortfalls)
