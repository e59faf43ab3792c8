"""Every variant of the polynomial product against whole-number arithmetic and against the twin."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.kernels import toeplitz as kernel

SMALL = kernel.MIN_TILE_BITS


@pytest.fixture(params=kernel.backends())
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    kernel.force(request.param)
    yield request.param
    kernel.force(None)


def carryless(a: int, b: int) -> int:
    """Multiply polynomials over GF(2) written as integers."""
    product = 0
    while b:
        low = b & -b
        product ^= a * low  # a shift: low is a power of two
        b ^= low
    return product


def product(tiles: kernel.Tiles, *pairs: tuple[bytes, bytes]) -> bytes:
    total, x, s = (tiles.zeros() for _ in range(3))
    for left, right in pairs:
        tiles.transform(np.frombuffer(left, np.uint8), x)
        tiles.transform(np.frombuffer(right, np.uint8), s)
        tiles.accumulate(total, x, s)
    result = tiles.product(total).tobytes()
    assert not total.any(), "the sum was not wiped"
    return result


tile = st.binary(min_size=SMALL // 8, max_size=SMALL // 8)


@pytest.mark.parametrize("name", kernel.backends())
@settings(max_examples=30)
@given(pairs=st.lists(st.tuples(tile, tile), min_size=1, max_size=3))
def test_a_sum_of_products_is_right_to_the_last_bit(name: str, pairs) -> None:
    kernel.force(name)
    expected = 0
    for pair in pairs:
        expected ^= carryless(*(int.from_bytes(part, "little") for part in pair))
    assert product(kernel.tiles_for(SMALL), *pairs) == expected.to_bytes(SMALL // 4, "little")
    kernel.force(None)


@pytest.mark.parametrize("log2_bits", range(9, 18))
def test_every_size_agrees_with_whole_number_arithmetic(backend: str, log2_bits: int) -> None:
    rng = np.random.default_rng(log2_bits)
    left = rng.bytes(1 << (log2_bits - 3))
    # A sparse right factor keeps the reference fast; its bits lie at the far ends and between.
    places = {0, 1, 63, 64, (1 << log2_bits) - 1, *rng.integers(0, 1 << log2_bits, 40).tolist()}
    sparse = sum(1 << place for place in places)
    right = sparse.to_bytes(len(left), "little")
    expected = carryless(int.from_bytes(left, "little"), sparse)
    assert product(kernel.tiles_for(1 << log2_bits), (left, right)) == expected.to_bytes(
        2 * len(left), "little"
    )


@pytest.mark.parametrize("log2_bits", [18, 20, 22])
def test_the_largest_tiles_multiply_by_a_sparse_factor_as_by_shifts(log2_bits: int) -> None:
    rng = np.random.default_rng(log2_bits)
    n = 1 << log2_bits
    left = rng.integers(0, 2, n, np.uint8)
    places = [0, 65, n // 3, n - 1]
    expected = np.zeros(2 * n, np.uint8)
    for place in places:
        expected[place : place + n] ^= left
    right = np.zeros(n, np.uint8)
    right[places] = 1
    pair = [np.packbits(bits, bitorder="little").tobytes() for bits in (left, right)]
    for name in kernel.backends():
        if name != kernel.TWIN:  # its tiles are smaller
            kernel.force(name)
            got = product(kernel.tiles_for(n), (pair[0], pair[1]))
            assert got == np.packbits(expected, bitorder="little").tobytes()
    kernel.force(None)


def test_the_variants_agree_on_dense_tiles_of_the_largest_size() -> None:
    rng = np.random.default_rng(7)
    pair = rng.bytes(kernel.NATIVE_TILE_BITS // 8), rng.bytes(kernel.NATIVE_TILE_BITS // 8)
    results = set()
    for name in kernel.backends():
        if name != kernel.TWIN:
            kernel.force(name)
            results.add(product(kernel.tiles_for(kernel.NATIVE_TILE_BITS), pair))
    kernel.force(None)
    assert len(results) <= 1


def test_the_twin_refuses_to_round_a_doubt() -> None:
    tiles = kernel.TwinTiles(SMALL)
    total = tiles.zeros()
    total[0] = 0.2 * 2 * SMALL  # every coefficient is 0.2
    with pytest.raises(RuntimeError, match="away from a whole number"):
        tiles.product(total)


def test_a_buffer_of_the_wrong_size_is_refused_before_the_kernel_sees_it(backend: str) -> None:
    tiles = kernel.tiles_for(SMALL)
    with pytest.raises(ValueError, match="no tile of 512 bits"):
        tiles.transform(np.zeros(SMALL // 8 - 1, np.uint8), tiles.zeros())
    if backend != kernel.TWIN:
        with pytest.raises(ValueError, match="no spectrum"):
            tiles.product(np.zeros(8, np.uint64))


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="abacus"):
        kernel.force("abacus")
