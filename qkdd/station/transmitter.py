"""Alice's end of the light: laser, attenuator and state encoder; the light goes dark first."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
import trio

from drivers.attenuator import Attenuator
from drivers.catalogue import open_attenuator, open_encoder, open_laser, open_power_meter
from drivers.encoder import Encoder, EncoderPlan, EncoderState, EncoderStatus
from drivers.errors import Fault, InstrumentError
from drivers.laser import Laser
from drivers.powermeter import PowerMeter
from qkdd.base.entropy import Entropy
from qkdd.base.light import Intensities, Intensity, LightPlan
from qkdd.base.secret import Secret
from qkdd.station.settings import TapSettings, TransmitterSettings

log = structlog.get_logger(__name__)

DARK_TIMEOUT_S = 3.0
"""Each instrument's: longer than any reply may take, and short enough to stop in."""
SEEDS_AHEAD = 2
LOSS_TOLERANCE_DB = 0.005
"""Of an attenuator's word against its setting: 0.1 % of mean photon numbers, and more than any
model rounds."""

TAP_AVERAGES = 30
"""Samples of 3 ms: a reading of about 0.1 s is over one of the default frames or more, so that the
calibration pulses in it are as many as on average, to 0.2 % of the light at worst."""


class EncoderStopped(Fault):
    """Its watchdog bit, or it had no seed: it is dark, and all three instruments still answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Transmitter:
    """The instruments of a transmitter, and the only hands that touch them."""

    laser: Laser
    attenuator: Attenuator
    encoder: Encoder
    settings: TransmitterSettings
    tap: PowerMeter | None = None

    async def prepare(self, plan: LightPlan, intensities: Intensities) -> None:
        """Set everything for a run, with the shutter closed and the encoder dark."""
        await self.attenuator.set_shutter(open=False)
        await self.encoder.configure(encoder_plan(plan, intensities))
        await self.attenuator.set_loss_db(self.settings.attenuator.loss_db)
        await self.laser.set_current_ma(self.settings.laser.current_ma)
        await self.laser.set_output(on=True)

    async def read_levels(self) -> tuple[float, ...]:
        """Show one intensity after the other, behind the closed shutter, and read the tap at each.

        The first reading of each is thrown away: a meter that chooses its range does so in it. The
        encoder is asked after every reading, which also keeps its watchdog fed. It ends idle,
        without seeds.

        Raises
        ------
        EncoderStopped
            If it did not show the level for as long as it was read.
        Fault
            If there is more light than the meter can show.
        """
        levels_w = tuple([await self._read_level(intensity) for intensity in Intensity])
        await self.encoder.stop()
        return levels_w

    async def _read_level(self, intensity: Intensity) -> float:
        await self.encoder.show(intensity)
        await self._read_shown(intensity)
        return await self._read_shown(intensity)

    async def _read_shown(self, intensity: Intensity) -> float:
        power_w = await self.tap_power_w()
        state = (await self.encoder.status()).state
        if state is not EncoderState.SHOWING:
            raise EncoderStopped(
                f"the state encoder stopped showing {intensity.name.lower()} by itself: "
                f"{state.name.lower()}"
            )
        return power_w

    async def load_calibration_seed(self, seed: bytes) -> None:
        await self.encoder.load_seed(None, seed)

    async def load_block_seed(self, index: int, seed: Secret) -> None:
        await self.encoder.load_seed(index, seed.reveal())

    async def begin(self, run: int) -> None:
        """Open the shutter and let pulse 0 leave."""
        await self.attenuator.set_shutter(open=True)
        await self.encoder.start(run)

    async def check(self) -> EncoderStatus:
        """Say how the encoder was when it was last asked; asking again keeps its watchdog fed.

        Where there was no question before, a second one brings the answer to the first, and leaves
        its own for the next time: `status` would take both, and each time would be the first.

        Raises
        ------
        EncoderStopped
            If it no longer runs (underrun, watchdog).
        """
        ask = self.encoder.status_before
        status = await ask() or await ask() or await self.encoder.status()
        if status.state is not EncoderState.RUNNING:
            raise EncoderStopped(
                f"the state encoder stopped by itself: {status.state.name.lower()}"
            )
        return status

    async def check_laser(self) -> None:
        """Raise Fault when the laser is off or reports an error."""
        light = await self.laser.light()
        if light.errors or not light.on:
            raise Fault(f"laser {'on' if light.on else 'off'}, errors {list(light.errors)}")

    async def check_loss(self) -> None:
        """Raise Fault when the attenuator is no longer where it was set."""
        set_db, is_db = self.settings.attenuator.loss_db, await self.attenuator.loss_db()
        if abs(is_db - set_db) > LOSS_TOLERANCE_DB:
            raise Fault(f"the attenuator is at {is_db:.3f} dB, configured are {set_db:.3f} dB")

    async def check_shutter(self) -> None:
        """Raise Fault when the attenuator's shutter is closed."""
        if not await self.attenuator.shutter_open():
            raise Fault("the attenuator's shutter closed by itself")

    async def tap_power_w(self) -> float:
        """Read the tap's power meter.

        Raises
        ------
        Fault
            If there is more light than it can show.
        """
        assert self.tap is not None
        return await self.tap.power_w()

    async def dark(self) -> None:
        """Stop all light by three ways at once: none waits for another, or fails with it.

        A bug of a driver is raised when all three have had their time.
        """
        bugs: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_darken, "encoder", self.encoder.stop, bugs)
            nursery.start_soon(_darken, "shutter", self._close_shutter, bugs)
            nursery.start_soon(_darken, "laser", self._laser_off, bugs)
        if bugs:
            raise ExceptionGroup("while the light went dark", bugs)

    async def _close_shutter(self) -> None:
        await self.attenuator.set_shutter(open=False)

    async def _laser_off(self) -> None:
        await self.laser.set_output(on=False)


