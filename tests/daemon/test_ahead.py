"""Keys cut ahead: only for those who ask often, few, each name once, and burned if nobody comes."""

from uuid import UUID, uuid4

import pytest

from qkdd.daemon.ahead import (
    AHEAD_S,
    IDLE_S,
    LARGE_ORDER,
    MOST_BYTES,
    OFTEN_PER_S,
    PAUSE_S,
    SPAN_S,
    Ahead,
)
from qkdd.keys.cutting import Order

ONE = Order(1, 32, "alpha", ("beta",))


def ask(ahead: Ahead, order: Order, per_s: float, seconds: float) -> Order | None:
    """Ask at a steady rate from 0 on; return the first order for keys to be cut ahead."""
    for n in range(round(per_s * seconds)):
        ahead.take(order, n / per_s)
        more = ahead.next_order(order, n / per_s)
        if more is not None:
            return more
    return None


def names(number: int) -> list[UUID]:
    return [uuid4() for _ in range(number)]


def test_who_asks_seldom_gets_nothing_cut_ahead() -> None:
    assert ask(Ahead(128), ONE, 0.5 * OFTEN_PER_S, 100 * SPAN_S) is None


@pytest.mark.parametrize("per_s", [50.0, 100.0])
def test_who_asks_often_gets_what_lasts_for_a_moment(per_s: float) -> None:
    ahead = Ahead(128)
    now_s = 20 * SPAN_S
    for n in range(round(now_s * per_s)):
        ahead.take(ONE, n / per_s)
    more = ahead.next_order(ONE, now_s)
    assert more is not None
    # The faded sum of a steady rate is the rate times the span, up to one key.
    assert more.number == pytest.approx(per_s * AHEAD_S, abs=1 + AHEAD_S / SPAN_S)
    assert more.told == ONE.told


def test_no_more_is_cut_than_one_order_and_one_crash_may_have() -> None:
    for most, n_bytes, limit in (
        (1_024, 32, MOST_BYTES // 32),
        (10, 32, 10),
        (128, 512, MOST_BYTES // 512),
    ):
        ahead, order = Ahead(most), Order(1, n_bytes, "alpha", ("beta",))
        for _ in range(1_000):
            ahead.take(order, 0.0)
        more = ahead.next_order(order, 0.0)
        assert more is not None
        assert more.number == limit


def test_keys_too_large_to_be_wasted_are_not_cut_ahead() -> None:
    ahead, order = Ahead(128), Order(1, MOST_BYTES + 1, "alpha", ("beta",))
    for _ in range(1_000):
        ahead.take(order, 0.0)
    assert ahead.next_order(order, 0.0) is None


def test_every_name_is_given_once_and_only_to_the_same_applications_and_size() -> None:
    ahead = Ahead(128)
    more = ask(ahead, ONE, 200.0, 10.0)
    assert more is not None
    came = names(more.number)
    ahead.came(more, came)
    others = (
        Order(1, 16, "alpha", ("beta",)),
        Order(1, 32, "alpha", ("gamma",)),
        Order(1, 32, "anna", ("beta",)),
        Order(1, 32, "alpha", ("beta",), ("anna",)),
    )
    assert [ahead.take(one, 1.0) for one in others] == [()] * 4
    given = [ahead.take(ONE, 1.0) for _ in range(more.number + 1)]
    assert [*given] == [(name,) for name in came] + [()]


def test_an_order_of_a_few_takes_all_of_its_keys_or_none_and_a_large_one_none() -> None:
    ahead = Ahead(128)
    more = ask(ahead, ONE, 200.0, 10.0)
    assert more is not None
    came = names(4)
    ahead.came(more, came)
    assert ahead.take(Order(LARGE_ORDER, 32, "alpha", ("beta",)), 1.0) == ()
    assert ahead.take(Order(5, 32, "alpha", ("beta",)), 1.0) == ()
    assert ahead.take(Order(3, 32, "alpha", ("beta",)), 1.0) == tuple(came[:3])
    assert ahead.all() == came[3:]
    assert ahead.all() == []


def test_one_order_at_a_time_is_under_way_and_a_refusal_makes_a_pause() -> None:
    ahead = Ahead(128)
    more = ask(ahead, ONE, 200.0, 10.0)
    assert more is not None
    ahead.take(ONE, 1.0)
    assert ahead.next_order(ONE, 1.0) is None
    ahead.refused(more, 1.0)
    for now_s, again in ((1.0 + 0.99 * PAUSE_S, False), (1.0 + 1.01 * PAUSE_S, True)):
        for _ in range(100):
            ahead.take(ONE, now_s)
        assert (ahead.next_order(ONE, now_s) is not None) is again


def test_more_is_cut_when_half_is_gone() -> None:
    ahead = Ahead(128)
    for _ in range(1_000):
        ahead.take(ONE, 0.0)
    more = ahead.next_order(ONE, 0.0)
    assert more is not None
    ahead.came(more, names(more.number))
    asked = 0
    while ahead.next_order(ONE, 0.0) is None:
        assert ahead.take(ONE, 0.0)
        asked += 1
    assert asked == more.number // 2


def test_what_nobody_comes_for_is_burned_once() -> None:
    ahead = Ahead(128)
    more = ask(ahead, ONE, 200.0, 10.0)
    assert more is not None
    came = names(more.number)
    ahead.came(more, came)
    ahead.take(ONE, 1.0)
    assert ahead.idle(1.0 + 0.99 * IDLE_S) == []
    assert ahead.idle(1.0 + IDLE_S) == came[1:]
    assert ahead.idle(1.0 + 2 * IDLE_S) == []
    assert ahead.take(ONE, 1.0 + 2 * IDLE_S) == ()


def test_what_is_under_way_is_not_forgotten() -> None:
    ahead = Ahead(128)
    more = ask(ahead, ONE, 200.0, 10.0)
    assert more is not None
    assert ahead.idle(100 * IDLE_S) == []
    came = names(more.number)
    ahead.came(more, came)
    assert ahead.idle(100 * IDLE_S) == came
