"""What a laboratory of many links costs per click, on the wire, against its share of a machine.

    python -m benchmarks.many_links [--links 31] [--processes 1] [--seconds 8] [--tick-ms 100]

Starts laboratories as processes of their own with links as those of a long trunk (lengths, losses
and pulse clocks of the table below; S-Fifteen TDC1 up to 125 MHz, ID Quantique ID1000 above), and
plays all hosts with the drivers that a relay uses: laser, attenuator and encoder are set, the
encoder and the laser are asked as often as a relay asks, tags are read and thrown away. CPU is the
laboratories' alone, from /proc, user and system; clicks are the tags that came through.

The goal is 40 ns a click; a trunk of 31 links has 8.25 million clicks a second.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from benchmarks.daemon import usage
from drivers.catalogue import open_time_tagger
from drivers.sim.config import Source
from drivers.sim.optics.fibre import mean_photons
from drivers.timetagger import TimeTagger
from qkdd.base.light import Intensities, LightPlan
from qkdd.station.settings import (
    AttenuatorSettings,
    EncoderSettings,
    LaserSettings,
    TransmitterSettings,
)
from qkdd.station.transmitter import Transmitter, open_transmitter

GOAL_NS = 40.0
TRUNK_HZ = 8.25e6
LASER_MA = 150.0
POLL_S, LASER_POLL_S = 0.25, 1.0
SETTLE_S = 2.0
TDC1_MAX_MHZ = 125
TICK_MS, RECORD_MS = 100.0, 1000
"""As `qkdd trunk` has them."""
INTENSITIES = Intensities(
    signal_mu=0.25,
    weak_mu=0.10,
    vacuum_mu=0.001,
    signal_probability=0.12,
    weak_probability=0.78,
    key_basis_probability=0.89,
)
# km, fibre's dB, pulse clock in MHz
TRUNK = (
    *((42, 9.4, 50), (50, 11.5, 100), (56, 13.4, 150), (74, 15.8, 225), (87, 19.0, 450)),
    *((56, 13.8, 150), (81, 17.4, 350), (67, 14.9, 175), (74, 17.5, 350), (74, 16.7, 275)),
    *((62, 13.5, 150), (37, 8.9, 50), (74, 17.5, 350), (56, 12.1, 100), (80, 17.3, 350)),
    *((74, 17.1, 300), (62, 14.0, 150), (56, 12.7, 125), (56, 13.6, 150), (93, 20.9, 700)),
    *((87, 18.4, 400), (81, 17.7, 350), (93, 20.9, 700), (37, 8.8, 50), (68, 15.0, 200)),
    *((87, 20.0, 600), (43, 10.5, 70), (56, 12.6, 125), (56, 13.3, 125), (56, 12.7, 125)),
    (97, 20.9, 700),
)


@dataclass(frozen=True)
class TrunkLink:
    """One link as the laboratory and its two hosts know it."""

    name: str
    km: float
    loss_db: float
    clock_mhz: int
    transport: str

    @property
    def model(self) -> str:
        return "s15-tdc1" if self.clock_mhz <= TDC1_MAX_MHZ else "idq-id1000"

    @property
    def plan(self) -> LightPlan:
        rate_hz = self.clock_mhz * 1_000_000
        return LightPlan(
            pulse_rate_hz=rate_hz,
            preamble_pulses=rate_hz // 20,
            frame_pulses=rate_hz // 10,
            calibration_pulses=rate_hz // 2000,
            ramp_frames=(160,),
        )

    def in_toml(self) -> str:
        tagger = f'listen = "{self.transport}"'.format(name=f"tagger-{self.name}")
        if self.model == "idq-id1000":
            tagger = 'listen = "tcp:127.0.0.1:0", datalink = "tcp:127.0.0.1:0"'
        return f"""
