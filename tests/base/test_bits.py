"""Packing is exact, and refuses what it did not make."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.bits import pack, unpack


@given(st.lists(st.integers(0, 1), max_size=200))
def test_unpack_undoes_pack(values: list[int]) -> None:
    bits = np.array(values, np.uint8)
    assert unpack(pack(bits), bits.size).tolist() == values


def test_bit_0_is_the_lowest_bit_of_byte_0() -> None:
    assert pack(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1], np.uint8)) == b"\x01\x01"


@pytest.mark.parametrize(("data", "n_bits"), [(b"", 1), (b"\0\0", 8), (b"\x02", 1), (b"\x80", 7)])
def test_wrong_length_and_padding_that_is_set_are_refused(data: bytes, n_bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        unpack(data, n_bits)
