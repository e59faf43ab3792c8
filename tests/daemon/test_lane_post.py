"""What the lanes say and hear over one session."""

import msgspec
import pytest
import trio

from qkdd.base.errors import LinkLost, PeerError
from qkdd.base.ids import LinkId
from qkdd.daemon.lane_post import MAX_EARLY, MAX_UNSAID, LanePost
from qkdd.relay.messages import LaneMessage, LaneVoid


def void(number: int) -> LaneVoid:
    return LaneVoid(lane="far", generation=0, first=number, count=1)


class Wire:
    def __init__(self) -> None:
        self.batches: list[list[msgspec.Struct]] = []
        self.heard: list[LaneMessage] = []

    async def send(self, *messages: msgspec.Struct) -> None:
        await trio.lowlevel.checkpoint()
        self.batches.append(list(messages))

    async def hear(self, message: LaneMessage) -> None:
        await trio.lowlevel.checkpoint()
        self.heard.append(message)


async def test_what_comes_before_the_stores_agree_waits_and_keeps_its_order() -> None:
    wire = Wire()
    post = LanePost(LinkId("a-b"), wire.send)
    for number in range(3):
        await post.put(void(number))
    assert not wire.heard
    await post.open(wire.hear)
    await post.put(void(3))
    assert wire.heard == [void(number) for number in range(4)]


async def test_a_neighbour_that_says_too_much_too_early_is_at_fault() -> None:
    post = LanePost(LinkId("a-b"), Wire().send)
    for number in range(MAX_EARLY):
        await post.put(void(number))
    with pytest.raises(PeerError, match="before the stores agreed"):
        await post.put(void(MAX_EARLY))


async def test_what_is_said_together_leaves_together_and_nothing_after_the_end() -> None:
    wire = Wire()
    post = LanePost(LinkId("a-b"), wire.send)
    for number in range(5):
        post.say(void(number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    post.say(void(9))
    assert wire.batches == [[void(number) for number in range(5)]]


async def test_a_lane_can_end_the_session_with_its_reason() -> None:
    post = LanePost(LinkId("a-b"), Wire().send)
    post.fail(LinkLost("afresh"))
    post.fail(PeerError("later"))
    with pytest.RaisesGroup(pytest.RaisesExc(LinkLost, match="afresh")):
        await post.run()
    assert post.over


async def test_a_neighbour_that_takes_nothing_loses_its_session_before_our_memory() -> None:
    post = LanePost(LinkId("a-b"), Wire().send)
    for number in range(MAX_UNSAID):
        post.say(void(number))
    assert not post.failed
    for number in range(10):
        post.say(void(number))
    assert post._said.statistics().current_buffer_used == MAX_UNSAID
    with pytest.RaisesGroup(pytest.RaisesExc(LinkLost, match="a-b takes too slowly")):
        await post.run()
