"""Outages at random: a link goes dark, a relay is killed; and how the network comes back."""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from qkdd.base.errors import QkdError
from qkdd.cli.trunk.processes import Processes
from qkdd.cli.trunk.site import Site
from qkdd.cli.trunk.watch import Watch, WatchedLane, WatchedLink

KINDS = {"links": ("link",), "relays": ("relay",), "both": ("link", "relay")}
DARK_S, KILLED_S = 60.0, 30.0
PAUSE_S = (20.0, 40.0)
"""Between a recovery and the next outage, drawn at random."""
RECOVERY_TIMEOUT_S = 120.0
RECONNECT_S = 2.0
"""What applications of a killed relay have to find it again; their misses meanwhile are its own."""
STOCK_FACTOR = 1.5
"""The first outage waits until every lane has READY keys for so many of the longest."""
MAX_ANSWER_BYTES = 1 << 20


class Outage(msgspec.Struct, kw_only=True):
    """One outage; times are seconds since the repair, None for what did not come."""

    kind: str
    target: str
    began_s: float
    """Since the start of the run."""
    seconds: float
    lit_after_s: float | None = None
    """Until every link that was out has its light again."""
    block_after_light_s: float | None = None
    """From then until the last of these links has made key again."""
    lanes: int = 0
    """Lanes that cross what was out."""
    grown_after_light_s: float | None = None
    """From the light until the last of these lanes has new READY keys at both ends."""
    missed: int = 0
    """Refreshes missed from its beginning to its recovery, at applications whose relay lived."""
    lowest_ready: int | None = None
    """The fewest READY keys that a lane had left."""


class LabRefused(QkdError):
    """A laboratory does not do what it was told."""


class Chaos:
    """Brings one outage after another over a network, until cancelled."""

    def __init__(
        self, site: Site, processes: Processes, watch: Watch, kinds: str, seed: int
    ) -> None:
        self._site, self._processes, self._watch = site, processes, watch
        self._kinds = KINDS[kinds]
        self._dice = random.Random(seed)  # noqa: S311 which link, not which key
        self.outages: list[Outage] = []

    async def run(self, now_s: Callable[[], float], say: Callable[[str, float], None]) -> None:
        """Wait for stock, then break and repair without end."""
        need = STOCK_FACTOR * max(DARK_S, KILLED_S)
        lanes = self._watch.lanes.values()
        await self._watch.until(lambda: all(self._has_stock(lane, need) for lane in lanes))
        say("outages begin: every lane has stock", now_s())
        while True:
            await trio.sleep(self._dice.uniform(*PAUSE_S))
            kind = self._dice.choice(self._kinds)
            links = list(self._watch.links.values())
            link = self._dice.choice(links)
            node = self._dice.choice(self._site.network.nodes)
            target = link.link.name if kind == "link" else node
            seconds = DARK_S if kind == "link" else KILLED_S
            outage = Outage(kind=kind, target=target, began_s=now_s(), seconds=seconds)
            self.outages.append(outage)
            say(f"{kind} {target} is out for {seconds:g} s", now_s())
            out = [link] if kind == "link" else [x for x in links if node in x.link.ends]
            await self._one(outage, out)
            say(recovery(outage), now_s())

    @staticmethod
    def _has_stock(lane: WatchedLane, seconds: float) -> bool:
        return (lane.n_ready or 0) * lane.lane.lane.epoch_s >= seconds

    async def _one(self, outage: Outage, out: list[WatchedLink]) -> None:
        names = {link.link.name for link in out}
        lanes = [
            lane
            for lane in self._watch.lanes.values()
            if any(link.name in names for link in lane.lane.links)
        ]
        outage.lanes = len(lanes)
        missed = self._watch.n_missed
        if outage.kind == "link":
            await self._darken(outage.target, outage.seconds)
            await trio.sleep(outage.seconds)
        else:
            await self._kill(outage.target, outage.seconds)
        with trio.move_on_after(RECOVERY_TIMEOUT_S):
            await recover(outage, out, lanes, self._watch)
        outage.missed = self._watch.n_missed - missed

    async def _kill(self, node: str, seconds: float) -> None:
        """Kill a relay, and start it again after ``seconds``."""
        self._watch.dead.add(node)
        await self._processes.kill_relay(node)
        await trio.sleep(seconds)
        await self._processes.start_relay(node)
        await trio.sleep(RECONNECT_S)
        self._watch.dead.discard(node)

    async def _darken(self, link: str, seconds: float) -> None:
        """Cut the fibre of a link in its laboratory, as a digger would: no relay is told."""
        for path in self._site.folder.glob("lab-*/lab.toml"):
            if f'name = "{link}"' in path.read_text():
                await ask_lab(path, {"type": "dark", "link": link, "seconds": seconds})
                return
        raise LabRefused(f"no laboratory has link {link}")


async def recover(
    outage: Outage, out: list[WatchedLink], lanes: list[WatchedLane], watch: Watch
) -> None:
    """Watch links and lanes come back after the repair."""
    repaired_s = trio.current_time()
    blocks = [len(link.blocks) for link in out]
    newest = [lane.newest_ready or 0 for lane in lanes]
    await watch.until(lambda: all(link.state == "light" for link in out))
    lit_s = trio.current_time()
    outage.lit_after_s = round(lit_s - repaired_s, 1)
    outage.lowest_ready = min((lane.n_ready or 0 for lane in lanes), default=None)

    async def links_made_key() -> None:
        await watch.until(lambda: all(len(x.blocks) > n for x, n in zip(out, blocks, strict=True)))
        outage.block_after_light_s = round(trio.current_time() - lit_s, 1)

    async def lanes_grew() -> None:
        await watch.until(
            lambda: all((x.newest_ready or 0) > n for x, n in zip(lanes, newest, strict=True))
        )
        outage.grown_after_light_s = round(trio.current_time() - lit_s, 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(links_made_key)
        nursery.start_soon(lanes_grew)


async def ask_lab(lab: Path, order: dict[str, str | float]) -> None:
    """Give a laboratory's control socket one order (docs/lab.md)."""
    async with await trio.open_unix_socket(f"{lab}.control") as stream:
        await stream.send_all(msgspec.json.encode(order) + b"\n")
        text = bytearray()
        while len(text) < MAX_ANSWER_BYTES and (received := await stream.receive_some()):
            text += received
    answer = msgspec.json.decode(text)
    if "error" in answer:
        raise LabRefused(f"{lab}: {answer['error']}")


def recovery(outage: Outage) -> str:
    """Say how an outage ended."""

    def number(value: float | None) -> str:
        return f"{value:.1f} s" if value is not None else "not in time"

    return (
        f"{outage.kind} {outage.target} is back: light after {number(outage.lit_after_s)}, key "
        f"{number(outage.block_after_light_s)} later, {outage.lanes} lanes grow "
        f"{number(outage.grown_after_light_s)} later; {outage.missed} refreshes missed"
    )
