"""``qkdd openapi``: write the description of key delivery for programs that read OpenAPI."""

from importlib.metadata import version
from pathlib import Path

import click
import msgspec

from qkdd.deliver.openapi import document


def text() -> bytes:
    """Return the file as it has to be."""
    return msgspec.json.format(msgspec.json.encode(document(version("qkdd"))), indent=1) + b"\n"


@click.command(short_help="Write the OpenAPI description of key delivery.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def openapi(file: Path) -> None:
    """Write the OpenAPI 3.1 description of key delivery to FILE.

    Exit status: 0 written, 1 could not write, 2 usage.
    """
    try:
        file.write_bytes(text())
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from error
