"""What a person sees of a network that runs: a live screen on a terminal, lines otherwise."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from qkdd.cli.trunk.chaos import recovery
from qkdd.cli.trunk.processes import KindUsage
from qkdd.cli.trunk.screen import screen
from qkdd.cli.trunk.summary import Summary
from qkdd.cli.trunk.watch import Watch

LINE_EVERY_S = 10.0


class Teller:
    """Says what happens; stdout stays free for the summary if that is wanted as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
        self._live: Live | None = None
        self._next_line_s = 0.0

    def say(self, text: str, now_s: float | None = None) -> None:
        stamp = "        " if now_s is None else f"{now_s:7.1f}s"
        self._console.print(f"{stamp} {text}", markup=False, soft_wrap=True)

    @contextmanager
    def screen(self) -> Iterator[None]:
        """Own the terminal, if there is one; lines said meanwhile stand above the screen."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def show(self, watch: Watch, usage: dict[str, KindUsage], now_s: float) -> None:
        if self._live is not None:
            self._live.update(screen(watch, usage, now_s, self._console.width), refresh=True)
        elif now_s >= self._next_line_s:
            self._next_line_s = now_s + LINE_EVERY_S
            self.say(_line(watch, usage), now_s)

    def summary(self, summary: Summary, watch: Watch, usage: dict[str, KindUsage]) -> None:
        width = self._console.width if self._console.is_terminal else 160
        console = Console(file=self._console.file, highlight=False, width=width)
        console.print(screen(watch, usage, summary.seconds, width))
        for line in _verdict(summary):
            console.print(line, markup=False, soft_wrap=True)


def _line(watch: Watch, usage: dict[str, KindUsage]) -> str:
    tallies = [lane.tally for lane in watch.lanes.values()]
    n_ready = sum(bool(lane.n_ready) for lane in watch.lanes.values())
    return (
        f"relays {len(watch.relays_started_s)}/{len(watch.network.nodes)}, light {watch.n_lit}/"
        f"{len(watch.links)}, links with key {watch.n_with_key}, lanes READY {n_ready}/"
        f"{len(watch.lanes)}, keys "
        f"{sum(t.delivered for t in tallies)} delivered, {sum(t.missed for t in tallies)} missed, "
        f"{sum(t.unequal for t in tallies)} unequal; "
        + ", ".join(f"{kind} {used.cpu_s:.0f} s CPU" for kind, used in usage.items())
    )


def _verdict(summary: Summary) -> Iterator[str]:
    def number(value: float | None, form: str = ".1f") -> str:
        return "-" if value is None else format(value, form)

    yield "ok" if summary.ok else f"FAILED: {summary.reason}"
    yield (
        f"keys      {summary.keys_delivered} delivered, {summary.keys_missed} missed, "
        f"{summary.keys_unequal} unequal, {summary.keys_twice} twice; first after "
        f"{number(summary.first_key_s)} s"
    )
    rates = [link.secret_bits_per_s for link in summary.links if link.secret_bits_per_s]
    yield (
        f"links     {summary.links_at_goal} of {len(summary.links)} at their goal, slowest "
        f"{number(min(rates, default=None), '.0f')} bit/s; relays up after "
        f"{number(summary.start_s)} s, all light after {number(summary.all_lit_s)} s"
    )
    for outage in summary.outages:
        yield f"outage    {outage.began_s:.0f} s: {recovery(outage)}"
    yield "cost      " + ", ".join(
        f"{used.processes} {kind}: {used.cpu_s:.1f} s CPU, {used.peak_mb:.0f} MB"
        for kind, used in summary.usage.items()
    )
