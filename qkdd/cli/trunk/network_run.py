"""One run of a network: start it in stages, follow it, stop it, light first."""

import signal

import msgspec
import trio

from qkdd.cli.demo.processes import ProcessDied, ask_status
from qkdd.cli.trunk.application import End, Errand, Pair, Tally
from qkdd.cli.trunk.chaos import Chaos
from qkdd.cli.trunk.lab_files import write_lab
from qkdd.cli.trunk.pre_shared import install_pre_shared
from qkdd.cli.trunk.processes import Processes
from qkdd.cli.trunk.relay_files import write_relay
from qkdd.cli.trunk.site import Site, spread, write_secrets
from qkdd.cli.trunk.summary import Summary, summarise
from qkdd.cli.trunk.telling import Teller
from qkdd.cli.trunk.watch import Watch
from qkdd.daemon.snapshot import RelaySnapshot, read_snapshot
from qkdd.daemon.supervise import reasons

POLL_S = 1.0
RELAYS_PER_POLL = 8
"""A snapshot costs a relay and us a millisecond each: of many relays they are taken less often."""
STATUS_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 30.0
TALLIES_AT_ONCE = 4
"""The applications tell once a second, and a busy machine may be late to listen."""


class NetworkRun:
    """Starts, follows and stops one network."""

    def __init__(
        self,
        site: Site,
        teller: Teller,
        seconds: float,
        *,
        n_labs: int,
        keep: bool,
        chaos: str | None = None,
        chaos_seed: int = 1,
    ) -> None:
        self._site = site
        self._teller = teller
        self._seconds = seconds
        self._labs = spread(site.network.links, n_labs)
        self._keep = keep
        self._processes = Processes(site)
        self._started_s = 0.0
        self._signalled = False
        self.watch = Watch(site.network)
        self._chaos = chaos and Chaos(site, self._processes, self.watch, chaos, chaos_seed)

    async def run(self) -> Summary:
        reason = None
        try:
            with self._teller.screen():
                await self._prepare()
                self._started_s = trio.current_time()
                try:
                    with trio.move_on_after(self._seconds):
                        await self._live()
                except* ProcessDied as died:
                    reason = "; ".join(reasons(died))
            usage = self._processes.measure()
            if self._signalled:
                reason = f"stopped by a signal after {self._now_s():.0f} s"
            outages = self._chaos.outages if self._chaos else ()
            end_s = self._now_s()
            return summarise(self.watch, usage, end_s=end_s, reason=reason, outages=outages)
        finally:
            with trio.move_on_after(STOP_TIMEOUT_S, shield=True):
                await self._processes.stop(keep=self._keep)

    def _now_s(self) -> float:
        return trio.current_time() - self._started_s

    async def _prepare(self) -> None:
        """Write every file, lay in the pre-shared keys, and start the laboratories."""
        network = self._site.network
        self._teller.say(f"everything is in {self._site.folder}")
        write_secrets(self._site, self._labs)
        for number, links in enumerate(self._labs):
            write_lab(self._site, number, links)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, install_pre_shared, self._site)
            resources = await self._processes.start_labs(len(self._labs))
        for node in network.nodes:
            write_relay(self._site, node, resources)
        self._teller.say(
            f"{len(self._labs)} laboratories ready: {len(network.links)} links; "
            f"{len(network.nodes)} relays start"
        )

    async def _live(self) -> None:
        """Start the relays and applications, and follow them until cancelled."""
        told_in, told_out = trio.open_memory_channel[list[Tally]](TALLIES_AT_ONCE)
        up_in, up_out = trio.open_memory_channel[str](len(self._site.network.nodes))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_signal, nursery.cancel_scope)
            nursery.start_soon(self._processes.start_relays, up_in)
            nursery.start_soon(self._poll)
            async for node in up_out:
                self.watch.relays_started_s[node] = self._now_s()
            self._teller.say("every relay answers", self._now_s())
            if self._chaos:
                nursery.start_soon(self._chaos.run, self._now_s, self._teller.say)
            if self._site.network.lanes:
                await self._processes.start_applications(self._errand())
                nursery.start_soon(self._processes.hear, told_in)
                async for tallies in told_out:
                    self._hear(tallies)

    async def _until_signal(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self._signalled = True
                scope.cancel()

    async def _poll(self) -> None:
        """Follow every relay's status, and see that every process lives."""
        while True:
            for node in list(self.watch.relays_started_s):  # more come while we ask
                self.watch.relay(node, await self._ask(node), self._now_s())
            self.watch.news()
            self._processes.check()
            self._teller.show(self.watch, self._processes.measure(), self._now_s())
            await trio.sleep(POLL_S * max(1.0, len(self._site.network.nodes) / RELAYS_PER_POLL))

    async def _ask(self, node: str) -> RelaySnapshot | None:
        """Ask a relay how it is; None if it does not say so in time, or is killed meanwhile."""
        with trio.move_on_after(STATUS_TIMEOUT_S):
            try:
                answer = await ask_status(self._site.status_socket(node))
                return read_snapshot(answer) if answer else None
            except (trio.BrokenResourceError, msgspec.DecodeError):
                return None
        return None

    def _hear(self, tallies: list[Tally]) -> None:
        waited = {name for name, lane in self.watch.lanes.items() if lane.first_key_s is None}
        self.watch.told(tallies, self._now_s())
        for name in sorted(waited):
            if self.watch.lanes[name].first_key_s is not None:
                self._teller.say(f"lane {name}: first key at both applications", self._now_s())

    def _errand(self) -> Errand:
        ports = self._site.delivery_ports
        return Errand(
            pki=str(self._site.folder / "pki"),
            pairs=tuple(
                Pair(
                    lane=lane.lane.id,
                    period_s=float(lane.lane.epoch_s),
                    begin_with_s=self._site.network.network.applications.begin_with_s,
                    first=End(sae=lane.saes[0], port=ports[lane.lane.route[0]]),
                    last=End(sae=lane.saes[1], port=ports[lane.lane.route[-1]]),
                )
                for lane in self._site.network.lanes
            ),
        )
