"""The TDC1 kernel: every variant equals the NumPy twin, and both equal the sheet's examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import tdc1

TWIN = "numpy"


@pytest.fixture(autouse=True)
def _best_backend_afterwards():
    yield
    tdc1.force(tdc1.variants()[0])


def decode(variant: str, data: bytes, last_tick: int = 0) -> tdc1.Decoded:
    tdc1.force(variant)
    return tdc1.decode(np.frombuffer(data, np.uint8), last_tick)


@pytest.mark.parametrize("variant", tdc1.variants())
@pytest.mark.parametrize(
    ("wire", "tick", "channels"),
    [
        ("02 7D 00 00", 1000, [2]),
        ("10 00 00 80", 1 << 26, []),
        ("EA FF FF FF", (1 << 27) - 1, [2, 4]),
    ],
)
def test_worked_examples_of_the_manual(variant, wire, tick, channels):
    decoded = decode(variant, bytes.fromhex(wire))
    assert decoded.last_tick == tick
    assert decoded.channels.tolist() == channels
    assert decoded.times_ps.tolist() == [tick * 2000] * len(channels)


@pytest.mark.parametrize("variant", tdc1.variants())
def test_time_counts_on_over_the_wrap_of_268_ms(variant):
    data = bytes.fromhex("EAFFFFFF 21000000".replace(" ", ""))  # last tick, then tick 1 on input 1
    decoded = decode(variant, data, last_tick=(5 << 27) + 7)
    assert decoded.times_ps.tolist() == [
        ((6 << 27) - 1) * 2000,
        ((6 << 27) - 1) * 2000,
        ((6 << 27) + 1) * 2000,
    ]
    assert decoded.longest_step == (1 << 27) - 8


@pytest.mark.parametrize("variant", tdc1.variants())
@given(
    words=st.lists(st.integers(0, 2**32 - 1), max_size=60),
    last_tick=st.integers(0, 2**50),
)
def test_every_variant_equals_its_twin(variant, words, last_tick):
    data = np.array(words, "<u4").tobytes()
    ours, twin = decode(variant, data, last_tick), decode(TWIN, data, last_tick)
    np.testing.assert_array_equal(ours.times_ps, twin.times_ps)
    np.testing.assert_array_equal(ours.channels, twin.channels)
    assert ours.last_tick == twin.last_tick
    assert ours.longest_step == twin.longest_step
    assert ours.n_hollow == twin.n_hollow
    assert (ours.times_ps.dtype, ours.channels.dtype) == (np.int64, np.uint8)


@pytest.mark.parametrize("variant", tdc1.variants())
@given(
    events=st.lists(
        st.tuples(st.integers(1, 90), st.sampled_from([1, 2, 4, 8] * 8 + [0, 3, 15, 16, 17])),
        max_size=120,
    ),
    tick_bits=st.integers(0, 26),
    before_wrap=st.integers(0, 4000),
)
def test_rows_of_single_inputs_equal_the_twin_across_wraps_and_other_words(
    variant, events, tick_bits, before_wrap
):
    last_tick = (3 << 27) - before_wrap
    ticks = last_tick + np.cumsum([step << tick_bits for step, _ in events], dtype=np.int64)
    words = ticks << 5 | np.array([pattern for _, pattern in events], np.int64)
    data = (words & 0xFFFFFFFF).astype("<u4").tobytes()
    ours, twin = decode(variant, data, last_tick), decode(TWIN, data, last_tick)
    np.testing.assert_array_equal(ours.times_ps, twin.times_ps)
    np.testing.assert_array_equal(ours.channels, twin.channels)
    assert (ours.last_tick, ours.longest_step) == (twin.last_tick, twin.longest_step)
    assert ours.n_hollow == twin.n_hollow


@pytest.mark.parametrize("variant", tdc1.variants())
def test_half_a_word_is_the_callers_fault(variant):
    with pytest.raises(ValueError, match="no whole words"):
        decode(variant, b"\0\0\0\0\0")


def test_an_unknown_variant_is_refused_by_name():
    with pytest.raises(ValueError, match="no variant 'fpga'"):
        tdc1.force("fpga")
