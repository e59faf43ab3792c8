"""The order of a block's key bits, and the same answer from every variant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.kernels import spread as kernel
from qkdd.kernels.sifting import KeyPlanes
from qkdd.kernels.spread import APART, TOGETHER, spread

PIECE = TOGETHER * APART


@given(n=st.integers(0, 4 * PIECE))
def test_the_order_is_every_1024th_eight_from_the_first_on_then_from_the_second(n: int) -> None:
    values = np.arange(n)
    low, high = (values & 255).astype(np.uint8), (values >> 8).astype(np.uint8)
    spread(low)
    spread(high)
    whole = n - n % PIECE
    wanted = [
        one
        for first in range(0, PIECE, TOGETHER)
        for eight in range(first, whole, PIECE)
        for one in range(eight, eight + TOGETHER)
    ]
    assert (low + 256 * high.astype(int)).tolist() == wanted + list(range(whole, n))


def test_every_frame_has_its_share_of_every_stretch_of_light() -> None:
    frame_bits, n = 65_536, 5_000_000
    for first, length in ((0, 100_000), (2_345_678, 20_000), (4_800_000, 99_000)):
        bits = np.zeros(n, np.uint8)
        bits[first : first + length] = 1
        spread(bits)
        frames = bits[: n - n % frame_bits].reshape(-1, frame_bits).sum(axis=1)
        share = length / n * frame_bits
        assert np.abs(frames - share).max() < 0.1 * share + frame_bits / 1_000


@pytest.mark.parametrize("variant", kernel.backends())
@given(
    sizes=st.lists(st.integers(0, 200) | st.sampled_from([1000, PIECE - 1, PIECE]), max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_are_joined_unpacked_and_spread(variant: str, sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    planes = [rng.integers(0, 2, (3, size)).astype(np.uint8) for size in sizes]
    parts = [
        KeyPlanes(size, tuple(np.packbits(one, bitorder="little") for one in bits), (0, 0, 0))
        for size, bits in zip(sizes, planes, strict=True)
    ]
    whole = np.concatenate([np.empty((3, 0), np.uint8), *planes], axis=1)
    wanted = whole[0].copy(), whole[1] | whole[2] << 1
    for values in wanted:
        spread(values)
    kernel.force(variant)
    found = kernel.unpack_spread(parts)
    kernel.force(None)
    assert [one.tolist() for one in found] == [one.tolist() for one in wanted]
