"""Destroying key files: zeros over every byte, on the disk, and then gone, on the disk as well.

What a flash disk has moved aside before is out of reach: docs/security.md, "Destroying all keys".
"""

import os
from collections.abc import Iterator
from pathlib import Path

from qkdd.base.durable import sync_folder

STEP_BYTES = 1 << 20
STORE_SUFFIXES = ("-wal", "", "-shm", "-journal")


def destroy_file(path: Path) -> bool:
    """Overwrite, sync and remove ``path``; return whether it was there.

    Raises
    ------
    OSError
        If not all of it could be done; as much as could is done then.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        left = os.fstat(descriptor).st_size
        while left > 0:
            left -= os.write(descriptor, bytes(min(left, STEP_BYTES)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync_folder(path.parent)
    return True


def store_files(store: Path) -> Iterator[Path]:
    """The files of a key store: first the log, in which the newest wrapped keys are."""
    for suffix in STORE_SUFFIXES:
        yield store.with_name(store.name + suffix)