async def _darken(name: str, action: Callable[[], Awaitable[None]], bugs: list[Exception]) -> None:
    with trio.move_on_after(DARK_TIMEOUT_S, shield=True) as scope:
        try:
            await action()
        except InstrumentError as error:
            log.error("could not darken", instrument=name, reason=str(error))
        except Exception as bug:
            bugs.append(bug)
    if scope.cancelled_caught:
        log.error("darkening took too long", instrument=name, limit_s=DARK_TIMEOUT_S)


def encoder_plan(plan: LightPlan, intensities: Intensities) -> EncoderPlan:
    """Say the plan in the encoder's terms."""
    return EncoderPlan(
        pulse_rate_hz=plan.pulse_rate_hz,
        preamble_pulses=plan.preamble_pulses,
        frame_pulses=plan.frame_pulses,
        calibration_pulses=plan.calibration_pulses,
        key_threshold=intensities.key_threshold,
        signal_threshold=intensities.signal_threshold,
        weak_threshold=intensities.weak_threshold,
        weak_ratio=intensities.weak_mu / intensities.signal_mu,
        vacuum_ratio=intensities.vacuum_mu / intensities.signal_mu,
        ramp_frames=plan.ramp_frames,
    )


@asynccontextmanager
async def open_transmitter(
    settings: TransmitterSettings, *, board_key: bytes | memoryview, entropy: Entropy
) -> AsyncIterator[Transmitter]:
    """Open the three instruments; on the way out the light goes dark before they close."""
    async with (
        open_laser(settings.laser.model, settings.laser.resource) as laser,
        open_attenuator(settings.attenuator.model, settings.attenuator.resource) as attenuator,
        open_encoder(
            settings.encoder.model, settings.encoder.resource, board_key, entropy
        ) as encoder,
        _open_tap(settings.tap) as tap,
    ):
        transmitter = Transmitter(laser, attenuator, encoder, settings, tap)
        try:
            for name, instrument in (
                ("laser", laser),
                ("attenuator", attenuator),
                ("encoder", encoder),
                *((("tap", tap),) if tap is not None else ()),
            ):
                identity = await instrument.identity()
                log.info("instrument open", instrument=name, model=identity.model)
            yield transmitter
        finally:
            await transmitter.dark()


@asynccontextmanager
async def _open_tap(settings: TapSettings | None) -> AsyncIterator[PowerMeter | None]:
    if settings is None:
        yield None
        return
    async with open_power_meter(settings.model, settings.resource) as meter:
        await meter.set_wavelength_nm(settings.wavelength_nm)
        await meter.set_range_w(None)
        await meter.set_averages(TAP_AVERAGES)
        yield meter
