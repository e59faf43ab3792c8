"""``qkdd psk``: make the pre-shared key of a link, and install it in a relay's store."""

import os
from pathlib import Path

import click

from qkdd.base.errors import ConfigError, StoreError
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.config import Relay, load
from qkdd.keys.layout import Role

MIN_BYTES = 32 * 1024
DEFAULT_BYTES = 64 * 1024
MAX_BYTES = 64 * 1024 * 1024


@click.group()
def psk() -> None:
    """Make and install the pre-shared key with which two neighbours first authenticate."""


@psk.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--bytes",
    "n_bytes",
    default=DEFAULT_BYTES,
    show_default=True,
    type=click.IntRange(MIN_BYTES, MAX_BYTES),
)
def make(file: Path, n_bytes: int) -> None:
    """Write a fresh random key to FILE, readable by its owner only; an existing FILE stays.

    Carry it to both relays by hand. Exit status: 0 done, 1 could not write, 2 usage.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as output, _random(n_bytes) as key:
            output.write(key.reveal())
            os.fsync(output.fileno())
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"{file}: {n_bytes} bytes")


def _random(n_bytes: int) -> Secret:
    secret = Secret(n_bytes)
    with open("/dev/urandom", "rb", buffering=0) as dice:
        n_read = 0
        while n_read < n_bytes:
            n_read += dice.readinto(secret.reveal()[n_read:]) or 0
    return secret


@psk.command()
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("link")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--rekey", is_flag=True, help="Replace the link's key: burns all its stock here.")
@click.option("--keep", is_flag=True, help="Leave FILE; otherwise it is overwritten and removed.")
def install(config: Path, link: str, file: Path, *, rekey: bool, keep: bool) -> None:
    """Install the pre-shared key in FILE for LINK in the store of the relay of CONFIG.

    The relay must be stopped. Overwriting does not reach copies that a flash disk keeps.
    Exit status: 0 done, 1 refused (the reason is on stderr), 2 usage.
    """
    from qkdd.daemon.app import read_secret
    from qkdd.keys.store import KeyStore

    try:
        relay = load(config)
        role = _role(relay, link)
        size = file.stat().st_size
        if not MIN_BYTES <= size <= MAX_BYTES:
            raise ConfigError(f"{file} has {size} bytes, must have {MIN_BYTES} to {MAX_BYTES}")
        settings = relay.store
        with (
            read_secret(file, size, "pre-shared key", guarded=False) as key,
            read_secret(settings.master_key, 32, "master key") as master_key,
        ):
            store = KeyStore.open(
                settings.path, master_key, NodeId(relay.node.id), os.urandom, settings
            )
            try:
                store.install_psk(LinkId(link), role, key, rekey=rekey)
            finally:
                store.close()
        if not keep:
            _destroy(file, size)
    except (ConfigError, StoreError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"link {link}: pre-shared key of {size} bytes installed")


def _role(relay: Relay, link: str) -> Role:
    for one in relay.links:
        if one.name == link:
            return "alice" if one.role == "transmitter" else "bob"
    known = ", ".join(one.name for one in relay.links)
    raise ConfigError(f"no link {link!r} in the configuration; known: {known}")


def _destroy(file: Path, size: int) -> None:
    with file.open("r+b", buffering=0) as output:
        output.write(bytes(size))
        os.fsync(output.fileno())
    file.unlink()