[[links]]
name = "{self.name}"
[links.fibre]
length_km = {float(self.km)}
loss_db = {self.loss_db}
[links.receiver]
key_basis_share = 0.89
[links.instruments]
laser = {{ model = "koheron-ctl200", listen = "pty:laser-{self.name}" }}
attenuator = {{ model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }}
encoder = {{ model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "board.key" }}
tagger = {{ model = "{self.model}", {tagger} }}
"""

    def transmitter(self, places: dict[str, str]) -> TransmitterSettings:
        source = Source()
        bright = mean_photons(
            source.power_mw(LASER_MA),
            loss_db=source.fixed_loss_db,
            pulse_rate_hz=self.plan.pulse_rate_hz,
            wavelength_nm=source.wavelength_nm,
        )
        loss_db = 10.0 * math.log10(bright / INTENSITIES.signal_mu)
        return TransmitterSettings(
            laser=LaserSettings(
                model="koheron-ctl200", resource=places["laser"], current_ma=LASER_MA
            ),
            attenuator=AttenuatorSettings(
                model="agilent-8156a", resource=places["attenuator"], loss_db=round(loss_db, 3)
            ),
            encoder=EncoderSettings(
                model="qmse-1", resource=places["encoder"], key_file=Path("board.key")
            ),
        )

    def tagger(self, places: dict[str, str]) -> str:
        if self.model == "s15-tdc1":
            return places["tagger"]
        service = places["datalink"].removeprefix("zmq://")
        return f"{places['tagger']}?dlt={service}&record_ms={RECORD_MS}"


@dataclass(frozen=True)
class RunningLab:
    process: subprocess.Popen[bytes]
    places: dict[str, dict[str, str]]


@contextmanager
def laboratory(links: list[TrunkLink], key: bytes, head: str) -> Iterator[RunningLab]:
    with tempfile.TemporaryDirectory(prefix="qkdd-links-") as name:
        folder = Path(name)
        (folder / "board.key").write_bytes(key)
        path = folder / "lab.toml"
        path.write_text(f"seed = 1\n{head}" + "".join(link.in_toml() for link in links))
        command = [sys.executable, "-P", "-m", "drivers.sim", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                ready = msgspec.json.decode(process.stdout.readline())
                yield RunningLab(process, ready["instruments"])
            finally:
                process.terminate()


class Hosts:
    """The relays of every link, as far as their instruments see them."""

    def __init__(self) -> None:
        self.n_tags = 0
        self.n_lost = 0

    async def play(
        self,
        link: TrunkLink,
        places: dict[str, str],
        key: bytes,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with AsyncExitStack() as stack:
            opened = open_transmitter(link.transmitter(places), board_key=key, entropy=os.urandom)
            transmitter = await stack.enter_async_context(opened)
            tagger = await stack.enter_async_context(
                open_time_tagger(link.model, link.tagger(places))
            )
            await transmitter.prepare(link.plan, INTENSITIES)
            await transmitter.load_calibration_seed(os.urandom(32))
            for block in range(8):
                await transmitter.encoder.load_seed(block, os.urandom(32))
            await tagger.start()
            await transmitter.begin(1)
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, transmitter)
                nursery.start_soon(self._watch_laser, transmitter)
                nursery.start_soon(self._read, tagger)

    async def _watch(self, transmitter: Transmitter) -> None:
        while True:
            await transmitter.check()
            await trio.sleep(POLL_S)

    async def _watch_laser(self, transmitter: Transmitter) -> None:
        while True:
            await transmitter.check_laser()
            await trio.sleep(LASER_POLL_S)

    async def _read(self, tagger: TimeTagger) -> None:
        while True:
            block = await tagger.read()
            self.n_tags += block.times_ps.size
            self.n_lost += block.lost


async def measure(
    labs: list[RunningLab], links: list[TrunkLink], key: bytes, seconds: float
) -> None:
    hosts = Hosts()
    async with trio.open_nursery() as nursery:
        for link in links:
            places = next(lab.places[link.name] for lab in labs if link.name in lab.places)
            await nursery.start(hosts.play, link, places, key)  # one by one, as a network starts
        await trio.sleep(SETTLE_S)
        before = [usage(lab.process.pid) for lab in labs]
        tags, lost, begin_s = hosts.n_tags, hosts.n_lost, trio.current_time()
        own_s = os.times()
        await trio.sleep(seconds)
        after = [usage(lab.process.pid) for lab in labs]
        n_tags, took_s = hosts.n_tags - tags, trio.current_time() - begin_s
        hosts_s = sum(os.times()[:2]) - sum(own_s[:2])
        n_lost = hosts.n_lost - lost
        nursery.cancel_scope.cancel()
    cpu_s = sum(b.cpu_s - a.cpu_s for a, b in zip(before, after, strict=True))
    loop_s = sum(b.loop_cpu_s - a.loop_cpu_s for a, b in zip(before, after, strict=True))
    ns = 1e9 * cpu_s / n_tags
    rate_hz = n_tags / took_s
    print(
        f"{len(links):3d} links, {len(labs)} processes: {rate_hz / 1e6:.3f} Mclick/s, "
        f"{ns:.1f} ns/click = {ns / GOAL_NS:.2f} of the goal's {GOAL_NS:.0f} ns; "
        f"{100 * cpu_s / took_s:.1f} % of a core ({100 * loop_s / cpu_s:.0f} % of it the loop), "
        f"{ns * TRUNK_HZ * 1e-7:.0f} % at 8.25 Mclick/s; "
        f"{sum(b.rss_mb for b in after):.0f} MB; hosts {1e9 * hosts_s / n_tags:.0f} ns/click, "
        f"{n_lost} blocks with loss",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--links", type=int, default=31)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--tick-ms", type=float, default=TICK_MS, help="of LAB.toml")
    parser.add_argument("--pty", action="store_true", help="TDC1 on a pty in place of TCP")
    options = parser.parse_args()
    head = f"tick_ms = {options.tick_ms}\n"
    transport = "pty:{name}" if options.pty else "tcp:127.0.0.1:0"
    links = [
        TrunkLink(f"link-{n:02d}", *TRUNK[n % len(TRUNK)], transport) for n in range(options.links)
    ]
    key = os.urandom(32)
    with ExitStack() as stack:
        labs = [
            stack.enter_context(laboratory(links[n :: options.processes], key, head))
            for n in range(options.processes)
        ]
        trio.run(measure, labs, links, key, options.seconds)


if __name__ == "__main__":
    main()
