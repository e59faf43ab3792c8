"""A lane that passes through this relay: its machine, above the sessions of its two links.

Nothing here waits: a wave is folded and queued for the next relay in the turn that heard it.
"""

from collections.abc import Sequence
from typing import get_args

import trio

from qkdd.base.errors import PeerError
from qkdd.daemon.lane_post import LanePost
from qkdd.daemon.lane_status import LaneSnapshot, LaneStatus, Side
from qkdd.relay.account import LaneAccount
from qkdd.relay.actions import RelayAction, SendDown
from qkdd.relay.messages import DownMessage, LaneMessage, UpMessage
from qkdd.relay.middle import LaneRelay
from qkdd.relay.settings import LaneTimes
from qkdd.relay.units import UnitBlock

SAID_BY = {"up": get_args(DownMessage), "down": get_args(UpMessage)}
"""What the neighbour of each side may say: the one up the lane speaks down."""


def check_direction(side: Side, message: LaneMessage) -> None:
    """Raise PeerError if the neighbour on ``side`` has no business to say this."""
    if not isinstance(message, SAID_BY[side]):
        raise PeerError(
            f"lane {message.lane}: {type(message).__name__} from the side of the "
            f"{'first' if side == 'up' else 'last'} end"
        )


class PassingLane:
    """One lane at one relay, for the life of the process."""

    def __init__(self, status: LaneStatus, times: LaneTimes, *, incarnation: int) -> None:
        self.status = status
        self.accounts: dict[Side, LaneAccount] = {"up": LaneAccount(), "down": LaneAccount()}
        self._posts: dict[Side, LanePost] = {}
        self._machine = LaneRelay(
            status.place.lane,
            status.place.hop,
            times,
            incarnation=incarnation,
            up=self.accounts["up"],
            down=self.accounts["down"],
        )

    def attach(self, side: Side, post: LanePost) -> None:
        """A session is open: say first what the neighbour may not know."""
        self._posts[side] = post
        self.status.connected[side] = True
        machine = self._machine
        self._carry_out(machine.connected_up() if side == "up" else machine.connected_down())

    def detach(self, side: Side, post: LanePost) -> None:
        if self._posts.get(side) is post:
            del self._posts[side]
            self.status.connected[side] = False

    async def receive(self, side: Side, message: LaneMessage, _post: LanePost) -> None:
        """Step the machine; a PeerError ends the session that the message came by."""
        check_direction(side, message)
        now_s = trio.current_time()
        if side == "up":
            self._carry_out(self._machine.receive_from_up(message, now_s))  # type: ignore[arg-type]  # checked above
        else:
            self._carry_out(self._machine.receive_from_down(message, now_s))  # type: ignore[arg-type]  # checked above

    def born(self, side: Side, block: UnitBlock) -> None:
        """Take a link's new units over."""
        now_s = trio.current_time()
        self.status.born_s[side] = now_s
        born = self._machine.born_up if side == "up" else self._machine.born_down
        self._carry_out(born(block, now_s))

    def tick(self) -> None:
        self._carry_out(self._machine.tick(trio.current_time()))

    def _carry_out(self, actions: Sequence[RelayAction]) -> None:
        for action in actions:
            side: Side = "down" if isinstance(action, SendDown) else "up"
            post = self._posts.get(side)
            if post is not None:
                post.say(action.message)

    def wipe(self) -> None:
        """End of the process: every unit is burned."""
        self._machine.wipe()

    def snapshot(self) -> LaneSnapshot:
        return self.status.snapshot(
            trio.current_time(), self.accounts, n_ready=None, newest_ready=None
        )
