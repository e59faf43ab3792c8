"""The checks tell unequal bits apart as often as their bound says."""

import numpy as np
import pytest

from qkdd.base.bits import pack
from qkdd.reconcile import checks


def naive_poly1305(key: bytes, data: bytes) -> int:
    """RFC 8439, section 2.5, written out."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(data), 16):
        piece = data[i : i + 16]
        total = (total + int.from_bytes(piece + b"\x01", "little")) * r % (2**130 - 5)
    return (total + int.from_bytes(key[16:32], "little")) % 2**128


@pytest.mark.parametrize("n_bits", [0, 1, 8, 129, 65_536])
def test_block_hash_is_a_toeplitz_map_of_poly1305(n_bits: int) -> None:
    rng = np.random.default_rng(n_bits)
    bits = rng.integers(0, 2, n_bits, np.uint8)
    key = rng.bytes(checks.BLOCK_KEY_BYTES)
    tag = naive_poly1305(key, pack(bits))
    diagonals = int.from_bytes(key[32:], "little")
    matrix = [[diagonals >> (i + j) & 1 for j in range(128)] for i in range(64)]
    column = np.array([tag >> j & 1 for j in range(128)])
    expected = pack((np.array(matrix) @ column % 2).astype(np.uint8))
    assert expected == checks.block_hash(bits, key)


def test_one_wrong_bit_changes_the_check() -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, 65_536, np.uint8)
    for _ in range(50):
        key = rng.bytes(checks.FRAME_KEY_BYTES)
        wrong = bits.copy()
        wrong[rng.integers(bits.size)] ^= 1
        assert checks.frame_check(bits, key) != checks.frame_check(wrong, key)


def test_outputs_are_even_over_keys() -> None:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, 1_000, np.uint8)
    drawn = [checks.frame_check(bits, rng.bytes(checks.FRAME_KEY_BYTES)) for _ in range(2_000)]
    ones = np.array([[value >> i & 1 for i in range(32)] for value in drawn]).sum(axis=0)
    assert (abs(ones - 1_000) < 5 * np.sqrt(500)).all()  # 5 sigma of a fair coin


def test_bound_is_two_to_the_minus_64_for_a_block() -> None:
    assert checks.collision_bound(11_000_000, 64) < 1.0001 * 2.0**-64
    assert checks.collision_bound(65_536, 32) < 1.0001 * 2.0**-32
