"""The processes of a simulated network: laboratories, relays, applications; staged, measured."""

import resource
import time
from collections import defaultdict
from pathlib import Path

import msgspec
import trio

from qkdd.cli.demo.processes import Child, ProcessDied, ask_status, start, start_lab
from qkdd.cli.trunk.application import Errand, Tally
from qkdd.cli.trunk.share import are_many, be_nice, relay_nice
from qkdd.cli.trunk.site import Site

RELAYS_AT_ONCE = 3
"""So many relays load their code at the same time: more would only take turns on few cores."""
RELAY_START_TIMEOUT_S = 60.0
READ_BYTES = 65_536
MODULE = ["-P", "-m"]


class KindUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes of a kind have used together."""

    processes: int
    cpu_s: float
    peak_mb: float
    """Sum of each one's highest resident memory; what they share counts in each."""


class Processes:
    """Everything that runs for a network. ``stop`` ends it, the light of every relay first."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.labs: list[Child] = []
        self.relays: dict[str, Child] = {}
        self.applications: Child | None = None
        self._gone: dict[str, list[Child]] = defaultdict(list)
        """Processes that ended on purpose, whose cost counts."""

    async def start_labs(self, n_labs: int) -> dict[str, dict[str, str]]:
        """Start the laboratories; return link -> instrument -> resource string."""
        resources: dict[str, dict[str, str]] = {}

        async def one(number: int) -> None:
            child, here = await start_lab(self._site.lab(number), f"lab-{number}")
            self.labs.append(child)
            resources.update(here)

        async with trio.open_nursery() as nursery:
            for number in range(n_labs):
                nursery.start_soon(one, number)
        return resources

    async def start_relays(self, started: "trio.MemorySendChannel[str]") -> None:
        """Start every relay, a few at a time, from the last of the file to the first.

        The receiving end of a link listens; light mostly goes from earlier nodes to later ones, and
        so a relay that dials finds its neighbour there.
        """
        limit = trio.CapacityLimiter(RELAYS_AT_ONCE)

        async def one(node: str) -> None:
            async with limit:
                await self.start_relay(node)
                await started.send(node)

        async with started, trio.open_nursery() as nursery:
            for node in reversed(self._site.network.nodes):
                nursery.start_soon(one, node)
                await trio.lowlevel.checkpoint()

    async def start_relay(self, node: str) -> None:
        """Start one relay, and wait until it answers."""
        config = self._site.config(node)
        self._site.status_socket(node).unlink(missing_ok=True)
        shares = len(self._site.network.nodes), len(self.labs)
        command = [*MODULE, "qkdd.cli", "run", str(config)]
        child = await start(node, command, config.parent, own_session=not are_many(*shares))
        self.relays[node] = child
        with trio.move_on_after(RELAY_START_TIMEOUT_S):
            while await ask_status(self._site.status_socket(node)) is None:
                child.check()
                await trio.sleep(0.1)
            be_nice(child.process.pid, relay_nice(*shares))
            return
        raise ProcessDied(f"{node} did not answer within {RELAY_START_TIMEOUT_S:g} s")

    async def kill_relay(self, node: str) -> None:
        """Kill a relay as a power cut would (-9)."""
        child = self.relays.pop(node)
        child.measure()
        child.process.kill()
        await child.process.wait()
        self._gone["relays"].append(child)

    async def start_applications(self, errand: Errand) -> None:
        folder = self._site.folder / "applications"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "errand.json"
        path.write_bytes(msgspec.json.encode(errand))
        command = [*MODULE, "qkdd.cli.trunk.application", str(path)]
        self.applications = await start("applications", command, folder, piped=True)

    async def hear(self, told: "trio.MemorySendChannel[list[Tally]]") -> None:
        """Pass on what the applications tell, until they end."""
        assert self.applications is not None
        assert self.applications.process.stdout is not None
        text = bytearray()
        async with told:
            while received := await self.applications.process.stdout.receive_some(READ_BYTES):
                text += received
                *lines, rest = text.split(b"\n")
                text = bytearray(rest)
                for line in lines:
                    await told.send(msgspec.json.decode(line, type=list[Tally]))

    def check(self) -> None:
        """Raise ProcessDied if a process ended that should live."""
        for child in self._living():
            child.check()

    def measure(self) -> dict[str, KindUsage]:
        kinds = {
            "relays": list(self.relays.values()),
            "laboratories": self.labs,
            "applications": [self.applications] if self.applications else [],
        }
        for child in self._living():
            child.measure()
        used = {
            kind: KindUsage(
                processes=len(children),
                cpu_s=round(sum(c.usage.cpu_s for c in [*children, *self._gone[kind]]), 2),
                peak_mb=round(sum(c.usage.rss_mb for c in children), 1),
            )
            for kind, children in kinds.items()
        }
        return used | {"this command": _own_usage()}

    async def stop(self, *, keep: bool) -> None:
        """End applications, then relays (each its light first), then laboratories.

        With ``keep`` only the applications end.
        """
        groups = [[self.applications] if self.applications else []]
        if not keep:
            groups += [list(self.relays.values()), self.labs]
        for group in groups:
            async with trio.open_nursery() as nursery:
                for child in group:
                    nursery.start_soon(child.stop)

    def log_of(self, node: str) -> Path:
        return self._site.config(node).with_name(f"{node}.log")

    def _living(self) -> list[Child]:
        applications = [self.applications] if self.applications else []
        return [*self.labs, *self.relays.values(), *applications]


def _own_usage() -> KindUsage:
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return KindUsage(
        processes=1, cpu_s=round(time.process_time(), 2), peak_mb=round(peak_kb / 1024, 1)
    )
