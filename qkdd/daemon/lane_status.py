"""What a relay says about its lanes."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

from qkdd.base.ids import LinkId
from qkdd.relay.account import LaneAccount
from qkdd.relay.place import Place
from qkdd.relay.settings import UNIT_BITS

Side: TypeAlias = Literal["up", "down"]
"""Towards the first end, towards the last."""
STARVED_S, STARVED_UNITS = 64.0, 4
"""After this time without a birth on a link, and the time of so many units, a lane says so."""


class LaneOnLink(msgspec.Struct, frozen=True, kw_only=True):
    """What a link gave to a lane since the start of the relay, and what became of it, in bits."""

    link: str
    cut: int
    relayed: int
    burned: int
    under_way: int


class LaneSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One lane at this node, now; what only an end knows is None at a relay."""

    id: str
    generation: int
    route: tuple[str, ...]
    place: str
    """first | relay | last"""
    state: str
    """up | waiting | unkeyed | stopped"""
    reason: str | None
    keys_per_1000_s: int
    epoch_s: int
    n_ready: int | None
    """READY keys of epochs to come."""
    hours_ready: float | None
    newest_ready: int | None
    n_came: int
    """Numbers that became keys since the start."""
    n_missed: int | None
    n_void: int | None
    n_mismatches: int | None
    n_pads: int | None
    n_short_units: int
    lane_account: tuple[LaneOnLink, ...]


@dataclass(slots=True)
class LaneStatus:
    """Counters of one lane; written by its task, read for snapshots."""

    place: Place
    links: dict[Side, LinkId]
    """The link of each side."""
    born_s: dict[Side, float]
    """When each side's link last gave units; the start of the relay, before it has."""
    fault: str | None = None
    """unkeyed or stopped"""
    reason: str | None = None
    connected: dict[Side, bool] = field(default_factory=dict)
    n_came: int = 0
    n_void: int = 0
    n_mismatches: int = 0
    n_missed: int = 0
    n_short_units: int = 0
    n_pads: int | None = None

    def stand(self, fault: str, reason: str) -> None:
        """Note a fault that only an operator can end."""
        self.fault, self.reason = fault, reason

    def why(self, now_s: float) -> str | None:
        """Say why no new keys can come, as far as this node sees."""
        if self.fault is not None:
            return self.reason
        peers = {"up": self.place.up_peer, "down": self.place.down_peer}
        starved_s = max(STARVED_S, 1000 * STARVED_UNITS / self.place.lane.keys_per_1000_s)
        for side, link in self.links.items():
            if not self.connected.get(side):
                return f"no session with {peers[side]}"
            waited_s = now_s - self.born_s[side]
            if waited_s > starved_s:
                return f"link {link} has given no units for {waited_s:.0f} s"
        if self.n_pads == 0:
            return "no pads are left to confirm keys with: a new end-to-end key must be installed"
        return self.reason

    def snapshot(
        self,
        now_s: float,
        accounts: dict[Side, LaneAccount],
        *,
        n_ready: int | None,
        newest_ready: int | None,
    ) -> LaneSnapshot:
        lane, is_end = self.place.lane, self.place.is_end
        why = self.why(now_s)
        return LaneSnapshot(
            id=lane.id,
            generation=lane.generation,
            route=lane.route,
            place="first" if self.place.is_first else "last" if self.place.is_last else "relay",
            state=self.fault or ("waiting" if why else "up"),
            reason=why,
            keys_per_1000_s=lane.keys_per_1000_s,
            epoch_s=lane.epoch_s,
            n_ready=n_ready,
            hours_ready=None if n_ready is None else n_ready * lane.epoch_s / 3600,
            newest_ready=newest_ready,
            n_came=self.n_came if is_end else accounts["up"].relayed // UNIT_BITS,
            n_missed=self.n_missed if is_end else None,
            n_void=self.n_void if is_end else None,
            n_mismatches=self.n_mismatches if is_end else None,
            n_pads=self.n_pads,
            n_short_units=self.n_short_units,
            lane_account=tuple(
                LaneOnLink(
                    link=self.links[side],
                    cut=account.cut,
                    relayed=account.relayed,
                    burned=account.burned,
                    under_way=account.under_way,
                )
                for side, account in accounts.items()
            ),
        )
