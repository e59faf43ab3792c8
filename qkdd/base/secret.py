"""Key bytes in one wipeable, locked buffer that never prints itself."""

import ctypes
import hmac
import mmap
import threading
from collections.abc import Sequence
from itertools import accumulate
from typing import NoReturn, Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_MADV_DONTDUMP = 16
SHORT_BYTES = 256
"""Secrets up to this lie several in one page. To ask the system for a page, to lock it and to give
it back takes longer than all else that is done with a short key."""


def _pages(n_bytes: int) -> tuple[mmap.mmap, bool]:
    """Ask for zeroed memory outside of core dumps; also return whether it is locked."""
    pages = mmap.mmap(-1, max(n_bytes, 1))
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    locked = _LIBC.mlock(ctypes.c_void_p(address), ctypes.c_size_t(len(pages))) == 0
    pages.madvise(_MADV_DONTDUMP)
    return pages, locked


class _Shared(threading.local):
    """The page from which a thread's short secrets have their bytes, none of them used twice; it
    goes back to the system with the last of them."""

    def __init__(self) -> None:
        self._pages = _pages(mmap.PAGESIZE)
        self._used = 0

    def take(self, n_bytes: int) -> tuple[tuple[mmap.mmap, bool], int]:
        """Return where ``n_bytes`` zeros are, and from which place on."""
        if self._used + n_bytes > mmap.PAGESIZE:
            self._pages, self._used = _pages(mmap.PAGESIZE), 0
        start = self._used
        self._used += n_bytes
        return self._pages, start


_SHARED = _Shared()


def _place(n_bytes: int) -> tuple[tuple[mmap.mmap, bool], int]:
    """Find zeroed memory of which nobody else has had a byte."""
    return _SHARED.take(n_bytes) if n_bytes <= SHORT_BYTES else (_pages(n_bytes), 0)


class Secret:
    """A buffer of ``n_bytes`` for key material: page-locked where the system allows it, left out
    of core dumps, wiped on :meth:`wipe`, on leaving a ``with`` block, and when collected.

    Locking is best effort (RLIMIT_MEMLOCK): ``locked`` says whether it worked.
    """

    __slots__ = ("_map", "_size", "_start", "locked")

    def __init__(self, n_bytes: int) -> None:
        if n_bytes < 0:
            raise ValueError(f"a secret cannot have {n_bytes} bytes")
        self._lie(*_place(n_bytes), n_bytes)

    def _lie(self, pages: tuple[mmap.mmap, bool], start: int, n_bytes: int) -> Self:
        self._map: mmap.mmap | None
        self._map, self.locked = pages
        self._start, self._size = start, n_bytes
        return self

    @classmethod
    def side_by_side(cls, sizes: Sequence[int]) -> list[Self]:
        """Make several at once, in pages that they share. No byte is used twice, so that views of
        one that was wiped see zeros, whatever becomes of the others."""
        pages, start = _place(sum(sizes))
        ends = [*accumulate(sizes, initial=start)][1:]
        return [
            cls.__new__(cls)._lie(pages, end - size, size)  # noqa: SLF001  its own class
            for size, end in zip(sizes, ends, strict=True)
        ]

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Copy ``data``; a mutable source is for the caller to wipe."""
        secret = cls(len(data))
        secret.reveal()[:] = data
        return secret

    @classmethod
    def absorb(cls, fresh: bytes) -> Self:
        """Take over bytes that nobody else holds (fresh entropy), and zero them where they lie.

        ``bytes`` cannot be changed by the rules of the language; an object that is about to be
        forgotten can, by its address, and would otherwise stay in freed memory as it is.
        """
        secret = cls.from_bytes(fresh)
        if len(fresh) > 1:  # shorter ones are shared by the whole interpreter
            ctypes.memset(id(fresh) + bytes.__basicsize__ - 1, 0, len(fresh))
        return secret

    def reveal(self) -> memoryview:
        """Return the live bytes, writable. Whoever copies them answers for the copy."""
        if self._map is None:
            raise RuntimeError("this secret has been wiped")
        return memoryview(self._map)[self._start : self._start + self._size]

    @property
    def wiped(self) -> bool:
        return self._map is None

    def wipe(self) -> None:
        """Zero the bytes; every view of them sees zeros from now on."""
        if self._map is None:
            return
        self._map[self._start : self._start + self._size] = bytes(self._size)
        self._map = None

    def __len__(self) -> int:
        return self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        if getattr(self, "_map", None) is not None:
            self.wipe()

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal(), other.reveal())

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __repr__(self) -> str:
        return f"<Secret of {self._size} bytes{', wiped' if self._map is None else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")
