"""Nothing can be changed, taken out or put in without being seen; a torn line is no change."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.audit_chain import (
    MAX_FIELD_CHARS,
    TORN,
    ChainBroken,
    Head,
    follow,
    mended,
    record_line,
    torn_fields,
)

TIME = "2026-01-01T00:00:00.000+00:00"
FIELDS = st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=4)


def chain(*fields: dict[str, str]) -> tuple[list[bytes], Head]:
    lines, head = [], Head()
    for one in fields:
        line, head = record_line(head, TIME, "event", one)
        lines.append(line)
    return lines, head


@given(st.lists(FIELDS, max_size=8))
def test_a_chain_leads_to_its_head(fields: list[dict[str, str]]) -> None:
    lines, head = chain(*fields)
    assert follow(lines) == head
    assert head.n == len(fields)


@given(st.lists(FIELDS, min_size=2, max_size=6), st.data())
def test_any_changed_byte_of_any_line_but_the_last_is_seen(
    fields: list[dict[str, str]], data: st.DataObject
) -> None:
    lines, _ = chain(*fields)
    which = data.draw(st.integers(0, len(lines) - 2))
    where = data.draw(st.integers(0, len(lines[which]) - 1))
    mask = data.draw(st.integers(1, 255))
    changed = bytearray(lines[which])
    changed[where] ^= mask
    with pytest.raises(ChainBroken, match="line"):
        follow([*lines[:which], bytes(changed), *lines[which + 1 :]])


@given(st.integers(0, 3))
def test_a_line_taken_out_repeated_or_moved_is_seen(which: int) -> None:
    lines, _ = chain(*({"k": str(number)} for number in range(5)))
    for wrong in (
        [*lines[:which], *lines[which + 1 :]],
        [*lines[: which + 1], *lines[which:]],
        [*lines[:which], lines[which + 1], lines[which], *lines[which + 2 :]],
    ):
        with pytest.raises(ChainBroken):
            follow(wrong)


def test_lines_cut_off_at_the_end_show_in_the_head_only() -> None:
    lines, head = chain({}, {}, {})
    assert follow(lines[:2]) != head


def test_a_line_that_a_crash_cut_short_stays_and_the_next_record_says_so() -> None:
    lines, _ = chain({}, {"who": "a"})
    torn = lines[1][:20]
    head = follow([lines[0], torn])
    assert (head.n, head.torn) == (1, torn)
    line, head = record_line(head, TIME, TORN, torn_fields(torn))
    after, end = record_line(head, TIME, "event", {})
    assert follow([lines[0], torn + b"\n", line, after]) == end
    plain, _ = record_line(Head(1, follow(lines[:1]).hash), TIME, "event", {})
    for wrong in (plain, record_line(Head(1, head.hash), TIME, TORN, torn_fields(b"x"))[0]):
        with pytest.raises(ChainBroken, match="does not say so"):
            follow([lines[0], torn + b"\n", wrong])
    with pytest.raises(ChainBroken, match="does not say so"):
        follow([lines[0], torn + b"\n", torn + b"\n"])


@given(st.integers(0, 3))
def test_an_empty_line_that_somebody_puts_in_is_seen(which: int) -> None:
    lines, _ = chain({}, {}, {})
    with pytest.raises(ChainBroken, match=f"line {which + 1} is empty"):
        follow([*lines[:which], b"\n", *lines[which:]])


def test_a_line_that_lacks_its_end_alone_is_a_record_once_it_has_it() -> None:
    lines, end = chain({}, {"who": "a"})
    assert mended(follow([lines[0], lines[1][:-1]])) == end
    assert mended(follow([lines[0], lines[1][:-2]])) is None
    assert mended(follow(lines)) is None


def test_a_field_of_any_length_makes_a_line_of_bounded_length() -> None:
    line, _ = record_line(Head(), TIME, "event", {"reason": "x" * 100_000})
    assert len(line) < MAX_FIELD_CHARS + 400


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_are_a_chain_by_chance(lines: list[bytes]) -> None:
    with suppress(ChainBroken):
        assert follow(lines).n == 0
