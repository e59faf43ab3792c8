"""``qkdd demo``: two relays and a simulated link, from darkness to a key a second."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
import trio

from qkdd.base.errors import QkdError
from qkdd.base.light import LightPlan
from qkdd.cli import run_options
from qkdd.cli.demo.files import (
    LINK,
    Experiment,
    RelayFiles,
    private_file,
    write_lab,
    write_pki,
    write_relays,
)
from qkdd.cli.demo.processes import Child, ProcessDied, ask_status, start, start_lab
from qkdd.cli.demo.refresh import Refresher
from qkdd.cli.demo.summary import Summary, Watch, summarise
from qkdd.cli.demo.telling import Teller
from qkdd.daemon.snapshot import LinkSnapshot, read_snapshot

POLL_S = 0.25
ATTACKS = ("intercept-resend",)


class AttackType(click.ParamType[tuple[str, float]]):
    """``KIND`` or ``KIND:FRACTION``."""

    name = "attack"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        kind, _, text = str(value).partition(":")
        if kind not in ATTACKS:
            self.fail(f"{kind!r} is not one of {', '.join(ATTACKS)}", param, ctx)
        try:
            fraction = float(text) if text else 1.0
        except ValueError:
            self.fail(f"fraction {text!r} is not a number", param, ctx)
        if not 0 <= fraction <= 1:
            self.fail(f"fraction {fraction} is not within 0 to 1", param, ctx)
        return kind, fraction


@click.command(short_help="Run two relays and a simulated link on this machine.")
@run_options.seconds
@click.option(
    "--km",
    default=50.0,
    show_default=True,
    type=click.FloatRange(0, 300),
    help="Length of the fibre.",
)
@click.option(
    "--pulse-mhz",
    default=100.0,
    show_default=True,
    type=click.FloatRange(1, 150),
    help="Pulse rate of the link.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0, 2**63 - 1),
    help="Of the simulated laboratory.",
)
@click.option("--attack", type=AttackType(), help="intercept-resend[:FRACTION of the pulses]")
@run_options.folder
@click.option("--keep", is_flag=True, help="Leave everything running at the end.")
@run_options.as_json
def demo(
    seconds: float,
    km: float,
    pulse_mhz: float,
    seed: int,
    attack: tuple[str, float] | None,
    folder: Path | None,
    *,
    keep: bool,
    as_json: bool,
) -> None:
    """Run two relays over one simulated quantum link and compare a key a second.

    The light is simulated at the instruments' own wire protocols; the two relays are ordinary
    daemons that cannot tell. Distance, seed and attack reach the simulated laboratory only.
    Exit status: 0 every key after the first came in its second and was equal at both relays,
    1 otherwise (the reason is in the summary), 2 usage.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="qkdd-demo-"))
    experiment = Experiment(place.resolve(), km, seed, attack, round(1e6 * pulse_mhz))
    teller = Teller(to_stderr=as_json)
    try:
        summary = trio.run(Demo(experiment, teller, seconds, keep=keep).run)
    except* (QkdError, OSError) as errors:
        raise click.ClickException("; ".join(str(one) for one in errors.exceptions)) from errors
    if as_json:
        click.echo(msgspec.json.encode(summary))
    else:
        teller.summary(summary)
    if not summary.ok:
        raise SystemExit(1)


@dataclass(slots=True)
class Relays:
    alice: RelayFiles
    bob: RelayFiles


class Demo:
    """One run of the demonstration."""

    def __init__(
        self, experiment: Experiment, teller: Teller, seconds: float, *, keep: bool
    ) -> None:
        self._experiment = experiment
        self._teller = teller
        self._seconds = seconds
        self._keep = keep
        self._children: list[Child] = []
        plan = LightPlan()
        full_s = plan.ramp_frames[-1] * plan.frame_pulses / experiment.pulse_rate_hz
        self._watch = Watch(full_s)
        self._started_s = 0.0

    async def run(self) -> Summary:
        try:
            relays = await self._start()
            return await self._watch_it(relays)
        finally:
            if not self._keep:
                with trio.CancelScope(shield=True):
                    for child in reversed(self._children):
                        await child.stop()

    async def _start(self) -> Relays:
        folder = self._experiment.folder
        self._teller.say(f"everything is in {folder}")
        lab_file = write_lab(self._experiment)
        write_pki(folder)
        lab, resources = await start_lab(lab_file)
        self._children.append(lab)
        self._teller.say("laboratory ready: laser, attenuator, encoder, time tagger")
        alice, bob = write_relays(folder, resources[LINK], self._experiment.pulse_rate_hz)
        psk = os.urandom(64 * 1024)
        for relay in (alice, bob):
            private_file(folder / relay.name / "link.psk", psk)
            await self._command("psk", "install", str(relay.config), LINK, "link.psk")
        for relay in (bob, alice):
            command = ["-P", "-m", "qkdd.cli", "run", str(relay.config)]
            self._children.append(await start(relay.name, command, relay.config.parent))
        self._started_s = trio.current_time()
        return Relays(alice, bob)

    async def _command(self, *arguments: str) -> None:
        folder = Path(arguments[2]).parent
        child = await start("psk", ["-P", "-m", "qkdd.cli", *arguments], folder)
        await child.process.wait()
        if child.process.returncode:
            child.check()

    async def _watch_it(self, relays: Relays) -> Summary:
        refresher = Refresher(self._experiment.folder, relays.alice, relays.bob, os.urandom(32))
        reason = None
        try:
            with trio.move_on_after(self._seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._poll, relays)
                    nursery.start_soon(self._refresh, refresher)
        except* ProcessDied as died:
            reason = str(died.exceptions[0])
        finally:
            with trio.CancelScope(shield=True):
                await refresher.close()
        for child in self._children:
            child.measure()
        return summarise(
            self._watch,
            refresher.refreshes,
            self._children,
            km=self._experiment.km,
            end_s=self._now_s(),
            reason=reason,
        )

    def _now_s(self) -> float:
        return trio.current_time() - self._started_s

    async def _poll(self, relays: Relays) -> None:
        """Follow both relays' status, and see that every process lives."""
        while True:
            ends = [await self._link(relay) for relay in (relays.alice, relays.bob)]
            self._teller.links(ends, self._now_s())
            if block := self._watch.see(ends, self._now_s()):
                self._teller.block(block, self._now_s())
            for child in self._children:
                child.check()
                child.measure()
            await trio.sleep(POLL_S)

    @staticmethod
    async def _link(relay: RelayFiles) -> LinkSnapshot | None:
        answer = await ask_status(relay.config.parent / "qkdd.sock")
        if answer is None:
            return None
        return read_snapshot(answer).links[0]

    async def _refresh(self, refresher: Refresher) -> None:
        """Ask for a key once a second; before the first one, failing is no miss."""
        second_s = trio.current_time()
        while True:
            in_time = await refresher.once()
            if self._watch.first_key_s is None:
                refresher.refreshes.missed = 0
                if in_time:
                    self._watch.first_key_s = self._now_s()
                    self._teller.say("first key at both applications", self._now_s())
            if self._watch.first_key_s is not None:
                self._teller.key(refresher.refreshes)
            second_s += 1.0
            await trio.sleep_until(second_s)
