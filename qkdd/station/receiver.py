"""Bob's end of the light: the time tagger, opened and running."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from drivers.catalogue import open_time_tagger
from drivers.errors import InstrumentError
from drivers.timetagger import TimeTagger
from qkdd.station.settings import ReceiverSettings

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 2.0


@asynccontextmanager
async def open_receiver(settings: ReceiverSettings) -> AsyncIterator[TimeTagger]:
    """Open the tagger and start it; stop it on the way out."""
    async with open_time_tagger(settings.tagger.model, settings.tagger.resource) as tagger:
        identity = await tagger.identity()
        log.info("instrument open", instrument="tagger", model=identity.model)
        await tagger.start()
        try:
            yield tagger
        finally:
            with trio.move_on_after(STOP_TIMEOUT_S, shield=True):
                try:
                    last = await tagger.stop()
                    if last.lost:
                        log.error(
                            "the tagger lost events that it could not tell of while streaming",
                            cure="fewer clicks per second, or a faster host",
                        )
                except InstrumentError as error:
                    log.warning("could not stop the tagger", reason=str(error))
