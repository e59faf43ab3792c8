"""Alice's light: one run after another, seeds fed ahead of the pulses, dark when in doubt."""

from dataclasses import replace

import structlog
import trio

from drivers.encoder import EncoderStatus
from drivers.errors import Fault
from qkdd.base.choices import ChoiceSource
from qkdd.base.entropy import Entropy
from qkdd.base.ids import BlockNo
from qkdd.base.secret import Secret
from qkdd.daemon.beat import next_beat
from qkdd.daemon.distil import DistilSettings, Send
from qkdd.daemon.distil_alice import SentBlock, SentBlocks
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.silence import SILENT_S, Silence
from qkdd.daemon.status import LinkStatus
from qkdd.station.messages import (
    MAX_REASON,
    REPORT_FRAMES,
    LightLocked,
    LightMeasured,
    RunAnnounced,
    RunLost,
    RunReady,
    RunStopped,
    RunWaits,
)
from qkdd.station.tap import TapRecord
from qkdd.station.transmitter import SEEDS_AHEAD, EncoderStopped, Transmitter

log = structlog.get_logger(__name__)

READY_TIMEOUT_S = 15.0
LOCK_TIMEOUT_S = 15.0
POLL_S = 0.25
"""A quarter of the encoder's watchdog. A block that has ended waits no longer than its clicks."""
LASER_EVERY_S = 1.0
ATTENUATOR_EVERY_S = 3.0
"""One question, for the loss and the shutter in turns. It is not asked for safety of eyes, as the
laser is, but for who talks to it: a wrong loss in a block that has ended is the tap's to see."""
READINESS, REPORT = "word whether a run may begin", "the next report of the light"
OF_BOB = (LightLocked, LightMeasured, RunLost, RunReady, RunWaits)
MISSED_REPORTS = 3
"""With frames so long that reports are rarer than the limit for a silent neighbour."""
REST_S = 1.0
"""At most, before the light is begun again after the encoder has heard nothing for a second: a host
that was late once is late again if all its relays come back at the same moment."""
TAP_EVERY_S = 0.5
"""The shortest block of any use has a few readings; a meter that averages takes a tenth of it."""


