"""Darken a transmitter whose daemon is gone: each instrument by itself, none waits for another."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from drivers.catalogue import open_attenuator, open_encoder, open_laser
from drivers.encoder import EncoderState
from drivers.errors import InstrumentError, Refused
from qkdd.base.entropy import Entropy
from qkdd.base.errors import ConfigError
from qkdd.station.settings import TransmitterSettings

DARKEN_TIMEOUT_S = 8.0
"""Per instrument, all tries together: below the time that a service manager gives a stop."""
RETRY_AFTER_S = 0.25

OFF, CLOSED, STOPPED = "off", "closed", "stopped"


@dataclass(frozen=True, slots=True)
class Darkened:
    """What became of one instrument."""

    instrument: str
    state: str | None
    """Off, closed or stopped, as it says itself; None if it could not be brought there."""
    trouble: str | None


async def darken(
    settings: TransmitterSettings, board_key: Callable[[], bytes], entropy: Entropy
) -> list[Darkened]:
    """Open each instrument afresh and switch it off, all three at once.

    An instrument that the dead process left in mid-sentence is tried again until the time is up.
    ``board_key`` reads the key; only the encoder suffers if it raises ConfigError.
    """
    found: list[Darkened] = []
    async with trio.open_nursery() as nursery:
        for name, action in (
            ("laser", partial(_laser_off, settings)),
            ("shutter", partial(_close_shutter, settings)),
            ("encoder", partial(_stop_encoder, settings, board_key, entropy)),
        ):
            nursery.start_soon(_persist, name, action, found)
    return sorted(found, key=lambda one: one.instrument)


async def _persist(name: str, action: Callable[[], Awaitable[str]], found: list[Darkened]) -> None:
    trouble = f"did not answer within {DARKEN_TIMEOUT_S:g} s"
    with trio.move_on_after(DARKEN_TIMEOUT_S):
        while True:
            try:
                found.append(Darkened(name, await action(), None))
                return
            except InstrumentError as error:
                trouble = str(error)
            except ConfigError as error:
                trouble = str(error)
                break
            await trio.sleep(RETRY_AFTER_S)
    found.append(Darkened(name, None, trouble))


async def _laser_off(settings: TransmitterSettings) -> str:
    """Refused is raised by the driver if the laser does not say that it is off."""
    async with open_laser(settings.laser.model, settings.laser.resource) as laser:
        await laser.set_output(on=False)
    return OFF


async def _close_shutter(settings: TransmitterSettings) -> str:
    instrument = settings.attenuator
    async with open_attenuator(instrument.model, instrument.resource) as attenuator:
        await attenuator.set_shutter(open=False)
    return CLOSED


async def _stop_encoder(
    settings: TransmitterSettings, board_key: Callable[[], bytes], entropy: Entropy
) -> str:
    instrument = settings.encoder
    async with open_encoder(instrument.model, instrument.resource, board_key(), entropy) as encoder:
        await encoder.stop()
        state = (await encoder.status()).state
    if state in (EncoderState.RUNNING, EncoderState.SHOWING):
        raise Refused(f"{instrument.model}: still {state.name.lower()} after stop")
    return STOPPED
