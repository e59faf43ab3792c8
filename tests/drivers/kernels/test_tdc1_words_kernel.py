"""Words of a simulated TDC1: the C kernel tells what its NumPy twin tells, word for word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import tdc1_words
from drivers.kernels.tdc1_words import DUMMY, DUMMY_TICKS, TICK_PS

GAPS_PS = st.one_of(
    st.integers(0, 3 * TICK_PS),
    st.integers(0, 3).map(lambda n: n * DUMMY_TICKS * TICK_PS),
    st.integers(DUMMY_TICKS * TICK_PS - 3 * TICK_PS, DUMMY_TICKS * TICK_PS + 3 * TICK_PS),
    st.integers(0, 4 * DUMMY_TICKS * TICK_PS),
)


@pytest.fixture(autouse=True)
def _best_backend_again():
    yield
    tdc1_words.force(None)


@pytest.mark.skipif("c" not in tdc1_words.backends(), reason="no C kernel here")
@given(
    gaps_ps=st.lists(GAPS_PS, max_size=12),
    seed=st.integers(0, 99),
    start=st.integers(0, DUMMY_TICKS),
    span=st.none() | st.integers(0, 6 * DUMMY_TICKS),
    last=st.integers(0, DUMMY_TICKS),
    behind=st.sampled_from([0, DUMMY_TICKS - 1, DUMMY_TICKS, 2 * DUMMY_TICKS])
    | st.integers(0, 4 * DUMMY_TICKS),
)
def test_the_kernel_and_its_twin_tell_the_same_words(
    gaps_ps: list[int], seed: int, start: int, span: int | None, last: int, behind: int
) -> None:
    times_ps = np.cumsum(np.array(gaps_ps, np.int64), dtype=np.int64)
    channels = np.random.default_rng(seed).integers(1, 5, times_ps.size).astype(np.uint8)
    told = []
    for name in ("c", "numpy"):
        tdc1_words.force(name)
        words, end = tdc1_words.words(
            times_ps,
            channels,
            start=start,
            stop=None if span is None else start + span,
            until=last + behind,
            last=last,
        )
        told.append((words.tolist(), end))
    assert told[0] == told[1]


@pytest.mark.parametrize("name", tdc1_words.backends())
def test_inputs_of_one_tick_share_a_word_and_a_dummy_comes_where_half_a_wrap_is_silent(
    name: tdc1_words.Backend,
) -> None:
    tdc1_words.force(name)
    late_ps = (DUMMY_TICKS + 9) * TICK_PS
    words, last = tdc1_words.words(
        np.array([4_000, 5_999, 6_000, late_ps], np.int64),
        np.array([1, 4, 2, 3], np.uint8),
        start=0,
        stop=None,
        until=0,
        last=0,
    )
    expected = [2 << 5 | 0b1001, 3 << 5 | 0b0010, (DUMMY_TICKS + 3) << 5 | DUMMY]
    assert words.tolist() == [*expected, (DUMMY_TICKS + 9) << 5 | 0b0100]
    assert last == DUMMY_TICKS + 9
