"""The arrivals kernel: C equals its NumPy twin bit for bit, and gaps are exponential."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import arrivals

WORDS = np.random.Generator(np.random.SFC64(3)).bit_generator.random_raw(1 << 20)


@given(
    st.integers(0, 1 << 19),
    st.integers(1, 1200),
    st.floats(0.0, 5.0),
    st.floats(1e-6, 10.0),
    st.integers(0, 10**9),
)
def test_place_is_the_same_in_every_backend(
    start: int, n_words: int, at: float, per_pulse: float, n_pulses: int
) -> None:
    results = []
    for name in arrivals.backends():
        arrivals.force(name)
        words = WORDS[start : start + n_words]
        results.append(arrivals.place(words, at=at, per_pulse=per_pulse, n_pulses=n_pulses))
    arrivals.force(None)
    first, *others = results
    pulses, next_at = first
    assert pulses.size < n_words
    assert not pulses.size or (pulses[0] >= 0 and pulses[-1] < n_pulses)
    assert (np.diff(pulses) >= 0).all()
    assert pulses.size == n_words - 1 or next_at >= per_pulse * n_pulses
    for other in others:
        np.testing.assert_array_equal(pulses, other[0])
        assert next_at == other[1]


@pytest.mark.parametrize("name", arrivals.backends())
def test_places_are_sums_of_logarithms_of_the_words(name: str) -> None:
    arrivals.force(name)
    uniform = ((WORDS >> np.uint64(33)).astype(np.float64) + 0.5) / 2**31
    words = WORDS[:1000]
    _, at = arrivals.place(words, at=0.25, per_pulse=1e-3, n_pulses=10**9)
    arrivals.force(None)
    assert at == pytest.approx(0.25 - np.log(uniform[1:1000]).sum(), rel=1e-9)
    for word in (0, 1 << 33, 1 << 63, (1 << 64) - 1):
        expected = -math.log(((word >> 33) + 0.5) / 2**31)
        assert arrivals.first_gap(word) == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_what_makes_no_sense_is_refused() -> None:
    for at, per_pulse, n_words in (
        (-1.0, 1.0, 5),
        (0.0, 0.0, 5),
        (0.0, math.nan, 5),
        (0.0, 1.0, 0),
    ):
        with pytest.raises(ValueError, match="per pulse"):
            arrivals.place(WORDS[:n_words], at=at, per_pulse=per_pulse, n_pulses=5)
