"""The hash of privacy amplification against its definition, row by row."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.amplify.toeplitz import seed_bytes, toeplitz_hash
from qkdd.base.bits import Bits, pack, packed_bytes, unpack
from qkdd.kernels import toeplitz as kernel


def row(bits: Bits, seed: bytes, n_out: int, i: int) -> int:
    """Bit i of the hash by its definition: T[i, j] = seed[i - j + m - 1]."""
    m = bits.size - n_out
    seed_bits = np.unpackbits(np.frombuffer(seed, np.uint8), bitorder="little")
    matrix_row = seed_bits[i : i + m][::-1]
    return (int(matrix_row @ bits[:m].astype(np.int64)) + int(bits[m + i])) % 2


def hashed(bits: Bits, seed: bytes, n_out: int) -> Bits:
    out = bytearray(b"\xff" * packed_bytes(n_out))
    toeplitz_hash(bits, seed, n_out, out)
    return unpack(out, n_out)


def random_case(seed: int, n: int) -> tuple[Bits, bytes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n, np.uint8), rng.bytes(seed_bytes(n))


@pytest.mark.parametrize("name", kernel.backends())
@settings(max_examples=40)
@given(n=st.integers(1, 6000), share=st.floats(0, 1), case=st.integers(0, 2**32))
def test_every_bit_is_what_the_matrix_says(name: str, n: int, share: float, case: int) -> None:
    kernel.force(name)
    bits, seed = random_case(case, n)
    n_out = round(share * n)
    got = hashed(bits, seed, n_out)
    kernel.force(None)
    rows = np.random.default_rng(case).integers(0, max(n_out, 1), min(n_out, 50))
    for i in {*rows.tolist(), n_out - 1} - {-1}:
        assert got[i] == row(bits, seed, n_out, i)


@pytest.mark.parametrize("name", kernel.backends())
@pytest.mark.parametrize(
    ("n", "n_out"),
    [(300_000, 90_000), (700_001, 650_000), (700_001, 9), (1_500_000, 750_000)],
)
def test_blocks_of_many_tiles_and_groups_are_hashed_right(name: str, n: int, n_out: int) -> None:
    kernel.force(name)
    bits, seed = random_case(n, n)
    got = hashed(bits, seed, n_out)
    kernel.force(None)
    for i in (0, 1, 7, n_out // 2, n_out - 2, n_out - 1):
        assert got[i] == row(bits, seed, n_out, i)


def test_a_default_block_is_hashed_alike_by_every_native_variant() -> None:
    bits, seed = random_case(1, 10_500_000)
    results = []
    for name in kernel.backends():
        if name != kernel.TWIN:
            kernel.force(name)
            results.append(hashed(bits, seed, 4_000_003))
    kernel.force(None)
    for got in results:
        assert np.array_equal(got, results[0])
        for i in (0, 1_234_567, 4_000_002):
            assert got[i] == row(bits, seed, 4_000_003, i)


@given(case=st.integers(0, 2**32), n=st.integers(2, 3000))
def test_the_hash_is_linear_in_the_key_and_affine_in_the_seed(case: int, n: int) -> None:
    a, seed = random_case(case, n)
    b, other_seed = random_case(case + 1, n)
    n_out = n // 2
    assert np.array_equal(
        hashed(a ^ b, seed, n_out), hashed(a, seed, n_out) ^ hashed(b, seed, n_out)
    )
    both = bytes(x ^ y for x, y in zip(seed, other_seed, strict=True))
    zero = bytes(len(seed))
    assert np.array_equal(
        hashed(a, both, n_out) ^ hashed(a, zero, n_out),
        hashed(a, seed, n_out) ^ hashed(a, other_seed, n_out),
    )


def test_the_family_is_two_universal() -> None:
    """Over all 2^6 seeds, any two different blocks of 7 bits meet on 3 bits in at most 2^3."""
    n, n_out = 7, 3
    table = np.array(
        [
            [
                int.from_bytes(pack(hashed(unpack(bytes([x]), n), bytes([s]), n_out)), "little")
                for x in range(2**n)
            ]
            for s in range(2 ** (n - 1))
        ]
    )
    for difference in range(1, 2**n):
        meet = int(np.sum(table[:, difference] == table[:, 0]))
        assert meet <= 2 ** (n - 1) // 2**n_out


def test_spare_bits_of_the_seed_do_not_matter() -> None:
    bits, seed = random_case(3, 1002)
    changed = seed[:-1] + bytes([seed[-1] ^ 0xFE])
    assert np.array_equal(hashed(bits, seed, 400), hashed(bits, changed, 400))


def test_the_largest_block_takes_less_than_32_mb_of_temporaries() -> None:
    n = 60_000_000
    bits = np.ones(n, np.uint8)
    seed = bytes(seed_bytes(n))
    out = bytearray(packed_bytes(20_000_000))
    tracemalloc.start()
    try:
        toeplitz_hash(bits, seed, 20_000_000, out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32e6
    assert set(out) == {0xFF}, "a seed of zeros leaves x2"


@pytest.mark.parametrize(
    ("n_seed", "n_out", "n_bytes", "says"),
    [(12, 40, 5, "seed has 12"), (13, 40, 6, "output has 6"), (13, 101, 13, "100 bits to 101")],
)
def test_buffers_that_do_not_fit_are_refused(n_seed, n_out, n_bytes, says) -> None:
    with pytest.raises(ValueError, match=says):
        toeplitz_hash(np.zeros(100, np.uint8), bytes(n_seed), n_out, bytearray(n_bytes))