class AliceLight:
    """Owns the transmitter during a session with Bob."""

    def __init__(
        self,
        settings: DistilSettings,
        send: Send,
        mailbox: Mailbox,
        sent: SentBlocks,
        status: LinkStatus,
        silence: Silence,
        *,
        entropy: Entropy,
        first_block: BlockNo,
        tap: TapRecord | None = None,
        until: trio.Event | None = None,
    ) -> None:
        self._until = until if until is not None else trio.Event()
        self._tap = tap
        self._settings = settings
        self._send = send
        self._mailbox = mailbox
        self._sent = sent
        self._status = status
        self._silence = silence
        plan = settings.plan
        report_s = REPORT_FRAMES * plan.frame_pulses / plan.pulse_rate_hz
        self._report_limit_s = max(SILENT_S, MISSED_REPORTS * report_s)
        self._entropy = entropy
        self._next_block = first_block
        self._run = 0
        self._stopped: str | None = None
        """Why the encoder stopped by itself in the last run, which had been found."""
        self._told: str | None = None
        """What Bob knows of instruments that fail here, since the last run was announced."""

    async def run(self, transmitter: Transmitter) -> None:
        """Make light until cancelled, or until ``until`` is set and a block or a run has ended."""
        while not self._until.is_set():
            self._status.light.turn()
            self._run += 1
            seeds = SeedQueue(self._settings, self._next_block, self._entropy)
            try:
                await self._one_run(transmitter, seeds)
            finally:
                with trio.CancelScope(shield=True):
                    await self._end_run(transmitter, seeds)
            if self._stopped is not None:
                await self._rest(self._stopped)

    async def tell_failure(self, reason: str) -> None:
        """Tell Bob what keeps this end dark, once: he would see darkness and wonder."""
        self._silence.settle(READINESS)
        if reason != self._told:
            self._told = reason
            await self._send(RunStopped(run=self._run, reason=reason[:MAX_REASON]))

    async def _rest(self, reason: str) -> None:
        """After the encoder stopped by itself: tell Bob, and let this host come to its senses."""
        self._stopped = None
        await self._send(RunStopped(run=self._run, reason=reason))
        await trio.sleep(REST_S * self._entropy(1)[0] / 256)

    async def _end_run(self, transmitter: Transmitter, seeds: "SeedQueue") -> None:
        self._silence.settle(REPORT)
        self._next_block = BlockNo(self._next_block + seeds.n_made)
        self._status.light.turn()  # waiting for the receiver and darkening each have their time
        try:
            await transmitter.dark()
        finally:
            seeds.wipe()
            self._status.enter("dark")

    async def _one_run(self, transmitter: Transmitter, seeds: "SeedQueue") -> None:
        settings = self._settings
        calibration_seed = self._entropy(32)
        await transmitter.prepare(settings.plan, settings.intensities)
        self._status.light.turn()
        if self._tap is not None:
            await self._check_levels(transmitter, self._tap)
        await transmitter.load_calibration_seed(calibration_seed)
        self._status.light.turn()
        if not await self._announce(calibration_seed):
            return
        self._status.light.turn()
        for _ in range(SEEDS_AHEAD):
            await transmitter.load_block_seed(*seeds.make())
        self._status.enter("searching")
        locked = trio.Event()
        await transmitter.begin(self._run)
        log.info("run started", run=self._run, first_block=self._next_block)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, locked, nursery.cancel_scope)
            nursery.start_soon(self._expect_lock, locked, nursery.cancel_scope)
            nursery.start_soon(self._watch_laser, transmitter)
            nursery.start_soon(self._watch_attenuator, transmitter)
            if self._tap is not None:
                nursery.start_soon(self._watch_tap, transmitter, self._tap)
            await self._feed(transmitter, seeds, locked)
            nursery.cancel_scope.cancel()

    async def _check_levels(self, transmitter: Transmitter, tap: TapRecord) -> None:
        """Look at the intensities one by one while the shutter is closed; Fault if one is off."""
        wrong = tap.begin(await transmitter.read_levels())
        self._status.tap_levels = tap.levels
        self._status.light.turn()
        if wrong is not None:
            raise Fault(wrong)

    async def _announce(self, calibration_seed: bytes) -> bool:
        """Announce the run; return whether the receiver is ready. His tagger may be away."""
        await self._send(
            RunAnnounced(
                run=self._run, first_block=self._next_block, calibration_seed=calibration_seed
            )
        )
        self._told = None
        began_s, why = trio.current_time(), None
        self._silence.expect(READINESS)
        with trio.move_on_after(READY_TIMEOUT_S):
            while True:
                message = await self._mailbox.get(*OF_BOB)
                if message.run != self._run:
                    continue  # a late word about the run before
                self._silence.settle(READINESS)
                if isinstance(message, RunReady):
                    return True
                if isinstance(message, RunWaits):
                    why = message.reason
                    self._status.enter("dark", f"the receiver is not ready: {why}")
        if not self._silence.heard_since(began_s):
            why = "it says nothing"
        reason = f"the receiver was not ready within {READY_TIMEOUT_S:g} s"
        reason += f": {why}" if why else ""
        log.warning("no run", run=self._run, reason=reason)
        self._status.enter("dark", reason)
        return False

    async def _listen(self, locked: trio.Event, scope: trio.CancelScope) -> None:
        """Hear what Bob says of this run; end the run when he has lost it."""
        while True:
            message = await self._mailbox.get(*OF_BOB)
            if message.run != self._run:
                continue
            if isinstance(message, LightLocked):
                locked.set()
                self._silence.expect(REPORT, self._report_limit_s)
                self._status.clock_offset_ppm = message.clock_offset_ppm
                self._status.enter("light")
                log.info("light locked", run=self._run, offset_ppm=message.clock_offset_ppm)
            elif isinstance(message, LightMeasured):
                self._status.measured(message.matched, message.errors)
            elif isinstance(message, RunLost):
                log.warning("run lost", run=self._run, reason=message.reason)
                self._status.enter("dark", message.reason)
                scope.cancel()

    async def _expect_lock(self, locked: trio.Event, scope: trio.CancelScope) -> None:
        began_s = trio.current_time()
        with trio.move_on_after(LOCK_TIMEOUT_S):
            await locked.wait()
            return
        reason = f"the receiver found no light within {LOCK_TIMEOUT_S:g} s"
        if not self._silence.heard_since(began_s):
            reason = f"the receiver has said nothing for {LOCK_TIMEOUT_S:g} s"
        log.warning("run lost", run=self._run, reason=reason)
        self._status.enter("dark", reason)
        await self._send(RunStopped(run=self._run, reason=reason))
        scope.cancel()

    async def _feed(self, transmitter: Transmitter, seeds: "SeedQueue", locked: trio.Event) -> None:
        """Keep the encoder supplied; hand over each block whose last pulse has left.

        Until such a block has ended after ``until`` was set, or until the encoder has stopped by
        itself in a run that was good: then nothing need be opened afresh.
        """
        while True:
            try:
                status = await transmitter.check()
            except EncoderStopped as stopped:
                if not locked.is_set():
                    raise
                log.warning("run lost", run=self._run, reason=str(stopped))
                self._status.enter("dark", str(stopped))
                self._stopped = str(stopped)
                return
            self._status.light.turn()
            if status.run != self._run:
                raise Fault(f"the state encoder sends run {status.run}, not run {self._run}")
            ended = seeds.ended(status)
            for block_no, block in ended:
                doubt = self._tap.close_block() if self._tap is not None else None
                self._sent.add(block_no, replace(block, doubt=doubt))
            if ended and self._until.is_set():
                return
            while seeds.n_made < seeds.current + SEEDS_AHEAD:
                await transmitter.load_block_seed(*seeds.make())
            await next_beat(POLL_S)

    async def _watch_laser(self, transmitter: Transmitter) -> None:
        """Ask the laser apart from the encoder, whose watchdog waits for no serial line."""
        while True:
            await transmitter.check_laser()
            await next_beat(LASER_EVERY_S)

    async def _watch_attenuator(self, transmitter: Transmitter) -> None:
        """Ask the attenuator whether it is as it was set; one that answers nonsense fails."""
        while True:
            for look in (transmitter.check_loss, transmitter.check_shutter):
                await next_beat(ATTENUATOR_EVERY_S)
                await look()

    async def _watch_tap(self, transmitter: Transmitter, tap: TapRecord) -> None:
        """Read the tap for as long as there is light; a meter that fails ends the run.

        The preamble is all signal and says nothing of the frames.
        """
        plan = self._settings.plan
        await trio.sleep(plan.preamble_pulses / plan.pulse_rate_hz)
        while True:
            tap.add(await transmitter.tap_power_w())
            self._status.tap_ratio = tap.last
            await next_beat(TAP_EVERY_S)


class SeedQueue:
    """The seeds of a run's blocks, from the dice to the end of the block's light."""

    def __init__(self, settings: DistilSettings, first_block: BlockNo, entropy: Entropy) -> None:
        self._settings = settings
        self._first_block = first_block
        self._entropy = entropy
        self._waiting: dict[int, ChoiceSource] = {}
        self.n_made = 0
        self.current = 0
        """Index of the block that is being sent."""

    def make(self) -> tuple[int, Secret]:
        """Throw the next block's seed."""
        index = self.n_made
        seed = Secret.absorb(self._entropy(32))
        self._waiting[index] = ChoiceSource(seed, self._settings.intensities)
        self.n_made += 1
        return index, seed

    def ended(self, status: EncoderStatus) -> list[tuple[BlockNo, SentBlock]]:
        """Take out the blocks whose last pulse has left."""
        plan = self._settings.plan
        done = []
        while plan.block_span(self.current).stop <= status.pulses:
            block = SentBlock(self.current, self._waiting.pop(self.current))
            done.append((BlockNo(self._first_block + self.current), block))
            self.current += 1
        return done

    def wipe(self) -> None:
        for choices in self._waiting.values():
            choices.wipe()
        self._waiting.clear()
