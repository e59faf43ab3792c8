"""``qkdd psk``: make the pre-shared key of a link or a lane, and install it in a relay's store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qkdd.base.durable import sync_folder
from qkdd.base.errors import ConfigError, StoreError
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.cli.failure import failed
from qkdd.config import Relay, load
from qkdd.keys.destroy import destroy_file
from qkdd.keys.layout import Role

if TYPE_CHECKING:
    from qkdd.keys.store import KeyStore

MIN_BYTES = 32 * 1024
DEFAULT_BYTES = 64 * 1024
MAX_BYTES = 64 * 1024 * 1024
MAX_LANE_BYTES = 1024 * 1024
"""All of a lane's pads are in memory; it renews them itself."""


@click.group(short_help="Make and install pre-shared keys.")
def psk() -> None:
    """Make and install the pre-shared key with which two neighbours, or the two ends of a lane,
    first authenticate."""


@psk.command(short_help="Write a fresh random key to a file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--bytes",
    "n_bytes",
    default=DEFAULT_BYTES,
    show_default=True,
    type=click.IntRange(MIN_BYTES, MAX_BYTES),
    help="Length of the key.",
)
def make(file: Path, n_bytes: int) -> None:
    """Write a fresh random key to FILE, readable by its owner only; an existing FILE stays.

    Carry it to both relays (of a link, or at the ends of a lane) by hand.
    Exit status: 0 done, 1 could not write, 2 usage.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as output, _random(n_bytes) as key:
            output.write(key.reveal())
            os.fsync(output.fileno())
        sync_folder(file.parent)
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


@psk.command(short_help="Install a key for a link or a lane.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("words", nargs=-1, metavar="[LINK] FILE")
@click.option("--lane", help="Install an end-to-end key for this lane, instead of a link's.")
@click.option("--rekey", is_flag=True, help="Replace the key: burns all that it made here.")
@click.option("--keep", is_flag=True, help="Leave FILE; otherwise it is overwritten and removed.")
def install(
    config: Path, words: tuple[str, ...], lane: str | None, *, rekey: bool, keep: bool
) -> None:
    """Install the pre-shared key in FILE for LINK in the store of the relay of CONFIG.

    With --lane, FILE alone is given: the key of the lane's two ends, carried to both of them, and
    to no relay between. The relay must be stopped. Overwriting does not reach copies that a flash
    disk keeps. Exit status: 0 done, 1 refused (the reason is on stderr), 2 usage.
    """
    if len(words) != (1 if lane else 2):
        raise click.UsageError("give LINK and FILE, or --lane LANE and FILE")
    file = Path(words[-1])
    try:
        relay = load(config)
        size = file.stat().st_size
        if lane is None:
            said = _install_link(relay, words[0], file, size, rekey=rekey)
        else:
            said = _install_lane(relay, lane, file, size, rekey=rekey)
        if not keep:
            destroy_file(file)
    except (ConfigError, StoreError, OSError) as error:
        raise failed(error) from error
    click.echo(said)


def _install_link(relay: Relay, link: str, file: Path, size: int, *, rekey: bool) -> str:
    from qkdd.daemon.audit import append_once

    role = _role(relay, link)
    _check_size(file, size, MAX_BYTES)
    with _store_and_key(relay, file, size) as (store, key):
        store.install_psk(LinkId(link), role, key, rekey=rekey)
        append_once(relay.store.path, "re-key" if rekey else "key installed", link=link)
    return f"link {link}: pre-shared key of {size} bytes installed"


def _install_lane(relay: Relay, name: str, file: Path, size: int, *, rekey: bool) -> str:
    from qkdd.daemon.audit import append_once

    lane = next((one for one in relay.lanes if one.id == name), None)
    if lane is None:
        known = ", ".join(one.id for one in relay.lanes) or "none"
        raise ConfigError(f"no lane {name!r} in the configuration; known: {known}")
    if relay.node.id not in (lane.route[0], lane.route[-1]):
        raise ConfigError(
            f"lane {name}: {relay.node.id} is not an end of it; its key belongs to "
            f"{lane.route[0]} and {lane.route[-1]} alone"
        )
    _check_size(file, size, MAX_LANE_BYTES)
    with _store_and_key(relay, file, size) as (store, key):
        store.install_lane_psk(name, key, rekey=rekey)
        key_name = store.lane_psk_name(name)
        append_once(relay.store.path, "re-key" if rekey else "key installed", lane=name)
    return (
        f"lane {name}: end-to-end key of {size} bytes installed; it is called {key_name}, and "
        "must be at the other end"
    )


def _check_size(file: Path, size: int, limit: int) -> None:
    if not MIN_BYTES <= size <= limit:
        raise ConfigError(f"{file} has {size} bytes, must have {MIN_BYTES} to {limit}")


@contextmanager
def _store_and_key(relay: Relay, file: Path, size: int) -> Iterator[tuple["KeyStore", Secret]]:
    """Open the relay's store, and read the key in ``file``."""
    from qkdd.daemon.secret_files import read_secret
    from qkdd.keys.store import KeyStore

    settings = relay.store
    with (
        read_secret(file, size, "pre-shared key", guarded=False) as key,
        read_secret(settings.master_key, 32, "master key") as master_key,
    ):
        node = NodeId(relay.node.id)
        store = KeyStore.open(settings.path, master_key, node, os.urandom, settings)
        try:
            yield store, key
        finally:
            store.close()


def _role(relay: Relay, link: str) -> Role:
    for one in relay.links:
        if one.name == link:
            return "alice" if one.role == "transmitter" else "bob"
    known = ", ".join(one.name for one in relay.links)
    raise ConfigError(f"no link {link!r} in the configuration; known: {known}")
