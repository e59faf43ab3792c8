"""Destroying every key of a relay at once: the files that hold them, whoever runs."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from qkdd.config import Relay
from qkdd.keys.destroy import destroy_file, store_files


class Destroyed(msgspec.Struct, frozen=True, kw_only=True):
    """One file; ``trouble`` says why it is still there."""

    path: str
    was_there: bool
    trouble: str | None


def key_files(relay: Relay) -> Iterator[Path]:
    """Every file that holds a key: first the few bytes without which the rest is worth nothing."""
    yield relay.store.master_key
    yield from store_files(relay.store.path)
    for link in relay.links:
        if link.transmitter is not None:
            yield link.transmitter.encoder.key_file
    yield relay.node.key


def destroy_keys(relay: Relay) -> list[Destroyed]:
    """Destroy all key files; one that cannot be destroyed keeps no other from it."""
    return [destroyed(path) for path in dict.fromkeys(key_files(relay))]


def destroyed(path: Path) -> Destroyed:
    try:
        return Destroyed(path=str(path), was_there=destroy_file(path), trouble=None)
    except OSError as error:
        return Destroyed(path=str(path), was_there=True, trouble=error.strerror or str(error))
