"""Which state the transmitter's encoder chose for given pulses: C kernel and NumPy twin.

The expansion (AES-256 in counter mode, any pulse by itself) is in docs/encoder-protocol.md.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

try:
    import qkdd.kernels.native.choices as _native
except ImportError:
    _native = None

Pulses: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.uint32]
States: TypeAlias = npt.NDArray[np.uint8]

TWIN = "numpy"
TWIN_CHUNK = 1 << 16
"""Lookups at a time in the twin: 16 bytes of AES block each, 1 MiB."""

SEED_BYTES = 32


def backends() -> tuple[str, ...]:
    """Return what runs on this machine, best first; the twin always does."""
    if _native is None:
        return (TWIN,)
    built = [
        name for name in ("vaes", "aesni") if _native.lib.choices_supported(name.encode("ascii"))
    ]
    return (*built, TWIN)


_backend = backends()[0]


def backend() -> str:
    return _backend


def force(name: str | None) -> None:
    """Use one variant from now on (tests, benchmarks); None goes back to the best."""
    global _backend
    if name is not None and name not in backends():
        raise ValueError(f"backend {name!r} is not one of {backends()}")
    _backend = backends()[0] if name is None else name


def lookup_states(
    seed: memoryview,
    pulses: Pulses,
    *,
    key_threshold: int,
    signal_threshold: int,
    weak_threshold: int,
) -> States:
    """Return the state code of each pulse: bit | basis << 1 | intensity << 2.

    Parameters
    ----------
    seed : (32,) bytes
        AES-256 key of the block.
    pulses : (n,) int64 or uint32, 0 or more, any order
        Choice index of each pulse.
    key_threshold, signal_threshold, weak_threshold : int
        In steps of 1/2^15, 1/2^16 and 1/2^16; see docs/encoder-protocol.md.

    Raises
    ------
    ValueError
        If the seed is not 32 bytes, or a pulse is negative.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    if pulses.size and pulses.min() < 0:
        raise ValueError(f"pulse {pulses.min()} is before the first")
    thresholds = (key_threshold, signal_threshold, weak_threshold)
    if _backend == TWIN:
        return _twin(seed, pulses, thresholds)
    numbers = np.ascontiguousarray(pulses)
    states = np.empty(numbers.size, np.uint8)
    ffi = _native.ffi
    failed = _native.lib.choices_states(
        _backend.encode("ascii"),
        ffi.from_buffer("uint8_t[]", seed),
        ffi.from_buffer(numbers),
        numbers.itemsize,
        numbers.size,
        *thresholds,
        ffi.from_buffer("uint8_t[]", states, require_writable=True),
    )
    assert not failed, f"kernel {_backend} refused {numbers.itemsize}-byte pulse numbers"
    return states


def _twin(seed: memoryview, pulses: Pulses, thresholds: tuple[int, int, int]) -> States:
    # ECB is right here: each counter value is encrypted once, as in CTR, but in any order.
    cipher = Cipher(algorithms.AES256(seed), modes.ECB()).encryptor()  # noqa: S305
    states = np.empty(pulses.size, np.uint8)
    for start in range(0, pulses.size, TWIN_CHUNK):
        part = pulses[start : start + TWIN_CHUNK]
        counters = np.zeros((part.size, 2), "<u8")
        counters[:, 0] = part >> 2
        stream = np.empty(part.size * 16 + 15, np.uint8)
        written = cipher.update_into(counters.tobytes(), stream.data)
        blocks = stream[:written].view("<u4").reshape(-1, 4)
        words = blocks[np.arange(part.size), part & 3]
        states[start : start + TWIN_CHUNK] = _states_of(words, *thresholds)
        stream.fill(0)
    return states


def _states_of(words: npt.NDArray[np.uint32], key: int, signal: int, weak: int) -> States:
    high = words >> 16
    states = (high >= signal).view(np.uint8) + (high >= signal + weak).view(np.uint8)
    states <<= 1
    states |= (((words >> 1) & 0x7FFF) >= key).view(np.uint8)
    states <<= 1
    states |= (words & 1).astype(np.uint8)
    return states
