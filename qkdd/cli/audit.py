"""``qkdd audit``: look after the chained log of security events."""

from pathlib import Path

import click

from qkdd.base.audit_chain import ChainBroken, follow
from qkdd.base.errors import ConfigError
from qkdd.config import load


@click.group()
def audit() -> None:
    """Look after the log of security events, to which one can only add."""


@audit.command()
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--head", help="A hash that the journal has told: it must be in the chain.")
def verify(config: Path, *, head: str | None) -> None:
    """Follow the audit log of the relay of CONFIG from its first line to its last.

    Exit status: 0 every line follows from the one before (and the head is in it), 1 not so, or it
    cannot be read (the reason is on stderr), 2 usage.
    """
    from qkdd.daemon.audit import audit_path

    seen = 0
    try:
        path = audit_path(load(config, files=False).store.path)
    except (ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from error
    try:
        with path.open("rb") as file:
            end = follow(file)
        if head is not None:
            seen = path.read_bytes().count(b'"hash":"%s"' % head.encode())
    except ChainBroken as error:
        raise click.ClickException(f"{path}: {error}") from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if head is not None and not seen:
        raise click.ClickException(f"{path}: no record has the hash {head}: lines are missing")
    torn = ", and a line cut short behind it" if end.torn else ""
    click.echo(f"{end.n} records, the last {end.hash}{torn}")
