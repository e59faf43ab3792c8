"""Set the scene: a lab with every helper, two relays on hosts that can fail, a proxy between."""

import datetime
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from benchmarks.soak.bad_day import Scene
from benchmarks.soak.clients import FLOODER, prepare
from benchmarks.soak.eyes import RELAYS, Eyes
from benchmarks.soak.relays import FIRST_MARGIN
from qkdd.cli.demo.files import ALICE, BOB, attenuation_db, free_ports
from tests.chaos.bad_host import BadHost
from tests.whole.applications import Applications
from tests.whole.bad_network import bad_network
from tests.whole.site import Site, open_site, run_command
from tests.whole.stock import install_psk

FIRST_KEY_S = 90.0
PULSE_RATE_HZ = 50_000_000
BLOCK_PULSES = 20 * 10_000_000
HALF_WAVE_MV = 2000
QUOTA = f'    {{ id = "{FLOODER}", node = "{ALICE}", quota_bits_per_s = 10000 }},\n'


def on_fixed_ports(text: str) -> str:
    """Have a laboratory that is started again listen where it did."""
    n_ports = text.count("tcp:127.0.0.1:0")
    for port in free_ports(n_ports):
        text = text.replace("tcp:127.0.0.1:0", f"tcp:127.0.0.1:{port}", 1)
    return text + 'polarization = { model = "ozoptics-epc", listen = "pty:epc" }\n'


def more_of(folder: Path) -> dict[str, str]:
    """What the relays' configurations say besides."""
    margin = f"\n[links.reconcile]\nmargin = {FIRST_MARGIN}\n"
    controller = (
        '\n[links.receiver.polarization]\nmodel = "ozoptics-epc"\n'
        f'resource = "serial:{folder / "lab" / "epc"}"\nhalf_wave_mv = {HALF_WAVE_MV}\n'
    )
    return {ALICE: margin, BOB: margin + controller}


def make_light_modest(site: Site) -> None:
    """Half the pulses a second, so that blocks take 4 s: two cores have more to do than distil."""
    for relay in RELAYS:
        config = site.config(relay)
        text = config.read_text()
        ramp, loss = "ramp_frames = [20]", f"loss_db = {attenuation_db():.3f}"
        assert ramp in text
        assert (loss in text) is (relay == ALICE)
        text = text.replace(ramp, f"{ramp}\npulse_rate_hz = {PULSE_RATE_HZ}")
        config.write_text(text.replace(loss, f"loss_db = {attenuation_db(PULSE_RATE_HZ):.3f}"))


def let_in_the_flooder(site: Site) -> None:
    for relay in RELAYS:
        config = site.config(relay)
        before, mark, after = config.read_text().partition("saes = [\n")
        assert mark
        config.write_text(before + mark + QUOTA + after)


def bad_host(site: Site, relay: str) -> BadHost:
    host = BadHost.build(site.folder / f"host-{relay}")
    site.launch[relay] = lambda config: host.python(*run_command(config))
    return host


@asynccontextmanager
async def open_scene(folder: Path, seed: int) -> AsyncIterator[Scene]:
    """Start everything, and wait for the first key."""
    dice = random.Random(seed)
    async with (
        open_site(folder, seed=seed, more=more_of(folder), alter_lab=on_fixed_ports) as site,
        Applications(site) as apps,
        bad_network(site, seed=seed) as proxy,
    ):
        prepare(folder, datetime.datetime.now(datetime.UTC))
        make_light_modest(site)
        let_in_the_flooder(site)
        install_psk(site)
        hosts = {relay: bad_host(site, relay) for relay in RELAYS}
        await site.start()
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, FIRST_KEY_S)
        eyes = Eyes(site, trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(eyes.watch)
            yield Scene(site, apps, eyes, proxy, hosts, dice)
            nursery.cancel_scope.cancel()
