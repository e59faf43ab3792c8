"""``qkdd safe``: a relay whose daemon is dead leaves no light on."""

import os
import socket
from pathlib import Path

import click
import trio

from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed
from qkdd.config import Relay, load
from qkdd.station.darken import Darkened, darken
from qkdd.station.settings import TransmitterSettings

BOARD_KEY_BYTES = 32


@click.command(short_help="Switch every light of a dead relay off.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
def safe(config: Path) -> None:
    """Switch off laser, shutter and state encoder of every transmitter in CONFIG.

    For systemd's ExecStopPost=, and for hands. Needs no certificate and no store. A running relay
    would light again: then all is tried, and the status is 1.
    Exit status: 0 every instrument says that it is dark (or none is here), 1 not all, 2 usage.
    """
    try:
        relay = load(config, files=False)
    except (ConfigError, OSError) as error:
        raise failed(error) from error
    results = trio.run(_darken_all, relay)
    for link, one in results:
        word = one.state if one.trouble is None else f"NOT DARKENED: {one.trouble}"
        click.echo(f"link {link}: {one.instrument} {word}")
    left = [f"{one.instrument} of {link}" for link, one in results if one.trouble is not None]
    if left:
        raise click.ClickException(f"not darkened: {', '.join(left)}")
    if results and _is_served(relay.node.status_socket):
        raise click.ClickException("the relay runs, and may light again: stop it first")
    if not results:
        click.echo("no transmitter here")


async def _darken_all(relay: Relay) -> list[tuple[str, Darkened]]:
    results: list[tuple[str, Darkened]] = []

    async def one(link: str, settings: TransmitterSettings) -> None:
        key = settings.encoder.key_file
        done = await darken(settings, lambda: _read_board_key(key), os.urandom)
        results.extend((link, instrument) for instrument in done)

    async with trio.open_nursery() as nursery:
        for link in relay.links:
            if link.transmitter is not None:
                nursery.start_soon(one, link.name, link.transmitter)
    return results


def _read_board_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the board key {path}: {error.strerror}") from error
    if len(key) != BOARD_KEY_BYTES:
        raise ConfigError(f"the board key {path} has {len(key)} bytes, must have {BOARD_KEY_BYTES}")
    return key


def _is_served(path: Path) -> bool:
    """Tell whether a relay may run: also one that hangs, or is another user's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True
