"""Page's test against its definition."""

import math

from hypothesis import given
from hypothesis import strategies as st

from qkdd.station.error_counts import WORSE, WORSE_NATS, Page


@given(
    usual=st.floats(1e-3, 0.09),
    samples=st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 0.2)), max_size=40),
)
def test_the_test_for_worse_light_is_the_highest_evidence_of_any_last_samples(
    usual: float, samples: list[tuple[int, float]]
) -> None:
    page, worse = Page(usual), usual + WORSE
    counts = [(n, round(n * share)) for n, share in samples]
    nats = [
        wrong * math.log(worse / usual) + (n - wrong) * math.log((1 - worse) / (1 - usual))
        for n, wrong in counts
    ]
    for end in range(1, len(counts) + 1):
        highest = max(0.0, *(sum(nats[begin:end]) for begin in range(end)))
        found = page.take(*counts[end - 1])
        if abs(highest - WORSE_NATS) > 1e-6 * (1.0 + sum(map(abs, nats))):
            assert found == (highest > WORSE_NATS)


@given(usual=st.floats(1e-6, 2.0), counts=st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1))))
def test_no_rate_and_no_count_breaks_the_test(
    usual: float, counts: list[tuple[int, float]]
) -> None:
    page = Page(usual)
    for matched, share in counts:
        page.take(matched, round(matched * share))
