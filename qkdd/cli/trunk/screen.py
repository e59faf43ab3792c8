"""The live view of a network: a line per link and per lane; hours of stock first."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qkdd.cli.top import LOW_HOURS, OUT_HOURS, STYLE
from qkdd.cli.trunk.processes import KindUsage
from qkdd.cli.trunk.watch import Watch, WatchedLink

WIDE_COLUMNS = 150
"""From here on the links stand in two columns."""


def screen(watch: Watch, usage: dict[str, KindUsage], now_s: float, columns: int) -> RenderableType:
    """Lay out what is known at ``now_s``."""
    links = list(watch.links.values())
    if columns >= WIDE_COLUMNS and len(links) > 1:
        half = -(-len(links) // 2)
        grid = Table.grid(padding=(0, 4))
        grid.add_row(_links(links[:half]), _links(links[half:]))
        body: RenderableType = grid
    else:
        body = _links(links)
    return Group(_head(watch, usage, now_s), body, _lanes(watch), *_reasons(links))


def _head(watch: Watch, usage: dict[str, KindUsage], now_s: float) -> Text:
    network = watch.network
    cpu_s = sum(kind.cpu_s for kind in usage.values())
    memory_mb = sum(kind.peak_mb for kind in usage.values())
    return Text(
        f"{network.network.name}   {now_s:.0f} s   relays {len(watch.relays_started_s)}/"
        f"{len(network.nodes)}   light {watch.n_lit}/{len(watch.links)}   processor "
        f"{cpu_s:.0f} s, memory {memory_mb:,.0f} MB"
    )


def _links(links: Sequence[WatchedLink]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stock", no_wrap=True, min_width=8)
    table.add_column("link", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=9)
    for title in ("key bit/s", "QBER", "blocks"):
        table.add_column(title, justify="right", no_wrap=True)
    for link in links:
        table.add_row(*_row(link))
    return table


def _row(link: WatchedLink) -> list[Text]:
    end = link.ends[1] or link.ends[0]
    hours = end.hours_of_stock if end else None
    stock = Text("-" if hours is None else f"{hours:.2f} h")
    if hours is not None and hours < LOW_HOURS:
        stock.stylize("red" if hours < OUT_HOURS else "yellow")
    rate = end.secret_bits_per_s if end else None
    qber = end.qber_calibration_key if end else None
    void = end.n_blocks_void if end else 0
    return [
        stock,
        Text(link.link.name),
        Text(link.state, style=STYLE.get(link.state, "red")),
        Text("-" if rate is None else f"{rate:,.0f}"),
        Text("-" if qber is None else f"{100 * qber:.2f} %"),
        Text(f"{len(link.blocks)}/{void}", style="red" if void else ""),
    ]


def _lanes(watch: Watch) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("lane", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("links", "READY", "void", "delivered", "missed", "unequal", "latency"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("last answer without a key")
    for name, lane in watch.lanes.items():
        tally = lane.tally
        latency = f"{1e3 * tally.latencies_s[-1]:.0f} ms" if tally.latencies_s else "-"
        table.add_row(
            name,
            Text(lane.state, style="green" if lane.state == "up" else "yellow"),
            str(lane.lane.lane.n_links),
            "-" if lane.n_ready is None else str(lane.n_ready),
            "-" if lane.n_void is None else str(lane.n_void),
            Text(str(tally.delivered), style="green" if tally.delivered else ""),
            Text(str(lane.missed), style="red" if lane.missed else ""),
            Text(str(tally.unequal), style="red" if tally.unequal else ""),
            latency,
            Text(tally.last_miss[:60], style="yellow"),
        )
    return table


def _reasons(links: Sequence[WatchedLink]) -> list[Text]:
    told = [(link.link.name, link.reason) for link in links if link.reason]
    return [Text(f"{name}: {reason}", style="yellow") for name, reason in told[:6]]
