"""The polarisation controller at the receiver: what the frames measure becomes its voltages."""

import math
from collections.abc import Callable

import msgspec
import structlog
import trio

from drivers.catalogue import open_polarization_controller
from drivers.errors import InstrumentError
from drivers.polarization import PolarizationController
from qkdd.station.error_counts import Side
from qkdd.station.holder import PolarizationHolder
from qkdd.station.settings import PolarizationSettings
from qkdd.station.squeezers import Squeezers

log = structlog.get_logger(__name__)

SETTLE_S = 0.1
"""Longer than a fibre follows a voltage, and than a tag is on its way from the tagger's input."""
STOP_TIMEOUT_S = 2.0

HOLDING, SEEKING, FAILED = "holding", "seeking", "failed"


class PolarizationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the feedback loop does."""

    state: str
    """holding | seeking: errors above the limit, wide excursions | failed: no controller"""
    reason: str | None
    voltages_mv: tuple[int, ...]
    """Of the channels, without the excursion to measure by."""
    n_steps: int


class PolarizationKeeper:
    """Between the frames and the controller; only the newest sample is ever under way.

    Of frames that were sent, or may have been, while a voltage changed, nothing is counted.
    """

    def __init__(
        self,
        settings: PolarizationSettings,
        *,
        frame_s: float,
        tell: Callable[[PolarizationFacts], None],
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._frame_s = frame_s
        self._frames_to_settle = math.ceil(SETTLE_S / frame_s)
        self._samples_in, self._samples_out = trio.open_memory_channel[Side | None](1)
        """None: no run was found in the light. One: voltages wait for nothing else to change."""
        self._holder: PolarizationHolder | None = None
        self._waiting = self._has_failed = False
        self._n_reads = 0
        self._stale_reads = 0
        self._stale_frames = 0
        self._begin_sample()

    @property
    def n_good(self) -> int:
        """How often a direction has been measured with errors below the limit."""
        return 0 if self._holder is None else self._holder.n_good

    @property
    def seeking(self) -> bool:
        """The light is looked for: errors say nothing of anything else."""
        return self._holder is not None and self._holder.seeking and not self._has_failed

    def tags_read(self) -> None:
        """The tagger has been read once more; what comes of it follows."""
        self._n_reads += 1

    def measured(self, matched: tuple[int, int], errors: tuple[int, int]) -> None:
        """Take one frame's calibration segment, by basis."""
        if not self._waiting or self._n_reads <= self._stale_reads:
            return
        if self._stale_frames:
            self._stale_frames -= 1
            return
        self._sample.add(matched, errors)
        self._n_frames += 1
        if self._n_frames == self._frames_wanted:
            self._waiting = False
            self._samples_in.send_nowait(self._sample)
            self._begin_sample()

    def not_found(self) -> None:
        """Light was there, but no run was found in it: try other voltages."""
        if self._waiting:
            self._waiting = False
            self._samples_in.send_nowait(None)

    def run_ended(self) -> None:
        """Forget a sample that has only begun."""
        self._begin_sample()

    def failed(self, reason: str) -> None:
        """The controller does not answer; the light goes on as it is."""
        self._waiting = False
        self._has_failed = True
        holder = self._holder
        self._tell(
            PolarizationFacts(
                state=FAILED,
                reason=reason,
                voltages_mv=() if holder is None else holder.centre_mv,
                n_steps=0 if holder is None else holder.n_steps,
            )
        )

    async def run(self) -> None:
        """Hold until cancelled; then the voltages are left at the best that is known.

        Raises
        ------
        InstrumentError
            The controller fails. Called again, it goes on from the best voltages.
        """
        settings = self._settings
        async with open_polarization_controller(settings.model, settings.resource) as controller:
            identity = await controller.identity()
            log.info("instrument open", instrument="polarization", model=identity.model)
            holder = await self._begin(controller)
            try:
                await self._follow(controller, holder)
            finally:
                with trio.move_on_after(STOP_TIMEOUT_S, shield=True):
                    try:
                        await controller.set_voltages_mv(holder.centre_mv)
                    except InstrumentError as error:
                        log.warning("voltages left as they were", reason=str(error))

    async def _begin(self, controller: PolarizationController) -> PolarizationHolder:
        found = await controller.status()
        if found.scrambling:
            await controller.set_scrambling(on=False)
        if self._holder is None:
            squeezers = Squeezers(found.lowest_mv, found.highest_mv, self._settings.half_wave_mv)
            self._holder = PolarizationHolder(
                squeezers, found.voltages_mv, max_qber=self._settings.max_qber
            )
        await controller.set_voltages_mv(self._holder.voltages_mv)
        self._has_failed = False
        self._let_settle()
        self._tell_of(self._holder)
        return self._holder

    async def _follow(self, controller: PolarizationController, holder: PolarizationHolder) -> None:
        now_mv = holder.voltages_mv
        while True:
            self._waiting = True
            sample = await self._samples_out.receive()
            was_seeking = holder.seeking
            if sample is None:
                holder.not_found()
            else:
                _take(holder, sample)
            wanted_mv = holder.voltages_mv
            for channel, (old_mv, new_mv) in enumerate(zip(now_mv, wanted_mv, strict=True), 1):
                if new_mv != old_mv:
                    await controller.set_voltage_mv(channel, new_mv)
            if wanted_mv != now_mv:
                self._let_settle()
            now_mv = wanted_mv
            if holder.seeking and not was_seeking:
                log.error("the polarisation is not held", limit=self._settings.max_qber)
            elif was_seeking and not holder.seeking:
                log.info("the polarisation is held again", voltages_mv=holder.centre_mv)
            self._tell_of(holder)

    def _let_settle(self) -> None:
        """Not the read that is under way, nor one whose tags were waiting: then some frames."""
        self._stale_reads = self._n_reads + 1
        self._stale_frames = self._frames_to_settle
        self._begin_sample()

    def _begin_sample(self) -> None:
        self._sample = Side()
        self._n_frames = 0
        sample_s = 0.0 if self._holder is None else self._holder.sample_s
        self._frames_wanted = max(1, round(sample_s / self._frame_s))

    def _tell_of(self, holder: PolarizationHolder) -> None:
        reason = None
        if holder.seeking:
            reason = f"errors of the calibration segments are over {self._settings.max_qber:g}"
        self._tell(
            PolarizationFacts(
                state=SEEKING if holder.seeking else HOLDING,
                reason=reason,
                voltages_mv=holder.centre_mv,
                n_steps=holder.n_steps,
            )
        )


def _take(holder: PolarizationHolder, sample: Side) -> None:
    holder.take(
        (sample.matched[0], sample.matched[1]),
        (sample.errors[0], sample.errors[1]),
    )
