"""One file of the kernel's FUSE protocol (linux/fuse.h, version 7.31), served without a library.

The file is the root of its mount, so that there is no name to look up. Every write and every sync
of whoever uses it comes here, one after another, and is answered before the next is read: nothing
lies in a page cache of this file. Root only.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

IN_HEADER = struct.Struct("<IIQQIIIHH")
OUT_HEADER = struct.Struct("<IiQ")
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
ATTRIBUTES = struct.Struct("<QII" + "QQQQQQ" + "IIIIIIIIII")
OPEN_OUT = struct.Struct("<QII")
READ_WRITE_IN = struct.Struct("<QQIIQII")
GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, DESTROY, FORGET, BATCH_FORGET = (
    *(18, 20, 25, 26, 36, 38, 2, 42),
)
DIRECT_IO, BIG_WRITES, MAX_PAGES = 1, 1 << 5, 1 << 22
PAGES = 256
MAX_WRITE = PAGES * 4096
MODE = 0o100600
VALID_S = 1 << 30


class Storage(Protocol):
    """What the file holds."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def sync(self) -> None: ...


def mount(where: Path) -> int:
    """Mount a FUSE file over the file ``where``; return the descriptor to serve."""
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={descriptor},rootmode={MODE:o},user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"recorded", bytes(where), b"fuse", 0, options.encode()):
        number = ctypes.get_errno()
        os.close(descriptor)
        raise OSError(number, os.strerror(number), str(where))
    return descriptor


def serve(descriptor: int, storage: Storage) -> None:
    """Answer the kernel until the file is unmounted."""
    answers: dict[int, Callable[[bytes], bytes]] = {
        INIT: _init,
        GETATTR: lambda _: _attributes(storage.size),
        SETATTR: lambda _: _attributes(storage.size),
        OPEN: lambda _: OPEN_OUT.pack(0, DIRECT_IO, 0),
        READ: lambda body: _read(storage, body),
        WRITE: lambda body: _write(storage, body),
        FSYNC: lambda _: storage.sync() or b"",
        FLUSH: lambda _: b"",
        RELEASE: lambda _: b"",
        DESTROY: lambda _: b"",
    }
    while True:
        try:
            request = os.read(descriptor, MAX_WRITE + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            raise
        _, operation, unique, *_ = IN_HEADER.unpack_from(request)
        if operation in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        answer = answers.get(operation)
        number = 0 if answer else -errno.ENOSYS
        body = answer(request[IN_HEADER.size :]) if answer else b""
        with suppress(FileNotFoundError):  # who asked is gone
            os.write(descriptor, OUT_HEADER.pack(16 + len(body), number, unique) + body)


def _init(body: bytes) -> bytes:
    major, minor, read_ahead, _ = INIT_IN.unpack_from(body)
    assert (major, minor) >= (7, 31), f"FUSE {major}.{minor}"
    flags = BIG_WRITES | MAX_PAGES
    return INIT_OUT.pack(7, 31, read_ahead, flags, 16, 12, MAX_WRITE, 1, PAGES, 0, 0)


def _attributes(size: int) -> bytes:
    times = (0, 0, 0)
    return ATTRIBUTES.pack(
        *(VALID_S, 0, 0),
        *(1, size, size // 512, *times),
        *(*times, MODE, 1, 0, 0, 0, 4096, 0),
    )


def _read(storage: Storage, body: bytes) -> bytes:
    _, offset, size, *_ = READ_WRITE_IN.unpack_from(body)
    return storage.read(offset, size)


def _write(storage: Storage, body: bytes) -> bytes:
    _, offset, size, *_ = READ_WRITE_IN.unpack_from(body)
    data = body[READ_WRITE_IN.size :]
    assert len(data) == size
    storage.write(offset, data)
    return struct.pack("<II", size, 0)
