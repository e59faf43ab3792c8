"""Folders for targets that need files: in memory if there is such a disk, gone with their owner."""

import shutil
import tempfile
import weakref
from pathlib import Path

IN_MEMORY = Path("/dev/shm")


def scratch(owner: object) -> Path:
    """Return a fresh folder that is removed once ``owner`` is gone, or the process ends."""
    path = Path(tempfile.mkdtemp(prefix="fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    weakref.finalize(owner, shutil.rmtree, path, ignore_errors=True)
    return path
