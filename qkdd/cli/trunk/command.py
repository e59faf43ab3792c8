"""``qkdd trunk``: every relay of a network on this machine, over simulated links."""

import tempfile
from pathlib import Path

import click
import msgspec
import trio

from qkdd.base.errors import ConfigError, QkdError
from qkdd.cli import run_options
from qkdd.cli.trunk.chaos import KINDS
from qkdd.cli.trunk.network_run import NetworkRun
from qkdd.cli.trunk.site import MAX_SOCKET_PATH, Site
from qkdd.cli.trunk.telling import Teller
from qkdd.daemon.supervise import reasons
from qkdd.network.cut import first_nodes
from qkdd.network.laid_out import LaidOut, lay_out
from qkdd.network.read import load


@click.command(short_help="Run a whole network on this machine.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--relays", type=click.IntRange(2), help="Only the first so many nodes of FILE.")
@run_options.seconds
@click.option(
    "--labs", default=2, show_default=True, type=click.IntRange(1, 64), help="Laboratory processes."
)
@click.option("--chaos", type=click.Choice(list(KINDS)), help="Outages at random, with a report.")
@click.option(
    "--chaos-seed",
    default=1,
    show_default=True,
    type=int,
    help="The same one gives the same outages.",
)
@run_options.folder
@click.option("--keep", is_flag=True, help="Leave relays and laboratories running at the end.")
@run_options.as_json
def trunk(
    file: Path,
    relays: int | None,
    seconds: float,
    labs: int,
    chaos: str | None,
    chaos_seed: int,
    folder: Path | None,
    *,
    keep: bool,
    as_json: bool,
) -> None:
    """Run the network of FILE on this machine, and compare a key a second at the ends of its lanes.

    The light is simulated at the instruments' own wire protocols, by LABS laboratory processes; the
    relays are ordinary daemons that cannot tell. SECONDS count from the start of the first relay.
    Exit status: 0 every key after a lane's first came in its second, was new, and was equal at both
    ends, and every link made key; 1 otherwise (the reason is in the summary), 2 usage.
    """
    place = (folder or Path(tempfile.mkdtemp(prefix="qkdd-trunk-"))).resolve()
    teller = Teller(as_json=as_json)
    try:
        site = Site.on_free_ports(_network(file, relays), place)
        if len(str(site.longest_socket())) > MAX_SOCKET_PATH:
            raise ConfigError(f"{site.longest_socket()}: too long for a socket: use another --dir")
        run = NetworkRun(
            site,
            teller,
            seconds,
            n_labs=labs,
            keep=keep,
            chaos=chaos,
            chaos_seed=chaos_seed,
        )
        summary = trio.run(run.run)
    except* (QkdError, OSError) as errors:
        raise click.ClickException("; ".join(reasons(errors))) from errors
    if as_json:
        click.echo(msgspec.json.encode(summary))
    else:
        teller.summary(summary, run.watch, summary.usage)
    if not summary.ok:
        raise SystemExit(1)


def _network(file: Path, relays: int | None) -> LaidOut:
    network = load(file)
    if relays is not None:
        if relays > len(network.nodes):
            raise ConfigError(f"--relays {relays}: {file} has {len(network.nodes)} nodes")
        network = first_nodes(network, relays)
        if not network.links:
            raise ConfigError(f"--relays {relays}: no link lies between them")
    return lay_out(network)
