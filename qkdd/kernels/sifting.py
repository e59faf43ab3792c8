"""Sifting on packed bits: C kernel and NumPy twin.

Packed bits have bit 0 of byte 0 first. Of a click, basis, intensity and place become public while
a block is sifted; its bits do not, and the kernel neither branches on them nor looks them up.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

try:
    import qkdd.kernels.native.sifting as _native
except ImportError:  # no compiler when this was installed: the twin serves
    _native = None

Bytes = npt.NDArray[np.uint8]
ByIntensity = tuple[int, int, int]

TWIN = "numpy"
_ONE = np.uint8(1)


def backends() -> tuple[str, ...]:
    """Return what runs on this machine, best first; the twin always does."""
    if _native is None:
        return (TWIN,)
    built = [name for name in ("bmi2", "c") if _native.lib.sifting_supported(name.encode("ascii"))]
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


def split_detectors(detectors: Bytes) -> tuple[Bytes, Bytes]:
    """Pack the bases and the bits of (n,) detectors, basis * 2 + bit; the bits are raw key."""
    if _backend == TWIN:
        bits = detectors & _ONE
        packed = _packed(detectors >> _ONE & _ONE), _packed(bits)
        bits.fill(0)
        return packed
    bases, bits = np.empty((2, -(-detectors.size // 8)), np.uint8)
    ffi = _native.ffi
    _native.lib.sifting_split(
        ffi.from_buffer("uint8_t[]", np.ascontiguousarray(detectors)),
        detectors.size,
        ffi.from_buffer("uint8_t[]", bases),
        ffi.from_buffer("uint8_t[]", bits),
    )
    return bases, bits


@dataclass(frozen=True, slots=True, eq=False)
class KeyPlanes:
    """Key-basis bits of some clicks: packed bits, low and high bits of their intensities."""

    n_bits: int
    planes: tuple[Bytes, Bytes, Bytes]
    """The first is raw key: whoever takes it wipes it."""
    counts: ByIntensity


@dataclass(frozen=True, slots=True, eq=False)
class AliceSifted:
    """What Alice finds out about some clicks. Byte fields are packed, and become public."""

    kept: bytes
    """One bit a click: the bases are equal."""
    weak: bytes
    """One bit a kept click, as ``vacuum``."""
    vacuum: bytes
    test_bits: bytes
    """One bit a kept click of the test basis: Alice's bit."""
    test: ByIntensity
    key: KeyPlanes


