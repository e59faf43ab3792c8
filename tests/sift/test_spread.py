"""The order of a block's key bits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qkdd.sift.spread import APART, TOGETHER, spread

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
