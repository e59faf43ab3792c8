"""A whole lab: every link's bench and every source of noise behind its servers, in one time."""

import gc
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import trio

from drivers.sim.bench import (
    MAX_LAG_NS,
    AttenuatorPort,
    Bench,
    EncoderPort,
    LaserPort,
    TaggerPort,
    board_key,
)
from drivers.sim.cable import Cable
from drivers.sim.config import Lab, LabConfigError, Link, datalinks
from drivers.sim.config_optional import OneRNGConfig
from drivers.sim.control import (
    Answer,
    AttackOrder,
    ControlRefused,
    ControlSocket,
    DarkOrder,
    FaultOrder,
    KickOrder,
    Order,
)
from drivers.sim.mishaps import NoSuchFault, Server
from drivers.sim.noise import NOISE, NoiseBench
from drivers.sim.optics.link import link_seed
from drivers.sim.s15_tdc1 import TDC1
from drivers.sim.serve import Device, PtyServer, TcpServer
from drivers.sim.serve_zmq import RepServer

TICKS_A_STEP = 2
"""The model may be late by a tick before it needs more than one step."""
TICKS_OF_SHORT_LAG = 6
"""Within it the model catches up before a command acts; later the command came during a stall."""

Entropy = Callable[[int], bytes]
BYTES, TEXT = "tcp://{host}:{port}", "TCPIP::{host}::{port}::SOCKET"
ZEROMQ = "zmq://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Place:
    """One instrument where it listens."""

    link: str
    instrument: str
    resource: str
    server: Server


