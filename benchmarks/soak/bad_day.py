"""A kind of bad day, and the scene on which it is played."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from benchmarks.soak.eyes import RELAYS, Eyes
from drivers.sim.control import Answer, Order, ask
from qkdd.cli.demo.files import LINK
from qkdd.cli.demo.processes import start_lab
from tests.chaos.bad_host import BadHost
from tests.chaos.proxy import ChaosProxy
from tests.whole.applications import Applications
from tests.whole.site import Site

WITH_RELOCK_S, WITHOUT_RELOCK_S = 30.0, 10.0


class WentWrong(Exception):
    """A bad day showed something that must not be."""


@dataclass
class Scene:
    """What a bad day can lay hands on. ``dice`` decide all that is left open."""

    site: Site
    apps: Applications
    eyes: Eyes
    proxy: ChaosProxy
    hosts: dict[str, BadHost]
    dice: random.Random
    checks: list[Callable[[], str | None]] = field(default_factory=list)
    """What a bad day wants to be looked at when the link has recovered; they say what is wrong."""

    @property
    def lab_file(self) -> Path:
        return self.site.folder / "lab" / "lab.toml"

    async def order(self, order: Order) -> Answer:
        """Have the hand in the laboratory do something."""
        return await trio.to_thread.run_sync(ask, self.lab_file, order)

    async def start_lab(self) -> None:
        """Start a laboratory where the old one was, once that is gone."""
        self.site.lab, links = await start_lab(self.lab_file)
        assert links[LINK] == self.site.resources

    def relay(self) -> str:
        return self.dice.choice(RELAYS)

    async def last(self, shortest_s: float, longest_s: float) -> float:
        """Let a bad day go on for some time; return how long it was."""
        seconds = self.dice.uniform(shortest_s, longest_s)
        await trio.sleep(seconds)
        return seconds


Act = Callable[[Scene], Awaitable[str]]


@dataclass(frozen=True)
class Kind:
    """``act`` begins a bad day, ends it, and says what exactly it was."""

    name: str
    act: Act
    keeps_light: bool = False
    """No re-lock is needed: loss of light is a failure, and the time to recover is shorter."""

    @property
    def limit_s(self) -> float:
        return WITHOUT_RELOCK_S if self.keeps_light else WITH_RELOCK_S
