"""Bob's light: tags in, blocks of clicks out, and word to Alice of what he sees."""

import math

import structlog
import trio

from drivers.errors import InstrumentError
from drivers.timetagger import TagBlock, TimeTagger
from qkdd.base.choices import calibration_states
from qkdd.base.entropy import Entropy
from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo
from qkdd.daemon.distil import DistilSettings, Send
from qkdd.daemon.distil_bob import EndedBlock
from qkdd.daemon.run_mail import RunMail
from qkdd.daemon.status import LinkStatus
from qkdd.frames.events import (
    BlockEnded,
    CalibrationMeasured,
    ClockFound,
    DetectedFrame,
    Event,
    FrameStartFound,
    Lost,
)
from qkdd.frames.receiver import LightReceiver
from qkdd.sift.bob import BobSifter
from qkdd.station.detectors import DetectorKeeper
from qkdd.station.messages import (
    MAX_REASON,
    REPORT_FRAMES,
    LightLocked,
    LightMeasured,
    RunAnnounced,
    RunLost,
    RunReady,
    RunStopped,
)
from qkdd.station.polarization import PolarizationKeeper
from qkdd.watch.sight import Tally

log = structlog.get_logger(__name__)

SEARCH_TIMEOUT_S = 10.0
ALIGN_TIMEOUT_S = 300.0
"""The feedback loop needs seconds (docs/operating.md), or minutes with a hundredth of the light."""


