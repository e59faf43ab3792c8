"""The intervals against the binomial distribution, summed exactly."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.amplify.concentration import Interval, binomial_excess, chernoff, hoeffding


def miss_probabilities(interval: Interval, n: int, p: float) -> tuple[float, float]:
    """Pr[mean below the lower bound], Pr[mean above the upper bound] for Binomial(n, p)."""
    below, above = [], []
    for x in range(n + 1):
        log_pmf = (
            math.lgamma(n + 1)
            - math.lgamma(x + 1)
            - math.lgamma(n - x + 1)
            + x * math.log(p)
            + (n - x) * math.log1p(-p)
        )
        lower, upper = interval(x, n)
        if n * p < lower:
            below.append(math.exp(log_pmf))
        if n * p > upper:
            above.append(math.exp(log_pmf))
    return math.fsum(below), math.fsum(above)


@pytest.mark.parametrize("bound", [hoeffding, chernoff])
@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize("p", [0.001, 0.05, 0.5, 0.97])
@pytest.mark.parametrize("epsilon", [0.3, 1e-2, 1e-6])
def test_each_side_misses_the_mean_at_most_as_often_as_said(bound, n, p, epsilon) -> None:
    below, above = miss_probabilities(bound(epsilon), n, p)
    assert below <= epsilon
    assert above <= epsilon


@given(st.integers(0, 10**8), st.integers(0, 10**8), st.floats(1e-60, 0.5))
def test_the_count_lies_inside_and_no_bound_is_negative(count, others, epsilon) -> None:
    for bound in (hoeffding, chernoff):
        lower, upper = bound(epsilon)(count, count + others)
        assert 0.0 <= lower <= count <= upper


def test_chernoff_is_narrow_where_the_count_is_small() -> None:
    narrow, wide = (bound(1e-10)(100, 10_000_000)[1] for bound in (chernoff, hoeffding))
    assert narrow < 250 < 10_000 < wide


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -1.0, math.nan])
def test_an_epsilon_that_is_no_probability_is_refused(epsilon: float) -> None:
    for bound in (hoeffding, chernoff):
        with pytest.raises(ValueError, match="epsilon"):
            bound(epsilon)


@pytest.mark.parametrize("n", [1, 30, 400])
@pytest.mark.parametrize("p", [0.0, 0.001, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("epsilon", [0.3, 1e-2, 1e-6])
def test_a_binomial_number_exceeds_its_bound_at_most_as_often_as_said(n, p, epsilon) -> None:
    limit = n * (p + binomial_excess(n, p, epsilon))
    chances = [
        math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1) if x > limit + 1e-9
    ]
    assert math.fsum(chances) <= epsilon


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.floats(0, 1), st.floats(1e-60, 0.5))
def test_a_lower_bound_of_the_number_of_draws_may_stand_for_it(n, more, p, epsilon) -> None:
    assert binomial_excess(n + more, p, epsilon) <= binomial_excess(n, p, epsilon)


@pytest.mark.parametrize(("n", "p"), [(0, 0.5), (1, -0.1), (1, 1.1), (1, math.nan)])
def test_draws_that_are_none_are_refused(n, p) -> None:
    with pytest.raises(ValueError, match="draws with chance"):
        binomial_excess(n, p, 0.1)
