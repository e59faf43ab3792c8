"""Two ends that get new settings at different moments, and a line that may break in between."""

from typing import cast

import msgspec
import pytest
import trio
import trio.testing

from qkdd.amplify.settings import ProofSettings
from qkdd.base.agreement import Agreed, agreement
from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.light import Intensities, LightPlan
from qkdd.config import Link
from qkdd.daemon.distil import DistilSettings, Ties
from qkdd.daemon.distil_alice import AliceDistiller
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.status import LinkStatus
from qkdd.daemon.turnover import BLOCK_END_S, Terms, Turnover, light_until
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.station.settings import Instrument, ReceiverSettings


def terms(eps_sec: float, *, fifo: str = "tcp://x:1") -> Terms:
    proof = ProofSettings(eps_sec=eps_sec)
    config = Link(
        name="a-b",
        peer="b",
        role="receiver",
        listen="127.0.0.1:0",
        proof=proof,
        receiver=ReceiverSettings(tagger=Instrument(model="s15-tdc1", resource=fifo)),
    )
    settings = DistilSettings(LinkId("a-b"), LightPlan(), Intensities(), ReconcileSettings(), proof)
    return Terms(config, settings, agreement(proof=proof))


OLD, NEW, OTHER = terms(1e-12), terms(1e-11), terms(1e-10)


class Line:
    """A session of two turnovers; a message arrives when everything else waits."""

    def __init__(self) -> None:
        self.ends = Turnover(OLD), Turnover(OLD)
        self.offers = Mailbox(Agreed), Mailbox(Agreed)
        self.said: list[msgspec.Struct] = []

    async def session(self, nursery: trio.Nursery) -> None:
        for here, there in ((0, 1), (1, 0)):

            async def send(message: msgspec.Struct, there: int = there) -> None:
                self.said.append(message)
                await self.offers[there].put(message)

            self.ends[here].begin_session()
            nursery.start_soon(self.ends[here].tell, send)
            nursery.start_soon(self.ends[here].hear, self.offers[here])

    async def settle(self) -> tuple[bool, bool]:
        await trio.testing.wait_all_tasks_blocked()
        return self.ends[0].over.is_set(), self.ends[1].over.is_set()


async def test_they_go_over_when_both_have_the_same_and_not_before() -> None:
    line = Line()
    async with trio.open_nursery() as nursery:
        await line.session(nursery)
        assert await line.settle() == (False, False)
        assert line.ends[0].offer(NEW)
        assert await line.settle() == (False, False)
        assert line.ends[1].offer(OTHER)
        assert await line.settle() == (False, False)
        assert line.ends[1].offer(NEW)
        assert await line.settle() == (True, True)
        nursery.cancel_scope.cancel()
    assert [end.take() for end in line.ends] == [NEW, NEW]
    assert [end.take() for end in line.ends] == [None, None]
    assert not any(end.over.is_set() for end in line.ends)


async def test_an_offer_that_is_taken_back_is_taken_back_at_the_peer_too() -> None:
    line = Line()
    async with trio.open_nursery() as nursery:
        await line.session(nursery)
        line.ends[0].offer(NEW)
        await line.settle()
        assert not line.ends[0].offer(OLD)
        await line.settle()
        line.ends[1].offer(NEW)
        assert await line.settle() == (False, False)
        assert line.said == [NEW.ours, OLD.ours, NEW.ours]
        nursery.cancel_scope.cancel()


async def test_offers_made_without_a_session_are_told_in_the_next_one() -> None:
    line = Line()
    for end in line.ends:
        assert end.offer(NEW)
        assert not end.over.is_set()
    async with trio.open_nursery() as nursery:
        await line.session(nursery)
        assert await line.settle() == (True, True)
        nursery.cancel_scope.cancel()


def test_an_end_whose_line_broke_before_the_peers_offer_came_finds_out_at_the_next_opening() -> (
    None
):
    behind = Turnover(OLD)
    assert not behind.is_behind(OLD.ours)
    assert not behind.is_behind(NEW.ours)  # nothing is offered here: a difference, to be refused
    behind.offer(NEW)
    assert not behind.is_behind(OLD.ours)
    assert not behind.is_behind(OTHER.ours)
    assert behind.is_behind(NEW.ours)
    assert behind.take() == NEW


def test_what_only_this_end_need_know_needs_no_offer_of_the_peer() -> None:
    here = Turnover(OLD)
    moved = terms(1e-12, fifo="tcp://y:1")
    assert moved.ours == OLD.ours
    assert here.offer(moved)
    assert here.over.is_set()
    assert here.take() == moved


def test_settings_that_have_not_changed_are_nothing_to_go_over_to() -> None:
    here = Turnover(OLD)
    assert not here.offer(terms(1e-12))
    assert not here.over.is_set()
    assert here.take() is None


async def test_anything_but_an_offer_is_the_peers_fault() -> None:
    here, strange = Turnover(OLD), Mailbox(Agreed)
    await strange.put(LightPlan())
    with pytest.raises(PeerError, match="LightPlan"):
        await here.hear(strange)


async def test_who_waits_for_the_last_block_hears_when_it_is_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def no_key() -> int:
        return 0

    nobody = cast("Ties", None)  # nothing is distilled here
    distiller = AliceDistiller(nobody, entropy=bytes, auth_wanted=no_key)
    with trio.fail_after(1.0):
        await distiller.finished(BlockNo(-1))  # no block was sent
    with trio.move_on_after(1.0) as waited:
        await distiller.finished(BlockNo(0))
    assert waited.cancelled_caught


@pytest.mark.parametrize(
    ("state", "ends_by_itself_s", "seconds"),
    [
        ("dark", None, 0.0),
        ("searching", None, 0.0),
        ("light", 7.0, 7.0),
        ("light", None, 16.0 + BLOCK_END_S),  # the default plan's longest block
    ],
)
async def test_locked_light_has_its_block_and_what_is_dark_ends_at_once(
    autojump_clock: trio.testing.MockClock, state, ends_by_itself_s, seconds
) -> None:
    status, over = LinkStatus(name="a-b", peer="b", role="transmitter"), trio.Event()
    status.enter(state)
    dark = False

    async def shine() -> None:
        nonlocal dark
        try:
            await over.wait()
            await trio.sleep(ends_by_itself_s or 1000.0)
        finally:
            dark = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(light_until, over, status, LightPlan(), shine)
        await trio.sleep(3.0)
        assert not dark
        over.set()
        began_s = trio.current_time()
    assert dark
    assert trio.current_time() - began_s == pytest.approx(seconds)
