"""The transmitter's light when a relay ends, asked of the instruments over their own wire."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from drivers.attenuator import Attenuator
from drivers.catalogue import open_attenuator, open_encoder, open_laser
from drivers.encoder import Encoder, EncoderState
from drivers.laser import Laser
from qkdd.cli.demo.files import ALICE, BOB
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk

LIT_S = 30.0
EMITTING = (EncoderState.RUNNING, EncoderState.SHOWING)
WATCHDOG_S = 1.0
"""The encoder stops by itself when it has heard nothing for so long (docs/encoder-protocol.md)."""


@asynccontextmanager
async def lit_site(folder: Path) -> AsyncIterator[Site]:
    async with open_site(folder) as site:
        install_psk(site)
        await site.start()
        await site.wait("light", lambda a, b: a.state == b.state == "light", LIT_S)
        yield site


@asynccontextmanager
async def instruments(site: Site) -> AsyncIterator[tuple[Laser, Attenuator, Encoder]]:
    """Whoever comes after the daemon: it has let go of every line."""
    key = (site.folder / "lab" / "board.key").read_bytes()
    found = site.resources
    with trio.fail_after(10):
        async with (
            open_laser("koheron-ctl200", found["laser"]) as laser,
            open_attenuator("agilent-8156a", found["attenuator"]) as attenuator,
            open_encoder("qmse-1", found["encoder"], key, bytes) as encoder,
        ):
            yield laser, attenuator, encoder


async def assert_dark(site: Site) -> None:
    async with instruments(site) as (laser, attenuator, encoder):
        assert not (await laser.status()).on
        assert not await attenuator.shutter_open()
        assert (await encoder.status()).state not in EMITTING


async def test_sigterm_of_the_transmitters_relay_leaves_all_dark_and_status_0(
    tmp_path: Path,
) -> None:
    async with lit_site(tmp_path) as site:
        assert await site.stop(ALICE) == 0
        await assert_dark(site)


async def test_the_transmitter_goes_dark_when_the_receivers_relay_ends(tmp_path: Path) -> None:
    async with lit_site(tmp_path) as site:
        assert await site.stop(BOB) == 0
        await site.wait_alone(ALICE, lambda link: link.state == "down", within_s=10)
        await assert_dark(site)


async def test_after_kill_9_of_the_transmitters_relay_the_encoder_stops_by_itself(
    tmp_path: Path,
) -> None:
    """Laser and shutter know no watchdog: a dead process cannot darken them."""
    async with lit_site(tmp_path) as site:
        await site.kill(ALICE)
        await trio.sleep(2 * WATCHDOG_S)
        async with instruments(site) as (_, _, encoder):
            assert (await encoder.status()).state not in EMITTING


async def test_a_relay_whose_instruments_hang_still_stops_in_time_with_status_0(
    tmp_path: Path,
) -> None:
    async with lit_site(tmp_path) as site:
        assert site.lab is not None
        site.lab.process.send_signal(signal.SIGSTOP)
        for relay in (ALICE, BOB):
            assert await site.stop(relay) == 0
