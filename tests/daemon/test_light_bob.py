"""Bob's light without a tagger: runs, their ends, and raw clicks that no session leaves behind."""

from dataclasses import dataclass
from typing import cast

import msgspec
import numpy as np
import pytest
import trio

from drivers.tags import TagBlock
from drivers.timetagger import TimeTagger
from qkdd.amplify.settings import ProofSettings
from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.light import Intensities, LightPlan
from qkdd.daemon.distil import DistilSettings
from qkdd.daemon.distil_bob import EndedBlock, wipe_waiting
from qkdd.daemon.light_bob import ALIGN_TIMEOUT_S, SEARCH_TIMEOUT_S, BobLight
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.run_mail import TELL_EVERY_S, RunMail
from qkdd.daemon.session import RUN_MESSAGES
from qkdd.daemon.silence import SILENT_S, Silence
from qkdd.daemon.status import LinkStatus
from qkdd.frames.events import BlockEnded, DetectedFrame, Event, FrameStartFound, Lost
from qkdd.frames.receiver import LightReceiver
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.station.detectors import NOT_LOOKED_AT, TROUBLE, DetectorKeeper
from qkdd.station.messages import RunAnnounced, RunLost, RunReady, RunStopped, RunWaits
from qkdd.station.polarization import PolarizationKeeper
from qkdd.station.settings import DetectorSettings, PolarizationSettings

SETTINGS = DistilSettings(
    LinkId("a-b"), LightPlan(), Intensities(), ReconcileSettings(), ProofSettings()
)
FIRST = BlockNo(5)
READY_S = 15.0


@dataclass
class Bench:
    """A tagger without tags, and a receiver whose events are the test's."""

    events: list[Event]
    turns: trio.MemoryReceiveChannel[None]
    hunting: bool = False
    tracking: bool = False
    is_turned: bool = False

    async def read(self) -> TagBlock:
        await self.turns.receive()
        return TagBlock(np.empty(0, np.int64), np.empty(0, np.uint8), 0)

    @property
    def active(self) -> bool:
        return self.hunting

    def is_being_turned(self, now: bool) -> None:
        self.is_turned = now

    def takes_long(self, _tags: TagBlock) -> bool:
        return False

    def hunt(self, _states: object) -> None:
        self.hunting = True

    def stop(self) -> None:
        self.hunting = self.tracking = False

    def feed(self, _tags: TagBlock) -> tuple[Event, ...]:
        events = tuple(self.events)
        self.events.clear()
        self.tracking |= any(isinstance(event, FrameStartFound) for event in events)
        return events


class Talk:
    def __init__(
        self,
        n_waiting: int = 2,
        keeper: PolarizationKeeper | None = None,
        detectors: DetectorKeeper | None = None,
    ) -> None:
        self.turn, turns = trio.open_memory_channel[None](0)
        self.bench = Bench([], turns)
        self.said: list[msgspec.Struct] = []
        self.runs = Mailbox(*RUN_MESSAGES)
        self.send, self.ended = trio.open_memory_channel[EndedBlock](n_waiting)
        self.status = LinkStatus(name="a-b", peer="a", role="receiver")
        self.silence = Silence(self.status)
        self.mail = RunMail(self.runs, self.hear, self.silence)
        self.light = BobLight(
            SETTINGS,
            self.hear,
            self.mail,
            self.send,
            self.ended,
            self.status,
            entropy=bytes,
            first_block=FIRST,
            keeper=keeper,
            detectors=detectors,
        )

    async def hear(self, message: msgspec.Struct) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append(message)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.mail.run)
            nursery.start_soon(self.silence.run)
            await self.light.run(cast("TimeTagger", self.bench), cast("LightReceiver", self.bench))

    async def announce(self, run: int, first_block: int = FIRST) -> None:
        await self.runs.put(
            RunAnnounced(run=run, first_block=first_block, calibration_seed=bytes(32))
        )
        await trio.testing.wait_all_tasks_blocked()
        await self.happen()

    async def happen(self, *events: Event) -> None:
        """Let the tagger be read; return when all that comes of it has been done."""
        self.bench.events += events
        await self.turn.send(None)
        await self.turn.send(None)


def frame(number: int, block_index: int) -> DetectedFrame:
    slots = np.arange(60_000 + 1000 * number, 61_000 + 1000 * number, dtype=np.uint32)
    return DetectedFrame(
        frame=number,
        block_index=block_index,
        start=0,
        slots=slots,
        detectors=np.full(slots.size, 3, np.uint8),
        n_double=0,
        n_cross=0,
        n_out_of_gate=0,
        n_dead=0,
    )


async def test_raw_clicks_are_wiped_when_the_session_ends_in_the_middle_of_a_block() -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(frame(0, 0))
        sifter = talk.light._sifter
        assert sifter is not None
        clicks = sifter._clicks
        assert clicks._detectors.any()
        nursery.cancel_scope.cancel()
    assert not clicks._detectors.any()
    assert not talk.bench.hunting


