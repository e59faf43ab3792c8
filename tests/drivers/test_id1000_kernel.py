"""The ID1000 kernel: every variant equals the NumPy twin, and both a plain sort."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import id1000

TWIN = "numpy"
variants = pytest.mark.parametrize("variant", id1000.variants())
times_lists = st.lists(st.lists(st.integers(0, 2**62), max_size=30).map(sorted), max_size=8)


@pytest.fixture(autouse=True)
def _best_backend_afterwards():
    yield
    id1000.force(id1000.variants()[0])


def stream(times: list[int]) -> np.ndarray:
    return np.frombuffer(np.array(times, "<u8").tobytes(), np.uint8)


@variants
def test_a_time_is_eight_bytes_little_endian(variant):
    id1000.force(variant)
    data = np.frombuffer(bytes.fromhex("E803000000000000 0000000001000000"), np.uint8)
    times_ps, channels = id1000.merge([data], [3], 5)
    assert times_ps.tolist() == [1005, (1 << 32) + 5]
    assert channels.tolist() == [3, 3]
    assert (times_ps.dtype, channels.dtype) == (np.int64, np.uint8)


@variants
@given(lists=times_lists, offset_ps=st.integers(0, 2**60))
def test_merging_is_sorting_and_ties_keep_the_order_of_the_inputs(variant, lists, offset_ps):
    id1000.force(variant)
    inputs = [9 - n for n in range(len(lists))]
    times_ps, channels = id1000.merge([stream(one) for one in lists], inputs, offset_ps)
    tags = [(t, n) for n, one in enumerate(lists) for t in one]
    assert times_ps.tolist() == [t + offset_ps for t, _ in sorted(tags)]
    assert channels.tolist() == [inputs[n] for _, n in sorted(tags)]


@variants
@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 1023, 1024, 1025, 4000]), min_size=4, max_size=4),
    latest_ps=st.sampled_from([3, 1000, 2**40]),
    seed=st.integers(0, 99),
)
def test_four_inputs_of_any_length_are_merged_as_any_other(variant, sizes, latest_ps, seed):
    rng = np.random.default_rng(seed)
    streams = [stream(sorted(rng.integers(0, latest_ps, size).tolist())) for size in sizes]
    merged = []
    for name in (variant, TWIN):
        id1000.force(name)
        merged.append(id1000.merge(streams, [4, 3, 2, 1], 5))
    assert np.array_equal(merged[0][0], merged[1][0])
    assert np.array_equal(merged[0][1], merged[1][1])


@variants
@given(times=st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_a_check_finds_the_largest_time_and_every_fall(variant, times):
    id1000.force(variant)
    falls = sum(b < a for a, b in pairwise(times))
    assert id1000.check(stream(times)) == (max(times, default=0), falls)


@variants
def test_an_unaligned_message_is_read_all_the_same(variant):
    id1000.force(variant)
    whole = np.frombuffer(b"\xff" + np.array([1, 2, 3], "<u8").tobytes(), np.uint8)
    times_ps, _ = id1000.merge([whole[1:]], [1], 0)
    assert times_ps.tolist() == [1, 2, 3]
    assert id1000.check(whole[1:]) == (3, 0)


@variants
def test_half_a_time_is_the_callers_fault(variant):
    id1000.force(variant)
    with pytest.raises(ValueError, match="no whole times"):
        id1000.merge([np.zeros(9, np.uint8)], [1], 0)
    with pytest.raises(ValueError, match="no whole times"):
        id1000.check(np.zeros(7, np.uint8))


def test_more_streams_than_the_kernel_has_heads_for_are_refused():
    with pytest.raises(ValueError, match="9 streams of 9 inputs, at most 8"):
        id1000.merge([stream([1])] * 9, range(9), 0)


def test_an_unknown_variant_is_refused_by_name():
    with pytest.raises(ValueError, match="no variant 'fpga'"):
        id1000.force("fpga")
