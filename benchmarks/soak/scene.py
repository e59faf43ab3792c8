"""Set the scene: a lab with every helper, two relays on hosts that can fail, a proxy between."""

import datetime
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from benchmarks.soak.bad_day import Scene
from benchmarks.soak.clients import FLOODER, prepare
from benchmarks.soak.eyes import RELAYS, Eyes
from benchmarks.soak.instruments import NOISE_AT
from benchmarks.soak.relays import FIRST_MARGIN
from benchmarks.soak.sent import PULSE_RATE_HZ
from qkdd.cli.demo.files import (
    ALICE,
    BOB,
    LASER_MA,
    SLOPE_MW_PER_MA,
    THRESHOLD_MA,
    attenuation_db,
)
from qkdd.cli.ports import lasting_ports
from tests.chaos.bad_host import BadHost
from tests.whole.applications import Applications
from tests.whole.bad_network import bad_network
from tests.whole.site import Site, open_site, run_command
from tests.whole.stock import install_psk

FIRST_KEY_S = 90.0
HALF_WAVE_MV = 2000
MU_UNCERTAINTY = 0.02
TAP_W = 1e-5 * SLOPE_MW_PER_MA * (LASER_MA - THRESHOLD_MA)
"""A hundredth of the laser's light: the laboratory's default."""
QUOTA = f'    {{ id = "{FLOODER}", node = "{ALICE}", quota_bits_per_s = 10000 }},\n'


def with_helpers(text: str, meter_port: int) -> str:
    """Add the helpers to a laboratory, and have it listen where it did when it starts again."""
    box = 'detector = { model = "sq-websq",'
    assert box in text
    text = text.replace(box, f'{box} counts = "tcp:127.0.0.1:0",')
    for port in lasting_ports(text.count("tcp:127.0.0.1:0")):
        text = text.replace("tcp:127.0.0.1:0", f"tcp:127.0.0.1:{port}", 1)
    return (
        f"{text}"
        'polarization = { model = "ozoptics-epc", listen = "pty:epc" }\n'
        f'power_meter = {{ model = "thorlabs-pm100", listen = "tcp:127.0.0.1:{meter_port}" }}\n'
        f'\n[[noise]]\nmodel = "onerng"\nname = "{NOISE_AT}"\nlisten = "pty:{NOISE_AT}"\n'
    )


def more_of(folder: Path, meter_port: int) -> dict[str, str]:
    """What the relays' configurations say besides."""
    both = (
        f"\n[links.reconcile]\nmargin = {FIRST_MARGIN}\n"
        f"\n[links.proof]\nmu_uncertainty = {MU_UNCERTAINTY}\n"
    )
    tap = (
        '\n[links.transmitter.tap]\nmodel = "thorlabs-pm100"\n'
        f'resource = "TCPIP::127.0.0.1::{meter_port}::SOCKET"\npower_w = {TAP_W}\n'
    )
    controller = (
        '\n[links.receiver.polarization]\nmodel = "ozoptics-epc"\n'
        f'resource = "serial:{folder / "lab" / "epc"}"\nhalf_wave_mv = {HALF_WAVE_MV}\n'
    )
    noise = (
        f'\n[entropy.noise]\nmodel = "onerng"\nresource = "serial:{folder / "lab" / NOISE_AT}"\n'
    )
    return {ALICE: both + tap, BOB: both + controller + noise}


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
    (meter_port,) = lasting_ports(1)
    more = more_of(folder, meter_port)
    add = partial(with_helpers, meter_port=meter_port)
    async with (
        open_site(folder, seed=seed, more=more, alter_lab=add) as site,
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
