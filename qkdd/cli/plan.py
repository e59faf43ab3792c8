"""``qkdd plan``: whether a network works on paper, before anything is bought or started."""

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed
from qkdd.network.laid_out import lay_out
from qkdd.network.plan import LanePlan, LinkPlan, Plan, plan_network
from qkdd.network.read import load

PIPED_COLUMNS = 160


@click.command(short_help="Reckon a whole network through on paper.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The whole plan as one JSON object.")
def plan(file: Path, *, as_json: bool) -> None:
    """Reckon the network of FILE through: key of every link, budget of every lane, stock, cost.

    Expected counts go through the same proof of security that the relays use. Nothing is started.
    Exit status: 0 the plan holds, 1 it does not (every reason is named) or FILE has mistakes,
    2 usage.
    """
    try:
        result = plan_network(lay_out(load(file)))
    except ConfigError as error:
        raise failed(error) from error
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        tell(result)
    if not result.ok:
        raise SystemExit(1)


def tell(result: Plan) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_COLUMNS)
    console.print(
        f"{result.name}: {result.nodes} nodes, {len(result.links)} links, {result.km:g} km; "
        f"{result.clicks_per_s / 1e6:.2f} million clicks a second, "
        f"{result.cores:.1f} processor cores if all of it runs on one machine",
    )
    console.print(links_table(result.links))
    if result.lanes:
        console.print(lanes_table(result.lanes))
    for line in result.missing:
        console.print(f"missing: {line}", markup=False, soft_wrap=True)
    console.print("the plan holds" if result.ok else "the plan does not hold")


def links_table(links: tuple[LinkPlan, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("link", no_wrap=True)
    for title in ("km", "dB", "MHz", "clicks/s", "QBER", "phi", "key bit/s", "lanes", "spare"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("tagger", no_wrap=True)
    for link in links:
        table.add_row(
            link.name,
            f"{link.km:g}",
            f"{link.loss_db:.1f}",
            f"{link.pulse_rate_mhz:g}",
            f"{link.clicks_per_s:,.0f}",
            f"{100 * link.qber:.2f} %",
            f"{100 * link.phase_error_bound:.2f} %",
            f"{link.secret_bits_per_s:,.0f}",
            f"{link.lanes_bits_per_s:,.0f}",
            f"{link.spare_bits_per_s:,.0f}",
            link.tagger,
        )
    return table


def lanes_table(lanes: tuple[LanePlan, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("lane", no_wrap=True)
    for title in ("links", "km", "keys/s", "surplus/s"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("READY keys for an outage, and after how long they are there")
    for lane in lanes:
        table.add_row(
            lane.id if lane.admitted else f"{lane.id} REFUSED",
            str(lane.n_links),
            f"{lane.km:g}",
            f"{lane.keys_per_s:g}",
            f"{lane.surplus_per_s:.3f}",
            "; ".join(
                f"{one.seconds:g} s: {one.keys} keys, "
                + ("never" if one.ready_after_s is None else f"{one.ready_after_s:,.0f} s")
                for one in lane.outages
            ),
        )
    return table
