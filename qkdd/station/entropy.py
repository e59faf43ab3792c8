"""The relay's randomness at the edge: the system's generator, tested, and a noise source if any."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Protocol

import msgspec
import structlog
import trio
from msgspec import Meta

from drivers.catalogue import ENTROPY_SOURCES, open_entropy_source
from drivers.errors import InstrumentError
from qkdd.base.errors import EntropyFailed
from qkdd.base.mixed_entropy import MixedEntropy
from qkdd.base.sound_entropy import SoundEntropy
from qkdd.station.settings import Instrument, check_instrument

log = structlog.get_logger(__name__)

SYSTEM = "the operating system"
START_TIMEOUT_S = 15.0
"""The start-up test of a source of 44 kB/s takes a tenth of a second."""
FEED_EVERY_S = 0.1
"""A new key for the generator ten times a second; what does not fit the serial buffer meanwhile
waits in the source, or is stirred into its pool."""
RETRY_S = 2.0
STOP_TIMEOUT_S = 2.0


class NoiseSettings(Instrument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source of physical noise beside the operating system's generator."""

    bits_per_byte: Annotated[float, Meta(gt=0, le=8)] = 4.0
    """Assessed min-entropy of its raw bytes; the cutoffs of its health tests come of it."""

    def __post_init__(self) -> None:
        check_instrument("entropy source", self, ENTROPY_SOURCES)


class EntropySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the relay's randomness comes from; without a noise source, from the system alone."""

    noise: NoiseSettings | None = None


class CheckedEntropy(Protocol):
    """Randomness that says how it is."""

    @property
    def failure(self) -> str | None: ...
    def __call__(self, n_bytes: int, /) -> bytes: ...


@asynccontextmanager
async def open_entropy(settings: EntropySettings) -> AsyncIterator[CheckedEntropy]:
    """Yield randomness that has passed its start-up tests, and keep the noise source feeding it.

    Raises
    ------
    EntropyFailed
        A source does not pass, or is not there.
    """
    system = SoundEntropy(os.urandom, SYSTEM)
    if settings.noise is None:
        yield system
        return
    noise = settings.noise
    mixed = MixedEntropy(system, f"{noise.model} at {noise.resource}", noise.bits_per_byte)
    async with trio.open_nursery() as nursery:
        ready = trio.Event()
        nursery.start_soon(_keep_fed, mixed, noise, ready)
        with trio.move_on_after(START_TIMEOUT_S):
            await ready.wait()
        if mixed.failure is not None:
            nursery.cancel_scope.cancel()
            raise EntropyFailed(mixed.failure)
        yield mixed
        nursery.cancel_scope.cancel()


async def _keep_fed(mixed: MixedEntropy, noise: NoiseSettings, ready: trio.Event) -> None:
    """Feed ``mixed`` for ever; a source that fails must pass its start-up test again."""
    while True:
        try:
            await _feed(mixed, noise, ready)
        except (InstrumentError, EntropyFailed) as error:
            if isinstance(error, InstrumentError):
                mixed.lost(str(error))
            log.error("the noise source fails: links halt", reason=str(error))
        await trio.sleep(RETRY_S)


async def _feed(mixed: MixedEntropy, noise: NoiseSettings, ready: trio.Event) -> None:
    async with open_entropy_source(noise.model, noise.resource) as source:
        mixed.begin()
        await source.start()
        try:
            while True:
                mixed.feed(await source.read())
                if mixed.failure is None and not ready.is_set():
                    log.info("noise source passed its start-up test", model=noise.model)
                    ready.set()
                await trio.sleep(FEED_EVERY_S)
        finally:
            with trio.move_on_after(STOP_TIMEOUT_S, shield=True):
                try:
                    await source.stop()
                except InstrumentError as error:
                    log.warning("could not stop the noise source", reason=str(error))
