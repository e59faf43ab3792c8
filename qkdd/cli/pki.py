"""``qkdd pki``: make a test authority and certificates."""

import datetime
import re
from pathlib import Path

import click

from qkdd.cli.failure import failed
from qkdd.net.pki import DEFAULT_HOSTS, Authority

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def _names(_context: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> object:
    for name in names:
        if not NAME.fullmatch(name) or name == "ca":
            raise click.BadParameter(
                f"{name!r} must be 1 to 63 of A-Z a-z 0-9 . _ - (and not 'ca')"
            )
    return names


@click.command(short_help="Make test certificates, and revoke them.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--node", "nodes", multiple=True, callback=_names, help="A relay; repeatable.")
@click.option("--sae", "saes", multiple=True, callback=_names, help="An application; repeatable.")
@click.option("--host", "hosts", multiple=True, help="Host name or address of the relays.")
@click.option("--revoke", multiple=True, callback=_names, help="Takes one back; repeatable.")
@click.option(
    "--days",
    default=365,
    show_default=True,
    type=click.IntRange(1, 3650),
    help="How long they are valid.",
)
def pki(
    folder: Path,
    nodes: tuple[str, ...],
    saes: tuple[str, ...],
    hosts: tuple[str, ...],
    revoke: tuple[str, ...],
    days: int,
) -> None:
    """Make certificates in FOLDER, and the authority that signs them if there is none yet.
    What --revoke names is added to the revocation list ca.crl, first of all.

    A test authority: its key lies unencrypted in FOLDER. Private keys are readable by their
    owner only. Exit status: 0 done, 1 could not write, 2 usage.
    """
    now = datetime.datetime.now(datetime.UTC)
    try:
        authority = Authority.open_or_create(folder, now=now, days=days)
        if revoke:
            taken_back = [folder / f"{name}.pem" for name in revoke]
            click.echo(f"revoked: {authority.revoke(taken_back, now=now, days=days)}")
        for node in nodes:
            issued = authority.issue_node(node, now=now, days=days, hosts=hosts or DEFAULT_HOSTS)
            click.echo(f"node {node}: {issued.certificate}")
        for sae in saes:
            issued = authority.issue_sae(sae, now=now, days=days)
            click.echo(f"sae {sae}: {issued.certificate}")
    except (OSError, ValueError) as error:
        raise failed(error) from error
    click.echo(f"authority: {authority.certificate}")
