"""Epsilon is counted by link and year, over restarts, and never beyond its limit."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.base.ids import LinkId
from qkdd.keys.database import Database
from qkdd.keys.epsilon_book import EpsilonBook, EpsilonYear

A, B = LinkId("a"), LinkId("b")


def book(path: Path) -> tuple[Database, EpsilonBook]:
    database = Database(path / "keys.sqlite")
    return database, EpsilonBook(database)


def test_every_block_is_counted_for_its_link_and_year_over_a_restart(tmp_path: Path) -> None:
    database, first = book(tmp_path)
    for _ in range(3):
        assert first.spend(A, 2026, 1e-12, 1e-15, 1.0) is not None
    first.spend(B, 2026, 1e-9, 0.0, 1.0)
    database.close()
    database, second = book(tmp_path)
    spent = second.spent(A, 2026)
    assert (spent.n_blocks, second.spent(B, 2026).n_blocks) == (3, 1)
    assert spent.total == pytest.approx(3 * 1.001e-12)
    assert second.spend(A, 2027, 1e-12, 1e-15, 1.0) == EpsilonYear(2027, 1, 1e-12, 1e-15)
    database.close()


def test_a_clock_that_goes_back_a_year_opens_no_fresh_limit(tmp_path: Path) -> None:
    database, one = book(tmp_path)
    one.spend(A, 2027, 0.6, 0.0, 1.0)
    assert one.spend(A, 2026, 0.6, 0.0, 1.0) is None
    assert one.spent(A, 2026).year == 2027
    database.close()


@settings(max_examples=20)
@given(st.lists(st.floats(1e-6, 0.4), max_size=20), st.floats(1e-3, 1.0))
def test_the_limit_is_never_passed_and_a_refusal_counts_nothing(
    tmp_path_factory: pytest.TempPathFactory, costs: list[float], limit: float
) -> None:
    database, one = book(tmp_path_factory.mktemp("book"))
    for cost in costs:
        before = one.spent(A, 2026)
        after = one.spend(A, 2026, cost, cost / 2, limit)
        if after is None:
            assert before.total + 1.5 * cost > limit * (1 - 1e-12)
            assert one.spent(A, 2026) == before
        else:
            assert one.spent(A, 2026) == after
            assert after.n_blocks == before.n_blocks + 1
        assert one.spent(A, 2026).total <= limit
    database.close()
