"""``qkdd store``: look into a relay's key store without seeing a key."""

from pathlib import Path

import click
import msgspec

from qkdd.base.errors import ConfigError, StoreError
from qkdd.base.ids import NodeId
from qkdd.config import load


@click.group()
def store() -> None:
    """Look into a relay's key store; no key is ever shown."""


@store.command()
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for comparing two relays.")
def digest(config: Path, *, as_json: bool) -> None:
    """Print a keyed digest of what is left of each half of each block of the relay of CONFIG.

    The digest key comes from the link's pre-shared key: both ends print the same, and nobody
    learns anything of a key. Works beside the running relay.
    Exit status: 0 done, 1 the store cannot be read, 2 usage.
    """
    from qkdd.daemon.app import read_secret
    from qkdd.keys.digest import read_digests

    try:
        relay = load(config)
        with read_secret(relay.store.master_key, 32, "master key") as master_key:
            rows = read_digests(relay.store.path, master_key, NodeId(relay.node.id))
    except (ConfigError, StoreError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        click.echo(
            f"{row.link} block {row.block_no} half {row.half}: {row.length} bytes from "
            f"{row.offset}, {row.state}, {row.digest}"
        )
    click.echo(f"{len(rows)} halves")
