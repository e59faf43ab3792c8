"""``qkdd check``: every mistake of a configuration, before anything is started."""

from pathlib import Path

import click
import msgspec

from qkdd.config import mistakes


@click.command(short_help="Name every mistake of a configuration.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The mistakes as one JSON object.")
def check(config: Path, *, as_json: bool) -> None:
    """Read CONFIG and name every mistake: where, what it says, what is allowed.

    Exit status: 0 no mistake, 1 at least one, 2 usage.
    """
    found = mistakes(config)
    if as_json:
        click.echo(msgspec.json.encode({"config": str(config), "mistakes": found}))
    else:
        for line in found:
            click.echo(line)
    if found:
        raise click.ClickException(f"{config}: {len(found)} mistake{'s' * (len(found) > 1)}")
    if not as_json:
        click.echo(f"{config}: no mistake")
