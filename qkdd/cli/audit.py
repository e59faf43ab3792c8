"""``qkdd audit``: look after the chained log of security events."""

import re
from pathlib import Path

import click
import msgspec

from qkdd.base.audit_chain import ChainBroken, follow
from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed
from qkdd.config import load

HASH = re.compile(r"[0-9a-f]{64}")


def _hash(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    if text is not None and not HASH.fullmatch(text):
        raise click.BadParameter(f"{text!r} is no hash: 64 digits of 0-9 a-f")
    return text


@click.group(short_help="Look after the log of security events.")
def audit() -> None:
    """Look after the log of security events, to which one can only add."""


@audit.command(short_help="Follow the log from its first line to its last.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--head", callback=_hash, help="A hash that the journal has told: it must be in the chain."
)
@click.option("--json", "as_json", is_flag=True, help="The end of the chain as one JSON object.")
def verify(config: Path, *, head: str | None, as_json: bool) -> None:
    """Follow the audit log of the relay of CONFIG from its first line to its last.

    Exit status: 0 every line follows from the one before (and the head is in it), 1 not so, or it
    cannot be read (the reason is on stderr), 2 usage.
    """
    from qkdd.daemon.audit import audit_path

    seen = 0
    try:
        path = audit_path(load(config, files=False).store.path)
    except (ConfigError, OSError) as error:
        raise failed(error) from error
    try:
        with path.open("rb") as file:
            end = follow(file)
        if head is not None:
            seen = path.read_bytes().count(b'"hash":"%s"' % head.encode())
    except ChainBroken as error:
        raise click.ClickException(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise click.ClickException(
            f"{path}: not there: the relay makes it at its first start"
        ) from error
    except OSError as error:
        raise failed(error) from error
    if head is not None and not seen:
        raise click.ClickException(f"{path}: no record has the hash {head}: lines are missing")
    if as_json:
        told = {"records": end.n, "last": end.hash, "torn": bool(end.torn)}
        click.echo(msgspec.json.encode(told))
        return
    torn = ", and a line cut short behind it" if end.torn else ""
    click.echo(f"{end.n} records, the last {end.hash}{torn}")
