"""The order of a block's key bits: each stretch of light is spread over the whole block.

C kernel and NumPy twin.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qkdd.kernels.sifting import Bytes, KeyPlanes

try:
    import qkdd.kernels.native.spread as _native
except ImportError:  # no compiler when this was installed: the twin serves
    _native = None

TWIN = "numpy"
TOGETHER, APART = 8, 1024
"""Bits stay together by eight, moved as one word; the next eight lie a 1024th of the block on."""

_ROOM_BYTES = 16


def backends() -> tuple[str, ...]:
    """Return what runs on this machine, best first; the twin always does."""
    return (TWIN,) if _native is None else ("c", TWIN)


_backend = backends()[0]


def backend() -> str:
    return _backend


def force(name: str | None) -> None:
    """Use one variant from now on (tests, benchmarks); None goes back to the best."""
    global _backend
    if name is not None and name not in backends():
        raise ValueError(f"backend {name!r} is not one of {backends()}")
    _backend = backends()[0] if name is None else name


def spread(values: npt.NDArray[np.uint8]) -> None:
    """Put the values of a block into this order, in place: every 1024th eight from the first on,
    every 1024th from the second on, and so forth; those behind the last whole 8192 stay.

    Errors come in stretches, where a voltage or a fibre moved. Reconciliation cuts a block into
    frames and buys parities for each by the errors of all: in the order of the light some frames
    would be disclosed whole in a block whose errors are few.
    """
    whole = values[: values.size // (TOGETHER * APART) * (TOGETHER * APART)].view(np.uint64)
    mixed = whole.reshape(-1, APART).T.copy()
    whole[:] = mixed.ravel()
    mixed.fill(0)


def unpack_spread(parts: Sequence[KeyPlanes]) -> tuple[Bytes, Bytes]:
    """Unpack the parts of a block, in the order of :func:`spread`.

    Returns
    -------
    key_bits : (n,) uint8
        Raw key: whoever takes it wipes it.
    intensities : (n,) uint8
        Low bit and high bit of each, 0 to 3.
    """
    if _backend == TWIN:
        return _unpack_twin(parts)
    ffi, lib = _native.ffi, _native.lib
    n_bits = sum(part.n_bits for part in parts)
    joined = np.zeros((3, -(-n_bits // 8) + _ROOM_BYTES), np.uint8)
    at_bit = 0
    for part in parts:
        for plane, whole in zip(part.planes, joined, strict=True):
            assert plane.size >= -(-part.n_bits // 8)
            lib.spread_join(
                ffi.from_buffer("uint8_t[]", np.ascontiguousarray(plane)),
                part.n_bits,
                ffi.from_buffer("uint8_t[]", whole),
                at_bit,
            )
        at_bit += part.n_bits
    key_bits, intensities = np.empty(n_bits, np.uint8), np.empty(n_bits, np.uint8)
    lib.spread_unpack(
        *(ffi.from_buffer("uint8_t[]", whole) for whole in joined),
        n_bits,
        ffi.from_buffer("uint8_t[]", key_bits),
        ffi.from_buffer("uint8_t[]", intensities),
    )
    joined.fill(0)
    return key_bits, intensities


def _unpack_twin(parts: Sequence[KeyPlanes]) -> tuple[Bytes, Bytes]:
    key_bits = np.empty(sum(part.n_bits for part in parts), np.uint8)
    intensities = np.empty(key_bits.size, np.uint8)
    start = 0
    for part in parts:
        here = slice(start, start + part.n_bits)
        bits, low, high = (
            np.unpackbits(plane, count=part.n_bits, bitorder="little") for plane in part.planes
        )
        key_bits[here] = bits
        intensities[here] = low | high << 1
        bits.fill(0)
        start += part.n_bits
    spread(key_bits)
    spread(intensities)
    return key_bits, intensities