def sift_alice(states: Bytes, bases: Bytes) -> AliceSifted:
    """Compare Alice's states with Bob's bases.

    Parameters
    ----------
    states : (n,) uint8
        bit | basis << 1 | intensity << 2 (0 signal, 1 weak, 2 vacuum).
    bases : (ceil(n / 8),) uint8
        Packed: 1 is the test basis. Padded with zeros.
    """
    if bases.size != -(-states.size // 8):
        raise ValueError(f"{bases.size} bytes of bases for {states.size} states")
    if _backend == TWIN:
        return _alice_twin(states, bases)
    planes = np.empty((7, _plane_bytes(states.size)), np.uint8)
    sums = np.zeros(6, np.int64)
    ffi = _native.ffi
    _native.lib.sifting_alice(
        _backend.encode("ascii"),
        ffi.from_buffer("uint8_t[]", np.ascontiguousarray(states)),
        ffi.from_buffer("uint8_t[]", np.ascontiguousarray(bases)),
        states.size,
        ffi.from_buffer("uint8_t[]", planes),
        planes.shape[1],
        ffi.from_buffer("int64_t[]", sums),
    )
    n_kept, n_test, key_weak, key_vacuum, test_weak, test_vacuum = sums.tolist()
    n_key = n_kept - n_test
    kept, weak, vacuum, test_bits = (
        plane[: -(-size // 8)].tobytes()
        for plane, size in zip(planes[:4], (states.size, n_kept, n_kept, n_test), strict=True)
    )
    key = _key_planes(planes[4:], n_key, (n_key - key_weak - key_vacuum, key_weak, key_vacuum))
    planes.fill(0)
    return AliceSifted(
        kept,
        weak,
        vacuum,
        test_bits,
        (n_test - test_weak - test_vacuum, test_weak, test_vacuum),
        key,
    )


def _plane_bytes(n_bits: int) -> int:
    """Whole words of 64 bits."""
    return -(-n_bits // 64) * 8


def _key_planes(planes: Bytes, n_key: int, counts: ByIntensity) -> KeyPlanes:
    key, low, high = (plane[: -(-n_key // 8)].copy() for plane in planes)
    return KeyPlanes(n_key, (key, low, high), counts)


def _alice_twin(states: Bytes, bases: Bytes) -> AliceSifted:
    theirs = np.unpackbits(bases, count=states.size, bitorder="little")
    kept = (states >> 1 & 1) == theirs
    mine = states[kept]
    in_test = mine >> 1 & 1 == 1
    intensities, bits = mine >> np.uint8(2), mine & _ONE
    return AliceSifted(
        _packed(kept).tobytes(),
        _packed(intensities & _ONE).tobytes(),
        _packed(intensities >> _ONE).tobytes(),
        _packed(bits[in_test]).tobytes(),
        _counts(intensities[in_test]),
        _pack_key(bits[~in_test], intensities[~in_test]),
    )


def _packed(bits: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> Bytes:
    return np.packbits(bits, bitorder="little")


def _counts(intensities: Bytes) -> ByIntensity:
    weak, vacuum = (int(np.count_nonzero(intensities == one)) for one in (1, 2))
    return (intensities.size - weak - vacuum, weak, vacuum)


def _pack_key(bits: Bytes, intensities: Bytes) -> KeyPlanes:
    planes = (_packed(bits), _packed(intensities & _ONE), _packed(intensities >> _ONE))
    return KeyPlanes(bits.size, planes, _counts(intensities))


@dataclass(frozen=True, slots=True, eq=False)
class BobSifted:
    """What Bob finds out about some clicks."""

    test: ByIntensity
    wrong: ByIntensity
    """Of these: his bit is not Alice's."""
    n_both: int
    """Clicks that were said to be weak and vacuum: no pulse can be."""
    key: KeyPlanes


def sift_bob(
    bases: Bytes,
    bits: Bytes,
    n_clicks: int,
    kept: Bytes,
    weak: Bytes,
    vacuum: Bytes,
    test_bits: Bytes,
) -> BobSifted:
    """Sort Bob's clicks by Alice's answer.

    Parameters
    ----------
    bases, bits, kept : (ceil(n_clicks / 8),) uint8
        Packed and padded with zeros, one bit a click.
    weak, vacuum : uint8
        Packed, one bit a kept click.
    test_bits : uint8
        Packed, one bit a kept click of the test basis.
    """
    n_kept, n_test = kept_counts(kept, bases)
    for plane, n_bits in (
        *((plane, n_clicks) for plane in (bases, bits, kept)),
        *((plane, n_kept) for plane in (weak, vacuum)),
        (test_bits, n_test),
    ):
        if plane.size != -(-n_bits // 8):
            raise ValueError(f"{plane.size} bytes for {n_bits} packed bits")
    if _backend == TWIN:
        return _bob_twin(bases, bits, n_clicks, kept, weak, vacuum, test_bits)
    planes = np.empty((3, _plane_bytes(n_kept)), np.uint8)
    sums = np.zeros(10, np.int64)
    ffi = _native.ffi
    _native.lib.sifting_bob(
        _backend.encode("ascii"),
        *(ffi.from_buffer("uint8_t[]", np.ascontiguousarray(one)) for one in (bases, bits, kept)),
        n_clicks,
        ffi.from_buffer("uint8_t[]", weak),
        ffi.from_buffer("uint8_t[]", vacuum),
        weak.size,
        ffi.from_buffer("uint8_t[]", test_bits),
        test_bits.size,
        ffi.from_buffer("uint8_t[]", planes),
        planes.shape[1],
        ffi.from_buffer("int64_t[]", sums),
    )
    key, test, wrong = (
        (n - n_weak - n_vacuum, n_weak, n_vacuum)
        for n, n_weak, n_vacuum in sums[:9].reshape(3, 3).tolist()
    )
    found = BobSifted(test, wrong, int(sums[9]), _key_planes(planes, sum(key), key))
    planes.fill(0)
    return found


def kept_counts(kept: Bytes, bases: Bytes) -> tuple[int, int]:
    """Return how many clicks are kept, and how many of these are of the test basis."""
    return int(np.bitwise_count(kept).sum()), int(np.bitwise_count(kept & bases).sum())


def _bob_twin(
    bases: Bytes,
    bits: Bytes,
    n_clicks: int,
    kept: Bytes,
    weak: Bytes,
    vacuum: Bytes,
    test_bits: Bytes,
) -> BobSifted:
    def unpacked(plane: Bytes, n_bits: int) -> Bytes:
        return np.unpackbits(plane, count=n_bits, bitorder="little")

    stays = unpacked(kept, n_clicks).view(np.bool_)
    in_test = unpacked(bases, n_clicks)[stays].view(np.bool_)
    mine = unpacked(bits, n_clicks)[stays]
    is_weak, is_vacuum = (unpacked(plane, in_test.size) for plane in (weak, vacuum))
    intensities = is_weak | is_vacuum << _ONE
    tested = intensities[in_test]
    wrong = mine[in_test] != unpacked(test_bits, tested.size)
    return BobSifted(
        _counts(tested),
        _counts(tested[wrong]),
        int(np.count_nonzero(is_weak & is_vacuum)),
        _pack_key(mine[~in_test], intensities[~in_test]),
    )
