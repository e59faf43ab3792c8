"""Choices of the state encoder at sparse pulse indices: AES kernels and their NumPy twin.

The rule is docs/encoder-protocol.md, "Choice of a pulse". A *state* is one byte,
``bit | basis << 1 | intensity << 2``: basis 0 key, 1 test; intensity 0 signal, 1 weak, 2 vacuum.
"""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

try:
    from drivers.kernels.native.expand import ffi as _ffi
    from drivers.kernels.native.expand import lib as _lib
except ImportError:  # no C compiler where this was installed
    _ffi = _lib = None

Backend: TypeAlias = Literal["vaes", "aesni", "numpy"]

_KERNELS: tuple[Backend, ...] = ("vaes", "aesni")
_BACKENDS: tuple[Backend, ...] = (
    *(name for name in _KERNELS if _lib is not None and _lib.expand_supported(name == "vaes")),
    "numpy",
)
_forced: Backend | None = None


def backends() -> tuple[Backend, ...]:
    """The variants that this machine can run, the fastest first."""
    return _BACKENDS


def backend() -> Backend:
    """The variant that serves."""
    return _forced or backends()[0]


def force(name: Backend | None) -> None:
    """Let ``name`` serve; ``None`` returns to the fastest. ValueError if it cannot run here."""
    global _forced
    if name is not None and name not in backends():
        raise ValueError(f"no backend {name!r} here; there are {backends()}")
    _forced = name


def expand_states(
    seed: bytes | bytearray,
    indices: npt.NDArray[np.int64],
    *,
    key_threshold: int,
    signal_threshold: int,
    weak_threshold: int,
) -> npt.NDArray[np.uint8]:
    """States of the pulses ``indices`` under ``seed``.

    Parameters
    ----------
    seed : 32 bytes
        AES-256 key.
    indices : (n,) int64, 0 <= i < 2**63
        In any order; equal indices have equal states.
    key_threshold : int, 0..2**15
    signal_threshold, weak_threshold : int, 0..2**16, their sum at most 2**16

    Returns
    -------
    states : (n,) uint8

    Raises
    ------
    ValueError
        If the seed is not 32 bytes, an index is negative or a threshold is out of range.
    """
    if len(seed) != 32:
        raise ValueError(f"a seed has 32 bytes, not {len(seed)}")
    weak_end = signal_threshold + weak_threshold
    if not (0 <= key_threshold <= 1 << 15 and 0 <= signal_threshold <= weak_end <= 1 << 16):
        raise ValueError(f"thresholds {key_threshold, signal_threshold, weak_threshold}")
    indices = np.ascontiguousarray(indices, np.int64)
    if indices.size and indices.min() < 0:
        raise ValueError(f"pulse index {indices.min()} is below 0")
    if backend() == "numpy":
        return _twin(seed, indices, key_threshold, signal_threshold, weak_end)
    states = np.empty(indices.size, np.uint8)
    _lib.expand_states(
        backend() == "vaes",
        _ffi.from_buffer("uint8_t[]", seed),
        _ffi.from_buffer("int64_t[]", indices),
        indices.size,
        key_threshold,
        signal_threshold,
        weak_end,
        _ffi.from_buffer("uint8_t[]", states, require_writable=True),
    )
    return states


def dice(key: bytes, *, first: int, n_blocks: int) -> npt.NDArray[np.uint64]:
    """Throws of a simulator: blocks from ``first`` on of AES-256 in counter mode, two words each.

    Many blocks are under way at once, so that a word costs less than one of a generator that makes
    them one after the other. ``key`` has 32 bytes, ``first`` is below 2**63.
    """
    if len(key) != 32:
        raise ValueError(f"a key of dice has 32 bytes, not {len(key)}")
    if backend() == "numpy":
        counters = np.zeros((n_blocks, 2), "<u8")
        counters[:, 0] = np.arange(first, first + n_blocks)
        return np.frombuffer(_encrypted(key, counters), "<u8").astype(np.uint64)
    words = np.empty(2 * n_blocks, np.uint64)
    _lib.expand_dice(
        backend() == "vaes",
        _ffi.from_buffer("uint8_t[]", key),
        first,
        n_blocks,
        _ffi.from_buffer("uint64_t[]", words, require_writable=True),
    )
    return words


def _twin(
    seed: bytes | bytearray,
    indices: npt.NDArray[np.int64],
    key_end: int,
    signal_end: int,
    weak_end: int,
) -> npt.NDArray[np.uint8]:
    counters = np.zeros((indices.size, 2), "<u8")
    counters[:, 0] = indices >> 2
    blocks = np.frombuffer(_encrypted(seed, counters), "<u4").reshape(-1, 4)
    words = blocks[np.arange(indices.size), indices & 3]
    basis = (words >> 1 & 0x7FFF) >= key_end
    high = words >> 16
    intensity = (high >= signal_end).astype(np.uint8) + (high >= weak_end)
    states: npt.NDArray[np.uint8] = (words & 1).astype(np.uint8)
    states |= basis.astype(np.uint8) << 1
    states |= intensity << 2
    return states


def _encrypted(key: bytes | bytearray, counters: npt.NDArray[np.uint64]) -> bytes:
    """ECB is the definition here: the counters are explicit, and each block is asked for alone."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(counters.tobytes())