async def test_a_block_that_has_ended_is_handed_over_under_its_number() -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(frame(0, 0), BlockEnded(0), frame(1, 1), BlockEnded(1))
        blocks = [talk.ended.receive_nowait() for _ in range(2)]
        assert [(b.index, b.sifter.block_no, b.sifter.n_clicks) for b in blocks] == [
            (0, FIRST, 1000),
            (1, FIRST + 1, 1000),
        ]
        nursery.cancel_scope.cancel()


async def test_raw_clicks_of_blocks_that_wait_are_wiped_with_the_session() -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(frame(0, 0), BlockEnded(0), frame(1, 1), BlockEnded(1))
        nursery.cancel_scope.cancel()
    waiting = [talk.ended.receive_nowait() for _ in range(2)]
    chunks = [block.sifter._clicks.chunk(0) for block in waiting]
    assert all(chunk.bits.any() for chunk in chunks)
    for block in waiting:
        talk.send.send_nowait(block)
    wipe_waiting(talk.ended)
    assert not any(chunk.bits.any() or chunk.gaps.any() for chunk in chunks)


async def test_where_distillation_is_too_slow_the_block_that_waited_longest_is_given_up() -> None:
    """The transmitter keeps only the last few: of those that waited longest nothing comes."""
    talk = Talk(n_waiting=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(frame(0, 0), BlockEnded(0))
        first = talk.ended.receive_nowait()
        raw = first.sifter._clicks.chunk(0).bits
        assert raw.any()
        talk.send.send_nowait(first)
        await talk.happen(frame(1, 1), BlockEnded(1))
        assert talk.status.n_blocks_void == 1
        assert not raw.any()
        assert talk.ended.receive_nowait().sifter.block_no == FIRST + 1
        nursery.cancel_scope.cancel()


async def test_a_lost_run_is_told_and_its_open_block_is_void() -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(frame(0, 0), Lost("slipped"))
        assert [m for m in talk.said if isinstance(m, RunLost)] == [
            RunLost(run=1, reason="slipped")
        ]
        assert talk.status.n_blocks_void == 1
        await talk.announce(2, FIRST + 1)
        assert [m.run for m in talk.said if isinstance(m, RunReady)] == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_search_without_end_is_given_up(mock_clock: trio.testing.MockClock) -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        mock_clock.jump(SEARCH_TIMEOUT_S)
        await talk.happen()
        assert talk.bench.hunting
        mock_clock.jump(0.1)
        await talk.happen()
        assert not talk.bench.hunting
        nursery.cancel_scope.cancel()
    assert isinstance(talk.said[-1], RunLost)


async def test_a_turned_run_that_nobody_turns_back_is_given_up_in_the_end(
    mock_clock: trio.testing.MockClock,
) -> None:
    settings = PolarizationSettings(
        model="ozoptics-epc", resource="tcp://127.0.0.1:1", half_wave_mv=2000.0
    )
    talk = Talk(keeper=PolarizationKeeper(settings, frame_s=0.1, tell=lambda _facts: None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(FrameStartFound(0, 100, 50, 0, turned=True))
        assert talk.status.state == "light"
        assert talk.status.reason == "aligning: the polarisation is turned"
        mock_clock.jump(ALIGN_TIMEOUT_S)
        await talk.happen()
        assert talk.bench.hunting
        mock_clock.jump(0.1)
        await talk.happen()
        assert not talk.bench.hunting
        nursery.cancel_scope.cancel()
    last = talk.said[-1]
    assert isinstance(last, RunLost)
    assert last.reason == "the polarisation was not aligned within 300 s"


class Seeker:
    """As much of a keeper as says that it looks for the light."""

    n_good = 0
    seeking = False

    def tags_read(self) -> None: ...
    def run_ended(self) -> None: ...


async def test_while_the_light_of_a_good_run_is_looked_for_errors_are_no_slip() -> None:
    seeker = Seeker()
    talk = Talk(keeper=cast("PolarizationKeeper", seeker))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(FrameStartFound(0, 100, 2, 0))
        assert (talk.status.reason, talk.bench.is_turned) == (None, False)
        seeker.seeking = True
        await talk.happen()
        assert talk.status.reason == "aligning: the polarisation is turned"
        assert talk.bench.is_turned
        seeker.seeking, seeker.n_good = False, 1
        await talk.happen()
        assert talk.status.reason is None
        assert not talk.bench.is_turned
        nursery.cancel_scope.cancel()


async def test_a_block_number_that_was_used_is_the_peers_fault() -> None:
    talk = Talk()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  in the middle of the run
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await talk.announce(1, FIRST - 1)
    assert caught.group_contains(PeerError, match="never used twice")


def a_watch() -> DetectorKeeper:
    settings = DetectorSettings(
        model="sq-websq", resource="tcp://127.0.0.1:1", bias_ua=(18.0, 18.0, 18.0, 18.0)
    )
    return DetectorKeeper(settings, (1, 2, 3, 4), tell=lambda _: None)


def found_well(watch: DetectorKeeper) -> None:
    watch._doubted_s = watch._stood_s = watch._counted_s = trio.current_time()
    watch._settle()


async def test_no_run_begins_before_the_detectors_are_known_to_be_well() -> None:
    watch = a_watch()
    talk = Talk(detectors=watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await trio.testing.wait_all_tasks_blocked()
        assert talk.said == [RunWaits(run=1, reason=NOT_LOOKED_AT)]
        assert not talk.bench.hunting
        assert (talk.status.state, talk.status.reason) == ("dark", NOT_LOOKED_AT)
        found_well(watch)
        await talk.happen()
        assert talk.said[1:] == [RunReady(run=1)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("already_over", [False, True])
async def test_a_run_ends_when_a_detector_is_not_what_it_was_even_if_only_for_a_moment(
    already_over: bool,
) -> None:
    watch = a_watch()
    found_well(watch)
    talk = Talk(detectors=watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await talk.happen(frame(0, 0))
        watch._doubt(TROUBLE, "detectors: key basis, bit 0: latched", trio.current_time())
        if already_over:
            found_well(watch)
        await talk.happen()
        assert talk.said[-1] == RunLost(run=1, reason="detectors: key basis, bit 0: latched")
        assert talk.status.n_blocks_void == 1
        assert not talk.bench.hunting
        said_once = list(talk.said)
        await talk.happen()
        assert talk.said == said_once  # each word costs authentication key
        await talk.announce(2)
        await trio.testing.wait_all_tasks_blocked()
        assert (talk.said[-1] == RunReady(run=2)) is already_over
        waits = [one.reason for one in talk.said if isinstance(one, RunWaits)]
        assert waits == ([] if already_over else ["detectors: key basis, bit 0: latched"])
        nursery.cancel_scope.cancel()


async def test_what_keeps_the_transmitter_dark_is_said_here_with_a_run_and_without() -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.runs.put(RunStopped(run=0, reason="CTL200: silent"))
        await trio.testing.wait_all_tasks_blocked()
        await talk.happen()
        assert (talk.status.state, talk.status.why) == (
            "dark",
            "the transmitter says: CTL200: silent",
        )
        await talk.announce(1)
        await talk.happen(Lost("no light"))
        assert talk.status.why == "no light"
        await talk.runs.put(RunStopped(run=1, reason="laser off"))
        await trio.testing.wait_all_tasks_blocked()
        await talk.happen()
        assert talk.status.why == "the transmitter says: laser off"
        await talk.announce(2)
        assert talk.bench.hunting
        await talk.runs.put(RunStopped(run=1, reason="late"))
        await trio.testing.wait_all_tasks_blocked()
        await talk.happen()
        assert talk.bench.hunting
        nursery.cancel_scope.cancel()


async def test_a_transmitter_that_announces_no_run_after_one_was_lost_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.announce(1)
        await trio.sleep(3 * SILENT_S)
        assert talk.status.silence is None
        await talk.happen(Lost("no light"))
        await trio.sleep(SILENT_S - 1.0)
        assert talk.status.why == "no light"
        await trio.sleep(2.5)
        assert talk.status.why == (
            f"a says nothing: a new run of light is due for over {SILENT_S:g} s; no light"
        )
        assert talk.status.state == "dark"
        await talk.announce(2)
        assert talk.status.silence is None
        await talk.happen(Lost("no light"))
        await talk.runs.put(RunStopped(run=2, reason="no laser"))
        await trio.sleep(3 * SILENT_S)
        assert talk.status.silence is None, "who has said why owes nothing"
        nursery.cancel_scope.cancel()


async def test_a_receiver_without_its_tagger_hears_every_run_and_says_what_it_has(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody read these words once, and from the seventeenth on the whole link stood still."""
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.mail.run)
        talk.mail.hindered("TDC1: gone")
        for run in range(1, 41):
            with trio.fail_after(1.0):
                await talk.runs.put(
                    RunAnnounced(run=run, first_block=FIRST, calibration_seed=bytes(32))
                )
            await trio.sleep(READY_S)
        assert talk.said == [RunWaits(run=run, reason="TDC1: gone") for run in range(1, 41)]
        assert talk.mail.announced is not None
        assert talk.mail.announced.run == 40
        for number in range(100):  # a reason that changes all the time is not told all the time
            talk.mail.hindered(f"{number} counts a second")
            await trio.sleep(0.5)
        assert len(talk.said) == 40 + 100 * 0.5 / TELL_EVERY_S
        await talk.runs.put(RunStopped(run=40, reason="no laser"))
        await trio.testing.wait_all_tasks_blocked()
        assert talk.mail.announced is None
        nursery.cancel_scope.cancel()