class BobLight:
    """Owns the tagger's stream during a session with Alice; one task, so no two feed at once."""

    def __init__(
        self,
        settings: DistilSettings,
        send: Send,
        mail: RunMail,
        blocks: trio.MemorySendChannel[EndedBlock],
        waiting: trio.MemoryReceiveChannel[EndedBlock],
        status: LinkStatus,
        *,
        entropy: Entropy,
        first_block: BlockNo,
        keeper: PolarizationKeeper | None = None,
        detectors: DetectorKeeper | None = None,
    ) -> None:
        """``waiting``: the other end of ``blocks``, to make room where distillation is slow."""
        self._keeper = keeper
        self._detectors = detectors
        self._n_troubles_before = 0
        self._block_began_s = -math.inf
        self._settings = settings
        self._receiver: LightReceiver
        self._send = send
        self._mail = mail
        self._blocks, self._waiting = blocks, waiting
        self._status = status
        self._entropy = entropy
        self._lowest_block = first_block
        self._run: RunAnnounced | None = None
        self._search_ends_s: float | None = None
        self._clock_seen = False
        """Of the run that is looked for: there is light, whatever its polarisation."""
        self._align_ends_s: float | None = None
        self._n_good_before = 0
        self._sifter: BobSifter | None = None
        self._tally = Tally()
        self._measured: list[CalibrationMeasured] = []

    async def run(self, tagger: TimeTagger, receiver: LightReceiver) -> None:
        """Read tags until cancelled, or until the tagger fails: then the run is lost."""
        self._receiver = receiver
        if self._detectors is not None:
            self._detectors.tagger_begins()
        self._mail.hindered(None)
        try:
            await self._read(tagger)
        except* InstrumentError as errors:
            if self._run is not None:
                await self._lose(str(errors.exceptions[0]))
            raise
        finally:
            receiver.stop()
            if self._sifter is not None:
                self._sifter.wipe()
                self._sifter = None

    async def _read(self, tagger: TimeTagger) -> None:
        while True:
            tags = await tagger.read()
            self._status.light.turn()
            if self._keeper is not None:
                self._keeper.tags_read()
            if self._detectors is not None:
                self._detectors.tagged(tags)
            await self._obey()
            await self._check_detectors()
            await self._check_alignment()
            for event in await self._feed(tags):
                await self._handle(event)
            if self._search_ends_s is not None and trio.current_time() > self._search_ends_s:
                await self._lose(f"no light found within {SEARCH_TIMEOUT_S:g} s")

    async def _check_detectors(self) -> None:
        """End the run if they are, or have been since it began, not what they should be."""
        watch = self._detectors
        if watch is None or not self._receiver.active:  # a run that is over is told of once
            return
        if watch.trouble is not None or watch.n_troubles > self._n_troubles_before:
            await self._lose(watch.last_trouble)

    def _may_begin(self) -> bool:
        """Say whether the detectors allow a run; Alice asks again."""
        if self._detectors is None:
            return True
        self._n_troubles_before = self._detectors.n_troubles
        trouble = self._detectors.trouble
        self._mail.hindered(trouble)
        if trouble is None:
            return True
        if self._run is None:
            self._status.enter("dark", trouble)
        return False

    async def _check_alignment(self) -> None:
        """A run under a turned polarisation has its time to be turned back."""
        if self._keeper is None or not self._receiver.tracking:
            return
        self._receiver.is_being_turned(self._keeper.seeking)
        if self._align_ends_s is None:
            if self._keeper.seeking:
                self._begin_alignment()
            return
        if self._keeper.n_good > self._n_good_before:
            self._align_ends_s = None
            self._status.reason = None
            log.info("the polarisation is aligned")
        elif trio.current_time() > self._align_ends_s:
            await self._lose(f"the polarisation was not aligned within {ALIGN_TIMEOUT_S:g} s")

    async def _feed(self, tags: TagBlock) -> tuple[Event, ...]:
        """Off the loop what may take long: a hunt in light, and a backlog of tags."""
        if self._receiver.takes_long(tags):
            return await trio.to_thread.run_sync(self._receiver.feed, tags)
        return self._receiver.feed(tags)

    def _hear_stop(self, stopped: RunStopped) -> None:
        """Drop the run that Alice has stopped; without one, know why there is no light."""
        reason = f"the transmitter says: {stopped.reason}"
        if self._run is not None and stopped.run == self._run.run:
            self._drop("dark", reason)
            self._receiver.stop()
        elif not self._receiver.active:
            self._status.enter("dark", reason)

    async def _obey(self) -> None:
        """Between two feeds: take up a new run, or drop the one that Alice has stopped."""
        if (stopped := self._mail.take_stopped()) is not None:
            self._hear_stop(stopped)
        run = self._mail.announced
        if run is None or not self._may_begin():
            return
        self._mail.take_announced()
        if run.first_block < self._lowest_block:
            raise PeerError(
                f"peer starts a run at block {run.first_block}, which is below block "
                f"{self._lowest_block}: a block number is never used twice"
            )
        self._drop("searching", None)
        self._run = run
        self._clock_seen = False
        self._receiver.hunt(calibration_states(run.calibration_seed))
        self._search_ends_s = trio.current_time() + SEARCH_TIMEOUT_S
        self._block_began_s = trio.current_time()
        await self._send(RunReady(run=run.run))

    async def _handle(self, event: Event) -> None:
        assert self._run is not None
        match event:
            case ClockFound():
                self._clock_seen = True
                self._status.clock_offset_ppm = event.offset_ppm
                log.info("pulse clock found", offset_ppm=round(event.offset_ppm, 3))
            case FrameStartFound():
                await self._locked(event)
            case DetectedFrame():
                self._add(event)
            case CalibrationMeasured():
                await self._measure(event)
            case BlockEnded():
                self._end_block(event.block_index)
            case Lost():
                searched = self._search_ends_s is not None and self._clock_seen
                if searched and self._keeper is not None:
                    self._keeper.not_found()
                await self._lose(event.reason)

    async def _locked(self, event: FrameStartFound) -> None:
        assert self._run is not None
        self._search_ends_s = None
        self._status.enter("light")
        if event.turned:
            self._begin_alignment()
        log.info(
            "frame start found", matched=event.matched, errors=event.errors, turned=event.turned
        )
        await self._send(
            LightLocked(
                run=self._run.run,
                clock_offset_ppm=self._status.clock_offset_ppm or 0.0,
                errors=event.errors,
                matched=event.matched,
            )
        )

    def _begin_alignment(self) -> None:
        assert self._keeper is not None, "nobody turns it back"
        self._n_good_before = self._keeper.n_good
        self._align_ends_s = trio.current_time() + ALIGN_TIMEOUT_S
        self._status.reason = "aligning: the polarisation is turned"

    def _add(self, event: DetectedFrame) -> None:
        assert self._run is not None
        if self._sifter is None:
            self._sifter = BobSifter(BlockNo(self._run.first_block + event.block_index))
            self._tally = Tally()
        self._sifter.add(event.slots, event.detectors, event.start)
        self._tally.add(
            event.detectors,
            n_double=event.n_double,
            n_cross=event.n_cross,
            n_out_of_gate=event.n_out_of_gate,
            n_dead=event.n_dead,
        )
        odd = self._status.odd_clicks
        odd["double"] += event.n_double
        odd["cross"] += event.n_cross
        odd["out_of_gate"] += event.n_out_of_gate
        odd["dead"] += event.n_dead
        event.wipe()

    def _end_block(self, index: int) -> None:
        assert self._run is not None
        sifter = self._sifter or BobSifter(BlockNo(self._run.first_block + index))
        tally = self._tally if self._sifter is not None else Tally()
        self._sifter = None
        self._lowest_block = BlockNo(sifter.block_no + 1)
        sifter.close()
        began_s, self._block_began_s = self._block_began_s, trio.current_time()
        ended = EndedBlock(index, sifter, tally, began_s, self._block_began_s)
        try:
            self._blocks.send_nowait(ended)
        except trio.WouldBlock:
            self._make_room(self._waiting.receive_nowait().sifter)
            self._blocks.send_nowait(ended)

    def _make_room(self, sifter: BobSifter) -> None:
        """Give up the block that has waited longest: Alice keeps only the last few, too."""
        log.error("distillation is too slow: block dropped", block_no=sifter.block_no)
        self._status.gave_up("distillation is too slow for the light: block dropped")
        sifter.wipe()

    async def _measure(self, event: CalibrationMeasured) -> None:
        """Report about once a second: a message costs 16 bytes of authentication key."""
        assert self._run is not None
        if self._keeper is not None:
            self._keeper.measured(event.matched, event.errors)
        self._measured.append(event)
        if len(self._measured) < REPORT_FRAMES:
            return
        matched = (
            sum(one.matched[0] for one in self._measured),
            sum(one.matched[1] for one in self._measured),
        )
        errors = (
            sum(one.errors[0] for one in self._measured),
            sum(one.errors[1] for one in self._measured),
        )
        self._measured.clear()
        self._status.measured(matched, errors)
        await self._send(
            LightMeasured(run=self._run.run, frame=event.frame, matched=matched, errors=errors)
        )

    async def _lose(self, reason: str) -> None:
        assert self._run is not None
        log.warning("run lost", run=self._run.run, reason=reason)
        await self._send(RunLost(run=self._run.run, reason=reason[:MAX_REASON]))
        self._mail.over()
        self._receiver.stop()
        self._drop("dark", reason)

    def _drop(self, state: str, reason: str | None) -> None:
        """Forget the run; its block that has not ended is void."""
        self._search_ends_s = self._align_ends_s = None
        self._measured.clear()
        if self._keeper is not None:
            self._keeper.run_ended()
        if self._sifter is not None:
            self._status.gave_up(f"its run ended: {reason or 'a new one begins'}")
            self._sifter.wipe()
            self._sifter = None
        self._status.enter(state, reason)
