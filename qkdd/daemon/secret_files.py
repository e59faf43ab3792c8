"""Secrets that lie in files of their own: read whole, into wipeable memory; strangers kept out."""

import os
import stat
from pathlib import Path

from qkdd.base.errors import ConfigError
from qkdd.base.secret import Secret

MASTER_KEY_BYTES = 32
BOARD_KEY_BYTES = 32
STRANGERS = stat.S_IRWXO | stat.S_IWGRP
"""Rights that a key file may not give. Reading by the group may be: systemd shows the access list
of a credential so."""


def read_secret(path: Path, n_bytes: int, what: str, *, guarded: bool = True) -> Secret:
    """Read a key file of exactly ``n_bytes``; a ``guarded`` one must be closed to strangers.

    Raises
    ------
    ConfigError
        Naming the file, what it should be and what it is.
    """
    secret = Secret(n_bytes)
    try:
        with path.open("rb", buffering=0) as file:
            size, mode = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_mode
            n_read = file.readinto(secret.reveal())
    except OSError as error:
        raise ConfigError(f"cannot read the {what} {path}: {error.strerror}") from error
    if size != n_bytes or n_read != n_bytes:
        raise ConfigError(f"the {what} {path} has {size} bytes, must have {n_bytes}")
    if not any(secret.reveal()):
        raise ConfigError(
            f"the {what} {path} holds zeros: it was destroyed, or never written to its end"
        )
    if guarded and mode & STRANGERS:
        raise ConfigError(
            f"the {what} {path} has mode {stat.S_IMODE(mode):04o}: others may read it or its group "
            "write it; chmod 600"
        )
    return secret
