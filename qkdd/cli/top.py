"""``qkdd top``: a relay's links on one screen, live; hours of stock first."""

import time
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed
from qkdd.cli.status import ask
from qkdd.config import load
from qkdd.daemon.snapshot import LinkSnapshot, RelaySnapshot, read_snapshot

STYLE = {"light": "green", "searching": "yellow", "session": "yellow", "dark": "yellow"}
LANE_STYLE = {"up": "green", "waiting": "yellow"}
LOW_HOURS, OUT_HOURS = 2.0, 0.25
PIPED_COLUMNS = 200


@click.command(short_help="Show the links of a running relay, live.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--every",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600.0),
    help="Seconds from one screen to the next.",
)
@click.option("--once", is_flag=True, help="One screen, and out; so too if stdout is no terminal.")
def top(config: Path, *, every: float, once: bool) -> None:
    """Show the links of the relay of CONFIG until Ctrl-C.

    A relay that stops is waited for.
    Exit status: 0 shown, 1 (with --once) the relay does not answer, 2 usage.
    """
    try:
        path = load(config, files=False).node.status_socket
    except (ConfigError, OSError) as error:
        raise failed(error) from error
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_COLUMNS)
    if once or not console.is_terminal:
        answer = look(path)
        if isinstance(answer, str):
            raise click.ClickException(answer)
        console.print(screen(answer))
        return
    try:
        with Live(screen(look(path)), console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(screen(look(path)), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return


def look(path: Path) -> RelaySnapshot | str:
    """Ask the relay; what is wrong, if it does not answer."""
    try:
        return read_snapshot(ask(path))
    except OSError as error:
        return str(error)
    except msgspec.DecodeError as error:
        return f"the relay's answer is not to be read: {error}"


def screen(answer: RelaySnapshot | str) -> RenderableType:
    """Lay the snapshot out: a line per link, and its reason below where it has one."""
    if isinstance(answer, str):
        return Text(f"{answer}; asked again and again", style="red")
    head = Text(f"relay {answer.node}   pid {answer.pid}   up {_duration(answer.uptime_s)}   ")
    head.append(time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(answer.wall_s)))
    table = Table(box=None, pad_edge=False)
    for title, width in (("stock", 8), ("link", 12), ("state", 9)):
        table.add_column(title, no_wrap=True, min_width=width)
    for title in ("key bit/s", "clicks/s", "QBER key", "test", "blocks", "auth. key"):
        table.add_column(title, justify="right", no_wrap=True)
    for link in answer.links:
        table.add_row(*_row(link))
    reasons = [
        Text(f"{link.name}: {link.reason}", style="yellow") for link in answer.links if link.reason
    ]
    reasons += [
        Text(f"{link.name}: {link.detectors.state}: {link.detectors.reason}", style="red")
        for link in answer.links
        if link.detectors is not None and link.detectors.reason not in (None, link.reason)
    ]
    if not answer.lanes:
        return Group(head, table, *reasons)
    reasons += [
        Text(f"{lane.id}: {lane.reason}", style="yellow") for lane in answer.lanes if lane.reason
    ]
    return Group(head, table, Text(), _lanes(answer), *reasons)


def _lanes(answer: RelaySnapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    for title, width in (("ready", 8), ("lane", 12), ("state", 9)):
        table.add_column(title, no_wrap=True, min_width=width)
    for title in ("keys", "came", "missed", "void", "mismatch", "pads"):
        table.add_column(title, justify="right", no_wrap=True)
    for lane in answer.lanes:
        hours = lane.hours_ready
        stock = Text("-" if hours is None else f"{hours:.2f} h")
        if hours is not None and hours < LOW_HOURS:
            stock.stylize("red" if hours < OUT_HOURS else "yellow")
        numbers = (
            lane.n_ready,
            lane.n_came,
            lane.n_missed,
            lane.n_void,
            lane.n_mismatches,
            lane.n_pads,
        )
        table.add_row(
            stock,
            Text(f"{lane.id} {lane.route[0]} - {lane.route[-1]}"),
            Text(lane.state, style=LANE_STYLE.get(lane.state, "red")),
            *(Text("-" if number is None else f"{number}") for number in numbers),
        )
    return table


def _row(link: LinkSnapshot) -> list[Text]:
    hours, state = link.hours_of_stock, link.state
    stock = Text("-" if hours is None else f"{hours:.2f} h")
    if hours is not None and hours < LOW_HOURS:
        stock.stylize("red" if hours < OUT_HOURS else "yellow")
    arrow = "->" if link.role == "transmitter" else "<-"
    good = link.n_blocks - link.n_blocks_without_key
    plain = [
        _rate(link.secret_bits_per_s),
        _rate(link.click_rate),
        _share(link.qber_calibration_key),
        _share(link.qber_calibration_test),
        f"{good}/{link.n_blocks_without_key}/{link.n_blocks_void}",
        f"{link.auth_left_bits / 8192:.0f} KiB",
    ]
    return [
        stock,
        Text(f"{link.name} {arrow} {link.peer}"),
        Text(state, style=STYLE.get(state, "red")),
        *map(Text, plain),
    ]


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds) // 60 % 60, int(seconds) // 3600
    return f"{hours // 24} d {hours % 24:02}:{minutes:02}:{int(seconds) % 60:02}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
