"""The hash of privacy amplification: one modified Toeplitz matrix [T | I] over a whole block.

    out = T x1 xor x2,    T[i, j] = seed[i - j + m - 1],    x = x1 | x2,  len(x1) = m, len(x2) = l

for n = m + l bits x, l bits out and n - 1 bits of seed: a family of dual (and plain) 2-universal
functions with a shorter seed and a smaller product than the full Toeplitz matrix has (Hayashi,
Tsurumaru, IEEE Trans. Inf. Theory 62, 2213 (2016)). T x1 is a part of a product of two polynomials
over GF(2); it is computed exactly, as a sum of products of tiles, in the same memory whatever n.
"""

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits, packed_bytes
from qkdd.kernels.toeplitz import Packed, Spectrum, Tiles, tiles_for

GROUP = 4
"""Output sums kept at a time: spectra in memory are 2 * GROUP + 1, of at most 2 MiB each."""


def seed_bytes(n_bits: int) -> int:
    """Return how many bytes of seed a block of ``n_bits`` takes; spare bits are not used."""
    return packed_bytes(max(0, n_bits - 1))


def toeplitz_hash(
    bits: Bits, seed: bytes | bytearray | memoryview, n_out: int, out: memoryview | bytearray
) -> None:
    """Hash ``bits`` down to ``n_out`` bits, packed into ``out``, which is overwritten.

    Parameters
    ----------
    bits : (n,) uint8, 0 or 1
        The reconciled block; left as it is, for its owner to wipe.
    seed : seed_bytes(n) bytes
        Uniform bits, drawn after the block was fixed; may be public.
    n_out : int
        Length of the key, 0 to n.
    out : packed_bytes(n_out) writable bytes
        Usually a Secret's buffer; bits after ``n_out`` are 0.

    Notes
    -----
    Temporaries are at most 32 MB and wiped. Calls into the kernel release the GIL.
    """
    n = bits.size
    if not 0 <= n_out <= n:
        raise ValueError(f"cannot hash {n} bits to {n_out}")
    if len(seed) != seed_bytes(n):
        raise ValueError(f"seed has {len(seed)} bytes, {n} bits need {seed_bytes(n)}")
    if len(out) != packed_bytes(n_out):
        raise ValueError(f"output has {len(out)} bytes, {n_out} bits need {packed_bytes(n_out)}")
    if n_out == 0:
        return
    key = np.frombuffer(out, np.uint8)
    public = np.frombuffer(seed, np.uint8)
    m = n - n_out
    _pack_into(key, bits[m:])
    if m:
        # The last bit of x1 meets the first l bits of the seed; the others then fill whole tiles.
        key ^= public[: key.size] & np.uint8(0xFF * int(bits[m - 1]))
    if m > 1:
        _add_product(key, bits[: m - 1], public)
    if n_out % 8:
        key[-1] &= (1 << (n_out % 8)) - 1


def _pack_into(key: Packed, bits: Bits) -> None:
    step = 1 << 20
    for start in range(0, bits.size, step):
        part = np.packbits(bits[start : start + step], bitorder="little")
        key[start // 8 : start // 8 + part.size] = part
        part.fill(0)


def _add_product(key: Packed, x: Bits, seed: Packed) -> None:
    """Add bits len(x), len(x) + 1, ... of the product of ``x`` and ``seed`` to ``key``.

    With zeros put before ``x`` these bits begin where a tile begins. Sum c, over the products of
    x tile a and seed tile c - a, reaches into output tiles c - n_x and c - n_x + 1.
    """
    tiles = tiles_for(max(x.size, 8 * key.size))
    tile_bytes = tiles.tile_bits // 8
    n_x = -(-x.size // tiles.tile_bits)
    n_out = -(-key.size // tile_bytes)
    last = n_x + n_out
    for first in range(n_x - 1, last, GROUP):
        sums = range(first, min(first + GROUP, last))
        for c, total in zip(sums, _sums(tiles, x, seed, n_x, sums), strict=True):
            double = tiles.product(total)
            for half in (0, 1):
                at = (c - n_x + half) * tile_bytes
                if 0 <= at < key.size:
                    part = key[at : at + tile_bytes]
                    part ^= double[half * tile_bytes :][: part.size]
            double.fill(0)


def _sums(tiles: Tiles, x: Bits, seed: Packed, n_x: int, sums: range) -> list[Spectrum]:
    """Return, for each c of ``sums``, the sum over a of the spectra of x[a] * seed[c - a]."""
    totals = [tiles.zeros() for _ in sums]
    spectra = [tiles.zeros() for _ in sums]
    x_spectrum = tiles.zeros()
    n_seed = -(-8 * seed.size // tiles.tile_bits)
    held: dict[int, Spectrum] = {}
    for a in range(n_x):
        wanted = [c - a for c in sums if 0 <= c - a < n_seed]
        for b in wanted:
            if b not in held:
                held[b] = spectra[b % len(spectra)]
                tiles.transform(_seed_tile(seed, b, tiles.tile_bits // 8), held[b])
        tile = _x_tile(x, a, n_x, tiles.tile_bits)
        tiles.transform(tile, x_spectrum)
        tile.fill(0)
        for b in wanted:
            tiles.accumulate(totals[a + b - sums.start], x_spectrum, held[b])
        held.pop(sums.stop - 1 - a, None)
    x_spectrum.fill(0)
    return totals


def _seed_tile(seed: Packed, b: int, tile_bytes: int) -> Packed:
    part = seed[b * tile_bytes : (b + 1) * tile_bytes]
    if part.size == tile_bytes:
        return part
    return np.concatenate((part, np.zeros(tile_bytes - part.size, np.uint8)))


def _x_tile(x: Bits, a: int, n_x: int, tile_bits: int) -> Packed:
    """Tile ``a`` of ``x`` with zeros before it, so that ``x`` ends where its last tile ends."""
    stop = x.size - (n_x - 1 - a) * tile_bits
    part: npt.NDArray[np.uint8] = x[max(0, stop - tile_bits) : stop]
    if part.size == tile_bits:
        return np.packbits(part, bitorder="little")
    padded = np.zeros(tile_bits, np.uint8)
    padded[tile_bits - part.size :] = part
    packed = np.packbits(padded, bitorder="little")
    padded.fill(0)
    return packed
