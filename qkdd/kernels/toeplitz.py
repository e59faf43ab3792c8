"""Products of long polynomials over GF(2), a tile at a time: C kernel and NumPy twin.

A tile is a polynomial of ``tile_bits`` coefficients, packed with bit 0 lowest. Tiles become
spectra, spectra are multiplied and added up, and a sum goes back to one double tile of bits. The
kernel works with integers and is exact; the twin uses a real FFT and refuses to round a doubt.
"""

from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

try:
    import qkdd.kernels.native.toeplitz as _native
except ImportError:
    _native = None

Packed: TypeAlias = npt.NDArray[np.uint8]
Spectrum: TypeAlias = npt.NDArray[Any]
"""Opaque to everyone but the tiles that made it."""

TWIN = "numpy"
VARIANTS = ("generic", "pclmul", "vpclmul")
"""Numbered as in the C source."""

MIN_TILE_BITS = 1 << 9
NATIVE_TILE_BITS = 1 << 22
TWIN_TILE_BITS = 1 << 17
"""Largest tiles: a spectrum takes 2 MiB with either."""

ROUNDING_MARGIN = 0.1


class Tiles(Protocol):
    """Tiles of one size on one backend; calls may run in any thread, one per spectrum."""

    tile_bits: int

    def zeros(self) -> Spectrum: ...

    def transform(self, packed: Packed, out: Spectrum) -> None:
        """Write the spectrum of one tile, ``tile_bits // 8`` bytes, into ``out``."""

    def accumulate(self, total: Spectrum, x: Spectrum, s: Spectrum) -> None:
        """Add the product of two tiles to ``total``."""

    def product(self, total: Spectrum) -> Packed:
        """Return the ``2 * tile_bits`` bits of a sum of products; ``total`` is wiped."""


if _native is not None and _native.lib.toeplitz_init():
    raise RuntimeError("the Toeplitz kernel computed no Cantor basis")


def backends() -> tuple[str, ...]:
    """Every backend that this machine can run, the best first."""
    if _native is None:
        return (TWIN,)
    built = [name for i, name in enumerate(VARIANTS) if _native.lib.toeplitz_supported(i)]
    return (*reversed(built), TWIN)


_backend = backends()[0]


def backend() -> str:
    """The backend in use."""
    return _backend


def force(name: str | None) -> None:
    """Use one backend from now on (tests, benchmarks); None goes back to the best."""
    global _backend
    if name is not None and name not in backends():
        raise ValueError(f"backend {name!r} is not one of {backends()}")
    _backend = backends()[0] if name is None else name


def tiles_for(n_bits: int) -> Tiles:
    """Return tiles of a power of two of bits: one holds ``n_bits``, or they are the largest."""
    largest = TWIN_TILE_BITS if _backend == TWIN else NATIVE_TILE_BITS
    tile_bits = MIN_TILE_BITS
    while tile_bits < min(n_bits, largest):
        tile_bits *= 2
    if _backend == TWIN:
        return TwinTiles(tile_bits)
    return NativeTiles(tile_bits, VARIANTS.index(_backend))


class NativeTiles:
    """64-bit words as coefficients over GF(2^128), additive FFT; releases the GIL."""

    def __init__(self, tile_bits: int, variant: int) -> None:
        self.tile_bits = tile_bits
        self._variant = variant
        self._n_points = tile_bits // 32  # as many again as words, for the product
        self._log2_points = self._n_points.bit_length() - 1
        assert 1 << self._log2_points == self._n_points >= 16, f"tile of {tile_bits} bits"

    def zeros(self) -> Spectrum:
        return np.zeros(2 * self._n_points, np.uint64)

    def transform(self, packed: Packed, out: Spectrum) -> None:
        self._check(out)
        if packed.nbytes * 8 != self.tile_bits:
            raise ValueError(f"{packed.nbytes} bytes are no tile of {self.tile_bits} bits")
        ffi = _native.ffi
        _native.lib.toeplitz_transform(
            self._variant,
            self._log2_points,
            ffi.from_buffer("uint8_t[]", packed),
            ffi.from_buffer("uint64_t[]", out, require_writable=True),
        )

    def accumulate(self, total: Spectrum, x: Spectrum, s: Spectrum) -> None:
        for spectrum in (total, x, s):
            self._check(spectrum)
        ffi = _native.ffi
        _native.lib.toeplitz_accumulate(
            self._variant,
            self._n_points,
            ffi.from_buffer("uint64_t[]", total, require_writable=True),
            ffi.from_buffer("uint64_t[]", x),
            ffi.from_buffer("uint64_t[]", s),
        )

    def product(self, total: Spectrum) -> Packed:
        self._check(total)
        packed = np.empty(self.tile_bits // 4, np.uint8)
        ffi = _native.ffi
        _native.lib.toeplitz_product(
            self._variant,
            self._log2_points,
            ffi.from_buffer("uint64_t[]", total, require_writable=True),
            ffi.from_buffer("uint8_t[]", packed, require_writable=True),
        )
        return packed

    def _check(self, spectrum: Spectrum) -> None:
        if spectrum.dtype != np.uint64 or spectrum.size != 2 * self._n_points:
            raise ValueError(f"{spectrum.size} {spectrum.dtype} are no spectrum of this tile")


class TwinTiles:
    """Bits as numbers in a real FFT of twice their length: counts of pairs, then their parity."""

    def __init__(self, tile_bits: int) -> None:
        self.tile_bits = tile_bits

    def zeros(self) -> Spectrum:
        return np.zeros(self.tile_bits + 1, np.complex128)

    def transform(self, packed: Packed, out: Spectrum) -> None:
        if packed.nbytes * 8 != self.tile_bits:
            raise ValueError(f"{packed.nbytes} bytes are no tile of {self.tile_bits} bits")
        bits = np.unpackbits(packed, bitorder="little")
        out[:] = np.fft.rfft(bits, 2 * self.tile_bits)
        bits.fill(0)

    def accumulate(self, total: Spectrum, x: Spectrum, s: Spectrum) -> None:
        total += x * s

    def product(self, total: Spectrum) -> Packed:
        counts = np.fft.irfft(total, 2 * self.tile_bits)
        whole = np.rint(counts)
        counts -= whole
        doubt = max(counts.max(), -counts.min())
        if not doubt < ROUNDING_MARGIN:
            raise RuntimeError(f"FFT product is {doubt:.3f} away from a whole number")
        odd = np.fmod(whole, 2.0, out=whole) != 0.0
        packed = np.packbits(odd, bitorder="little")
        for array in (counts, whole, odd, total):
            array.fill(0)
        return packed
