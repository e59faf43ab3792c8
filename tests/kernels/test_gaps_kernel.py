"""The kernel of gaps: the twin's answer from every variant, to the word, and its errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.kernels import gaps as kernel

each_variant = pytest.mark.parametrize("variant", kernel.backends())


def both(variant: str, function, *arguments):
    """Return what a variant and the twin say, an error by its words."""
    said = []
    for name in (variant, kernel.TWIN):
        kernel.force(name)
        try:
            said.append(function(*arguments))
        except ValueError as error:
            said.append(str(error))
        finally:
            kernel.force(None)
    return said


def agree_and_come_back(variant, slots, previous, frame) -> None:
    fast, twin = both(variant, kernel.encode, slots, previous)
    assert fast.tolist() == twin.tolist()
    for back, lowest in both(variant, kernel.decode, fast, previous, slots.size, frame):
        assert back.tolist() == slots.tolist()
        assert lowest == min((slots % frame).tolist(), default=2**63 - 1)
    room = np.full(slots.size + 9, -1)
    for back, _ in both(variant, kernel.decode, fast, previous, slots.size, frame, room):
        assert back.tolist() == slots.tolist()
    assert (room[slots.size :] == -1).all()


@each_variant
@given(
    st.lists(st.integers(1, 400_000), max_size=60), st.integers(-1, 10**9), st.integers(1, 10**6)
)
def test_gaps_are_those_of_the_twin_and_come_back(variant, gaps, start, frame) -> None:
    slots = start % 1000 + np.cumsum(np.array(gaps, np.int64))
    slots, previous = slots.astype(np.uint32), start % 1000
    agree_and_come_back(variant, slots, previous, frame)


@each_variant
@given(
    st.lists(st.sampled_from([1, 107, 65_534] * 9 + [65_535, 65_536, 400_000]), max_size=200),
    st.integers(-1, 10**7),
    st.integers(1, 10**7),
)
def test_rows_of_small_gaps_are_those_of_the_twin_and_come_back(
    variant, gaps, previous, frame
) -> None:
    slots = (previous + np.cumsum(np.array(gaps, np.int64))).astype(np.uint32)
    agree_and_come_back(variant, slots, previous, frame)


@each_variant
def test_every_gap_that_needs_no_escape_comes_back_from_every_place_of_a_row(variant) -> None:
    for shift in range(8):
        gaps = np.roll(np.arange(1, kernel.ESCAPE), shift)
        slots = np.cumsum(gaps).astype(np.uint32)
        agree_and_come_back(variant, slots, 0, 2**31)


@each_variant
@pytest.mark.parametrize(("last", "following"), [(70, 70), (70, 69), (2**32 - 1, 0)])
@given(st.integers(1, 40), st.integers(0, 40))
def test_a_slot_that_does_not_rise_is_found_at_any_place_of_a_row(
    variant, last, following, n_before, n_behind
) -> None:
    before, behind = np.arange(n_before) + last + 1 - n_before, np.arange(n_behind + 1) + following
    slots = np.concatenate((before, behind)).astype(np.uint32)
    fast, twin = both(variant, kernel.encode, slots, int(before[0]) - 1)
    assert isinstance(twin, str)
    assert fast == twin


@each_variant
@given(
    st.lists(st.sampled_from([0, 1, 7, 65_534, 65_535]), max_size=12),
    st.integers(0, 12),
    st.integers(-1, 10**10),
)
def test_any_words_are_read_or_refused_as_by_the_twin(variant, words, n_clicks, previous) -> None:
    array = np.array(words, "<u2")
    fast, twin = both(variant, kernel.decode, array, previous, n_clicks, 1000)
    if isinstance(twin, str):
        assert fast == twin
    else:
        assert (fast[0].tolist(), fast[1]) == (twin[0].tolist(), twin[1])


@each_variant
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6), st.integers(-(2**40), 2**33))
def test_any_slots_are_written_or_refused_as_by_the_twin(variant, slots, previous) -> None:
    previous = max(previous, slots[0] - 2**24)
    fast, twin = both(variant, kernel.encode, np.array(slots, np.uint32), previous)
    assert (fast if isinstance(fast, str) else fast.tolist()) == (
        twin if isinstance(twin, str) else twin.tolist()
    )


@pytest.mark.skipif(len(kernel.backends()) < 2, reason="no compiler when this was installed")
def test_slots_come_into_the_room_that_is_given_and_into_no_less() -> None:
    words, room = np.ones(12, "<u2"), np.empty(12, np.int64)
    slots, _ = kernel.decode(words, -1, 12, 100, room)
    assert np.shares_memory(slots, room)
    with pytest.raises(ValueError, match="room for 11 slots, not 12"):
        kernel.decode(words, -1, 12, 100, room[:11])
