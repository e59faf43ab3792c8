"""Options of the commands that run relays and laboratories on this machine."""

from pathlib import Path

import click

seconds = click.option(
    "--seconds",
    default=120.0,
    show_default=True,
    type=click.FloatRange(5, 1e7),
    help="How long it goes on.",
)
folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything is written; a new folder in /tmp otherwise.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Progress on stderr, the summary as JSON."
)
