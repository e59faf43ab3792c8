"""A site of real processes: a simulated laboratory and two relays, in a folder of their own."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from qkdd.cli.demo.files import (
    ALICE,
    BOB,
    LINK,
    Experiment,
    RelayFiles,
    write_lab,
    write_pki,
    write_relays,
)
from qkdd.cli.demo.processes import Child, ask_status, start, start_lab
from qkdd.cli.ports import lasting_ports
from qkdd.daemon.snapshot import LinkSnapshot, RelaySnapshot

SHORT_BLOCKS = "\n[links.light]\nramp_frames = [20]\n"
"""Blocks of 2 s, for every block of a run: the shortest round number that makes key at 50 km."""
UP = ("session", "dark", "searching", "light")
POLL_S = 0.05
START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 20.0

Resources = dict[str, str]
Ends = tuple[LinkSnapshot, LinkSnapshot]


def run_command(config: Path) -> list[str]:
    """What to give to Python, so that it runs the relay of ``config``."""
    return ["-P", "-m", "qkdd.cli", "run", str(config)]


@dataclass
class Site:
    """Two relays of one link, and their laboratory if there is one."""

    folder: Path
    relays: Mapping[str, RelayFiles]
    resources: Resources
    lab: Child | None
    children: dict[str, Child] = field(default_factory=dict)
    launch: dict[str, Callable[[Path], list[str]]] = field(default_factory=dict)
    """Another way than :func:`run_command` to start a relay."""

    def config(self, relay: str) -> Path:
        return self.relays[relay].config

    async def start(self, *relays: str) -> None:
        """Start the daemons of ``relays`` (default: both); they get ready in their own time."""
        for relay in relays or (BOB, ALICE):
            command = self.launch.get(relay, run_command)(self.config(relay))
            self.children[relay] = await start(relay, command, self.config(relay).parent)

    async def kill(self, relay: str) -> None:
        """End a daemon as a power cut would: SIGKILL."""
        child = self.children.pop(relay)
        child.process.kill()
        await child.process.wait()

    async def stop(self, relay: str) -> int:
        """Ask a daemon to stop, as systemd does; return its exit status."""
        child = self.children.pop(relay)
        child.process.send_signal(signal.SIGTERM)
        try:
            with trio.fail_after(END_TIMEOUT_S):
                return await child.process.wait()
        finally:
            await _end(child)

    async def link(self, relay: str) -> LinkSnapshot | None:
        """What the relay says of its link; None while it does not answer."""
        answer = await ask_status(self.config(relay).parent / "qkdd.sock")
        if answer is None:
            return None
        (link,) = msgspec.json.decode(answer, type=RelaySnapshot).links
        return link

    async def wait(
        self, what: str, condition: Callable[[LinkSnapshot, LinkSnapshot], bool], within_s: float
    ) -> Ends:
        """Wait until ``condition(Alice's snapshot, Bob's)`` holds; return the two snapshots."""
        alice = bob = None
        with trio.move_on_after(within_s):
            while True:
                self.all_live()
                alice, bob = await self.link(ALICE), await self.link(BOB)
                if alice is not None and bob is not None and condition(alice, bob):
                    return alice, bob
                await trio.sleep(POLL_S)
        raise AssertionError(f"not within {within_s:g} s: {what}; {alice}; {bob}")

    async def wait_alone(
        self, relay: str, condition: Callable[[LinkSnapshot], bool], within_s: float
    ) -> LinkSnapshot:
        """Wait until ``condition`` holds of one relay, whatever the other does."""
        link = None
        with trio.move_on_after(within_s):
            while True:
                self.all_live()
                link = await self.link(relay)
                if link is not None and condition(link):
                    return link
                await trio.sleep(POLL_S)
        raise AssertionError(f"{relay} is not so within {within_s:g} s: {link}")

    async def wait_up(self, within_s: float = START_TIMEOUT_S) -> Ends:
        """Wait until both relays have a session in which their stores agree."""
        return await self.wait("a session", lambda a, b: a.state in UP and b.state in UP, within_s)

    def all_live(self) -> None:
        """Raise ProcessDied, with the end of its log, if a process ended by itself."""
        for child in (*self.children.values(), *([self.lab] if self.lab else [])):
            child.check()

    async def end_lab(self) -> None:
        if self.lab is not None:
            lab, self.lab = self.lab, None
            await _end(lab)


@asynccontextmanager
async def open_site(
    folder: Path,
    *,
    lit: bool = True,
    km: float = 50.0,
    seed: int = 1,
    attack: tuple[str, float] | None = None,
    more: Mapping[str, str] | None = None,
    alter_lab: Callable[[str], str] = lambda text: text,
) -> AsyncIterator[Site]:
    """Write a site's files, start its laboratory if it is ``lit``, and end all that was started.

    ``more`` is TOML that goes behind a relay's configuration, in its one link. An unlit site's
    instruments are nowhere.
    """
    lab_file = write_lab(Experiment(folder, km, seed, attack))
    lab_file.write_text(alter_lab(lab_file.read_text()))
    write_pki(folder)
    lab, resources = None, nowhere(folder)
    if lit:
        lab, links = await start_lab(lab_file)
        resources = links[LINK]
    alice, bob = write_relays(folder, resources)
    for relay in (alice, bob):
        text = SHORT_BLOCKS + (more or {}).get(relay.name, "")
        relay.config.write_text(relay.config.read_text() + text)
    site = Site(folder, {ALICE: alice, BOB: bob}, resources, lab)
    try:
        yield site
    finally:
        with trio.CancelScope(shield=True):
            for child in site.children.values():
                await _end(child)
            await site.end_lab()


def nowhere(folder: Path) -> Resources:
    """Resource strings of instruments that are switched off."""
    attenuator, encoder, tagger = lasting_ports(3)
    return {
        "laser": f"serial:{folder / 'unplugged'}",
        "attenuator": f"TCPIP::127.0.0.1::{attenuator}::SOCKET",
        "encoder": f"tcp://127.0.0.1:{encoder}",
        "tagger": f"tcp://127.0.0.1:{tagger}",
    }


async def _end(child: Child) -> None:
    """End a process for sure, with whatever it has started."""
    if child.process.poll() is None:
        os.killpg(child.process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await child.process.wait()
        if child.process.stdout is not None:
            await child.process.stdout.aclose()
