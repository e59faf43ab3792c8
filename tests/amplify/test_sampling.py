"""The sampling bound against the hypergeometric distribution itself, in exact fractions."""

import math
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.amplify.sampling import (
    binary_entropy,
    error_rate_outside,
    errors_outside,
    log_tail,
)


def exact_tail(x: int, n_test: int, n_key: int, n_errors: int) -> Fraction:
    """Pr[at most x of n_errors fall into n_test of n_test + n_key]."""
    ways = sum(
        math.comb(n_errors, i) * math.comb(n_test + n_key - n_errors, n_test - i)
        for i in range(min(x, n_test, n_errors) + 1)
        if n_test - i <= n_test + n_key - n_errors
    )
    return Fraction(ways, math.comb(n_test + n_key, n_test))


small = st.integers(1, 60)


@given(st.data(), small, small)
def test_the_tail_bound_is_above_the_exact_tail(data: st.DataObject, n_test: int, n_key: int):
    n_errors = data.draw(st.integers(0, n_test + n_key))
    x = data.draw(st.integers(0, n_test))
    bound = log_tail(x, n_test=n_test, n_key=n_key, n_errors=n_errors)
    exact = exact_tail(x, n_test, n_key, n_errors)
    assert bound <= 0.0
    if exact:
        assert bound >= math.log(exact) - 1e-12
    else:
        assert bound == -math.inf


@given(st.data(), st.integers(1, 200), st.integers(1, 200), st.floats(1e-12, 0.1))
def test_inversion_keeps_its_promise_and_is_tight(
    data: st.DataObject, n_test: int, n_key: int, epsilon: float
):
    x = data.draw(st.integers(0, n_test))
    y = errors_outside(x, n_test=n_test, n_key=n_key, epsilon=epsilon)
    if y < n_key:
        assert exact_tail(x, n_test, n_key, x + y) <= Fraction(epsilon)
    # Tight: three fewer errors, or a hundredth, would have been credible at a tenth of epsilon.
    fewer = y - 3 - y // 100
    if fewer > 0 and epsilon < 0.01:
        assert exact_tail(x, n_test, n_key, x + fewer) > Fraction(epsilon) / 10


def test_no_error_seen_does_not_prove_no_error() -> None:
    """The printed gamma says 0 here; by hand: (1 - f)^10000 = 1e-24 at f = 0.0055."""
    y = errors_outside(0, n_test=10_000, n_key=1_000_000, epsilon=1e-24)
    assert 5400 < y < 5560


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.floats(0, 0.4), st.floats(-60, -3))
def test_more_errors_seen_never_prove_fewer_outside(
    n_test: int, n_key: int, share: float, log10_epsilon: float
):
    x = int(share * n_test)
    first, second = (
        errors_outside(seen, n_test=n_test, n_key=n_key, epsilon=10**log10_epsilon)
        for seen in (x, min(n_test, x + 1))
    )
    assert first <= second <= n_key


@given(st.integers(0, 60), st.integers(1, 60), st.integers(1, 60))
def test_a_lot_draws_the_whole_part_of_its_mean_with_probability_one_half(marked, others, drawn):
    """What the proof of error_rate_outside takes from Siegel 2001, in exact fractions."""
    population = marked + others
    drawn = min(drawn, population)
    whole = drawn * marked // population
    tail = 1 - exact_tail(whole - 1, drawn, population - drawn, marked) if whole else Fraction(1)
    assert tail >= Fraction(1, 2)


@settings(deadline=None)
@given(st.data(), st.integers(2, 40), st.integers(2, 40), st.floats(1e-6, 0.2))
def test_the_rate_outside_is_missed_as_seldom_as_said_for_any_larger_numbers(
    data: st.DataObject, n_test: int, n_key: int, epsilon: float
):
    """True numbers above the bounds, any number of errors: Pr[rate reaches the bound] <= epsilon.

    The bound is evaluated at the errors that the sample shows, as a block does.
    """
    true_test = n_test + data.draw(st.integers(0, 40))
    true_key = n_key + data.draw(st.integers(0, 40))
    errors = data.draw(st.integers(0, true_test + true_key))
    missed = Fraction(0)
    for x in range(min(errors, true_test) + 1):
        outside = errors - x
        if outside > true_key or x > n_test:
            continue
        bound = error_rate_outside(x, n_test=n_test, n_key=n_key, epsilon=epsilon)
        if Fraction(outside, true_key) > Fraction(bound):
            below = exact_tail(x - 1, true_test, true_key, errors) if x else Fraction(0)
            missed += exact_tail(x, true_test, true_key, errors) - below
    assert missed <= Fraction(epsilon)


def test_ten_million_take_less_than_a_twentieth_of_a_second() -> None:
    start = time.process_time()
    errors_outside(5_000, n_test=300_000, n_key=10_000_000, epsilon=1e-25)
    assert time.process_time() - start < 0.05


@pytest.mark.parametrize(("x", "h"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.11, 0.499915958)])
def test_binary_entropy_has_its_known_values(x: float, h: float) -> None:
    assert binary_entropy(x) == pytest.approx(h, abs=1e-9)


@pytest.mark.parametrize("x", [-0.1, 1.1, math.nan])
def test_binary_entropy_refuses_what_is_no_probability(x: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        binary_entropy(x)
