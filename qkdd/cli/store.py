"""``qkdd store``: look into a relay's key store without seeing a key."""

from pathlib import Path

import click
import msgspec

from qkdd.base.errors import ConfigError, StoreError
from qkdd.base.ids import NodeId
from qkdd.cli.failure import failed
from qkdd.config import load


@click.group(short_help="Compare key stores without seeing a key.")
def store() -> None:
    """Look into a relay's key store; no key is ever shown."""


@store.command(short_help="Print a keyed digest of what is left.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--lanes", is_flag=True, help="READY keys of lanes, instead of blocks of links.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for comparing two relays.")
def digest(config: Path, *, lanes: bool, as_json: bool) -> None:
    """Print a keyed digest of what is left of each half of each block of the relay of CONFIG, or
    of each 64 numbers of each lane that ends there.

    The digest key comes from the pre-shared key of the link or of the lane: both ends print the
    same, and nobody learns anything of a key. Works beside the running relay.
    Exit status: 0 done, 1 the store cannot be read, 2 usage.
    """
    from qkdd.daemon.secret_files import read_secret
    from qkdd.keys.digest import read_digests
    from qkdd.keys.lane_digest import read_lane_digests

    try:
        relay = load(config)
        place = relay.store.path
        node = NodeId(relay.node.id)
        with read_secret(relay.store.master_key, 32, "master key") as master_key:
            halves = [] if lanes else read_digests(place, master_key, node)
            windows = read_lane_digests(place, master_key, node) if lanes else []
    except (ConfigError, StoreError, OSError) as error:
        raise failed(error) from error
    if as_json:
        click.echo(msgspec.json.encode([*halves, *windows]))
        return
    for row in halves:
        click.echo(
            f"{row.link} block {row.block_no} half {row.half}: {row.length} bytes from "
            f"{row.offset}, {row.state}, {row.digest}"
        )
    for part in windows:
        click.echo(
            f"{part.lane} generation {part.generation} from number {part.first}: {part.n_keys} "
            f"keys, {part.state}, {part.digest}"
        )
    click.echo(f"{len(windows)} ranges" if lanes else f"{len(halves)} halves")