class RunningLab:
    """Benches and servers of a lab; everything listens as soon as this exists."""

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        *,
        entropy: Entropy,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        control: Path | None = None,
    ) -> None:
        self._clock_ns = clock_ns
        self._start_ns = clock_ns()
        self._tick_ns = round(lab.tick_ms * 1e6)
        self.benches: list[Bench] = []
        self.noises: list[NoiseBench] = []
        self.places: list[Place] = []
        self._flushed: dict[str, list[PtyServer | TcpServer]] = {}
        self._control: ControlSocket | None = None
        try:
            self._control = None if control is None else ControlSocket(control)
            for link in lab.links:
                self._set_up(link, lab.seed, folder, entropy)
            for source in lab.noise:
                self._set_up_noise(source, lab.seed, folder)
        except BaseException:
            self._take_down()
            raise

    def resources(self) -> dict[str, dict[str, str]]:
        """What a host opens, by link and instrument."""
        table: dict[str, dict[str, str]] = {}
        for place in self.places:
            table.setdefault(place.link, {})[place.instrument] = place.resource
        return table

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for place in self.places:
                    nursery.start_soon(place.server.run)
                if self._control is not None:
                    nursery.start_soon(self._control.run, self.obey)
                await self._keep_time()
        finally:
            self._take_down()

    def obey(self, order: Order) -> Answer:
        """Do what somebody at the control socket wants, from now on.

        Raises
        ------
        ControlRefused
            If there is no such link, instrument or fault; then nothing was done.
        """
        if isinstance(order, DarkOrder):
            for bench in self._chosen((order.link,)):
                self._catch_up(bench)
                bench.cut_fibre(round(order.seconds * 1e9))
        elif isinstance(order, AttackOrder):
            for bench in self._chosen(order.links):
                self._catch_up(bench)
                bench.attack = order.attack
        elif isinstance(order, KickOrder):
            for bench in self._chosen((order.link,)):
                self._catch_up(bench)
                bench.kick(order.turn_rad)
        elif isinstance(order, FaultOrder):
            self._break(order)
        return Answer(
            lab_s=self._now_ns() * 1e-9,
            cpu_s=time.process_time(),
            links=tuple(bench.done_to_it() for bench in self.benches),
        )

    def _break(self, order: FaultOrder) -> None:
        n_ns = round(order.seconds * 1e9)
        try:
            for noise in self.noises:
                if noise.name == order.link:
                    noise.mishaps.begin(order.instrument, order.fault, noise.now_ns, n_ns)
                    return
            for bench in self._chosen((order.link,)):
                self._catch_up(bench)
                bench.mishaps.begin(order.instrument, order.fault, bench.now_ns, n_ns)
        except NoSuchFault as error:
            raise ControlRefused(str(error)) from error

    def _chosen(self, names: tuple[str, ...]) -> list[Bench]:
        known = {bench.name: bench for bench in self.benches}
        if unknown := [name for name in names if name not in known]:
            raise ControlRefused(f"no link {unknown[0]!r} here; there are {', '.join(known)}")
        return [known[name] for name in names] or self.benches

    def _present_ns(self, bench: Bench) -> int:
        """When a command to this bench acts."""
        now_ns = self._now_ns()
        is_late = now_ns - bench.now_ns > TICKS_OF_SHORT_LAG * self._tick_ns
        return bench.now_ns if is_late else now_ns

    def _catch_up(self, bench: Bench) -> None:
        bench.catch_up(self._present_ns(bench))

    async def _keep_time(self) -> None:
        deadline = trio.current_time()
        while True:
            for bench in self.benches:
                await self._follow(bench)
            for noise in self.noises:
                noise.advance(self._now_ns())
                self._flush(noise.name)
            deadline = max(deadline + self._tick_ns * 1e-9, trio.current_time())
            await trio.sleep_until(deadline)

    async def _follow(self, bench: Bench) -> None:
        """Bring a bench to the present; after a stall step by step, so that hosts can read."""
        lag_ns = self._now_ns() - bench.now_ns
        if lag_ns > MAX_LAG_NS:
            print(  # noqa: T201 the lab's only way to be heard
                f"link {bench.name}: stalled for {lag_ns * 1e-9:.1f} s, which passed in the dark",
                file=sys.stderr,
                flush=True,
            )
            bench.skip_to(self._now_ns())
        bench.mishaps.advance(bench.now_ns)
        while bench.now_ns < (now_ns := self._now_ns()):
            step_ns = bench.longest_step_ns
            behind = now_ns - bench.now_ns > step_ns
            bench.step(min(now_ns, bench.now_ns + step_ns))
            self._flush(bench.name)
            if not behind:
                return
            await trio.lowlevel.checkpoint()

    def _flush(self, link: str) -> None:
        for server in self._flushed[link]:
            server.flush()

    def _now_ns(self) -> int:
        return self._clock_ns() - self._start_ns

    def _set_up(self, link: Link, seed: int, folder: Path, entropy: Entropy) -> None:
        instruments = link.instruments
        key = board_key(instruments.encoder, folder)
        bench = Bench(
            link,
            seed=seed,
            key=key,
            entropy=entropy,
            start_unix_s=time.time(),
            step_ns=TICKS_A_STEP * self._tick_ns,
        )
        self.benches.append(bench)
        self._flushed[link.name] = []

        catch_up = partial(self._catch_up, bench)
        dice = np.random.Generator(np.random.Philox(link_seed(seed, link.name + "/wire")))

        def put(
            instrument: str,
            listen: str,
            resource: str,
            serve: Callable[[], Server],
            cable: Cable | None = None,
        ) -> None:
            server = self._serve(link.name, instrument, listen, resource, serve)
            bench.take_care_of(instrument, server, cable)

        def wire(instrument: str, listen: str, port: Device, resource: str = BYTES) -> None:
            cable = Cable(port, dice)
            put(instrument, listen, resource, partial(server_of, listen, cable, folder), cable)

        wire("laser", instruments.laser.listen, LaserPort(bench, catch_up))
        wire("attenuator", instruments.attenuator.listen, AttenuatorPort(bench, catch_up), TEXT)
        wire(
            "encoder",
            instruments.encoder.listen,
            EncoderPort(bench, catch_up, partial(self._present_ns, bench)),
        )
        for instrument, listen, port, is_text in bench.optional.outlets:
            port.catch_up = catch_up
            wire(instrument, listen, port, TEXT if is_text else BYTES)
        tagger, config = bench.tagger, instruments.tagger
        if isinstance(tagger, TDC1):
            wire("tagger", config.listen, TaggerPort(tagger, catch_up))
            return
        put("tagger", config.listen, ZEROMQ, partial(tagger.serve_device, catch_up))
        for listen in datalinks(config):
            put("datalink", listen, ZEROMQ, partial(tagger.serve_datalink, catch_up))

    def _serve(
        self, name: str, instrument: str, listen: str, resource: str, serve: Callable[[], Server]
    ) -> Server:
        """Serve an instrument of the link, or the source, of this name."""
        try:
            server = serve()
        except OSError as error:
            why = f"{name} {instrument}: cannot listen on {listen}: {error}"
            raise LabConfigError(why) from error
        self.places.append(Place(name, instrument, resource_of(server, resource), server))
        if not isinstance(server, RepServer):  # whose answers leave at once
            self._flushed[name].append(server)
        return server

    def _set_up_noise(self, config: OneRNGConfig, seed: int, folder: Path) -> None:
        noise = NoiseBench(config, seed=seed)
        self.noises.append(noise)
        self._flushed[noise.name] = []
        serve = partial(server_of, config.listen, noise.cable, folder)
        noise.take_care_of(self._serve(noise.name, NOISE, config.listen, BYTES, serve))

    def _take_down(self) -> None:
        if self._control is not None:
            self._control.close()
        for place in self.places:
            place.server.unplug()


def server_of(listen: str, device: Device, folder: Path) -> Server:
    """The server of a ``pty:SYMLINK`` or ``tcp:HOST:PORT``."""
    kind, _, where = listen.partition(":")
    if kind == "pty":
        return PtyServer(device, (folder / where).absolute())
    host, _, port = where.rpartition(":")
    return TcpServer(device, host, int(port))


def resource_of(server: Server, form: str) -> str:
    """How a host names what it opens."""
    if isinstance(server, PtyServer):
        return f"serial:{server.path}"
    host, port = server.address
    return form.format(host=host, port=port)


async def serve_lab(
    lab: Lab,
    folder: Path,
    *,
    entropy: Entropy,
    ready: Callable[[dict[str, dict[str, str]]], None],
    control: Path | None = None,
    stop_at: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """Serve ``lab`` until one of the signals comes; ``ready`` hears when everything listens."""
    with trio.open_signal_receiver(*stop_at) as signals:
        running = RunningLab(lab, folder, entropy=entropy, control=control)
        gc.collect()
        gc.freeze()  # modules and benches stay: nobody need look through them again
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            ready(running.resources())
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return
