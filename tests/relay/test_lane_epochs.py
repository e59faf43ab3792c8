"""Who may serve which epoch, and what both sides know without a message."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import OutOfKey
from qkdd.relay.epochs import Epochs, OutsideWindow, epoch_at, epoch_key_id
from qkdd.relay.settings import Lane

LANE = Lane(id="lane", route=("a", "b"))


@given(
    st.sets(
        st.tuples(st.sampled_from(["a", "b", "ab"]), st.integers(0, 3), st.integers(0, 2**48 - 1)),
        min_size=2,
    )
)
def test_key_ids_are_uuids_of_version_8_and_all_different(names: set[tuple[str, int, int]]) -> None:
    ids = {
        epoch_key_id(Lane(id=lane, generation=generation, route=("x", "y")), number)
        for lane, generation, number in names
    }
    assert len(ids) == len(names)
    assert all(one.version == 8 and one.variant == RFC_4122 for one in ids)


def test_the_key_id_is_of_lane_generation_and_number_alone() -> None:
    other = Lane(id="lane", route=("c", "d", "e"), keys_per_1000_s=7, epoch_s=60)
    assert epoch_key_id(LANE, 5) == epoch_key_id(other, 5)


def test_a_number_is_the_utc_second_or_longer_epoch_it_is_meant_for() -> None:
    assert epoch_at(LANE, 1_000.999) == 1_000
    assert epoch_at(Lane(id="x", route=("a", "b"), epoch_s=60), 1_199.9) == 19


def test_a_sender_takes_the_newest_ready_number_that_is_not_in_the_future() -> None:
    epochs = Epochs(LANE, window=3)
    epochs.ready(98, 99, 101, 102)
    assert epochs.to_send_with(100.5, 0.0) == 99
    assert epochs.to_send_with(101.0, 0.0) == 101
    assert epochs.horizon == 102
    assert epochs.n_ahead(100.5) == 2


def test_a_sender_never_takes_a_number_that_the_other_end_may_not_hold() -> None:
    epochs = Epochs(LANE, window=3)
    epochs.held(100)
    with pytest.raises(OutOfKey, match="97 to 100 is READY"):
        epochs.to_send_with(100.5, 0.0)
    epochs.ready(100)
    assert epochs.to_send_with(100.5, 0.0) == 100


@pytest.mark.parametrize(("number", "good"), [(96, False), (97, True), (101, True), (102, False)])
def test_a_receiver_accepts_held_numbers_from_k_before_to_one_after(
    number: int, good: bool
) -> None:
    epochs = Epochs(LANE, window=3)
    epochs.held(*range(90, 110))
    if good:
        epochs.check_asked(number, 100.5, 0.0)
    else:
        with pytest.raises(OutOfKey, match="outside of 97 to 101"):
            epochs.check_asked(number, 100.5, 0.0)


def test_a_number_that_is_gone_is_not_served_again() -> None:
    epochs = Epochs(LANE, window=3)
    epochs.ready(99, 100)
    epochs.gone(100)
    assert epochs.to_send_with(100.5, 0.0) == 99
    with pytest.raises(OutOfKey, match="not held"):
        epochs.check_asked(100, 100.5, 0.0)


def test_numbers_past_the_window_are_for_the_store_to_burn() -> None:
    epochs = Epochs(LANE, window=3)
    epochs.ready(96, 97)
    epochs.held(95)
    assert epochs.past(100.0) == [95, 96]


@pytest.mark.parametrize("offset_s", [0.31, -0.31, float("nan"), float("inf")])
def test_no_epochs_are_served_by_a_clock_that_is_off(offset_s: float) -> None:
    epochs = Epochs(LANE, window=3)
    epochs.ready(100)
    with pytest.raises(OutOfKey, match="clock"):
        epochs.to_send_with(100.5, offset_s)
    with pytest.raises(OutOfKey, match="clock"):
        epochs.check_asked(100, 100.5, offset_s)


@pytest.mark.parametrize("offset_s", [0.3, -0.3])
def test_a_clock_within_its_limit_is_trusted(offset_s: float) -> None:
    epochs = Epochs(LANE, window=0)
    epochs.ready(100)
    assert epochs.to_send_with(100.5, offset_s) == 100


def test_a_number_that_both_sides_name_must_be_ready() -> None:
    epochs = Epochs(LANE, window=3)
    epochs.held(100)
    epochs.check_asked(100, 100.5, 0.0)
    with pytest.raises(OutOfKey, match="100 is not READY"):
        epochs.check_named(100, 100.5, 0.0)
    epochs.ready(100, 102)
    epochs.check_named(100, 100.5, 0.0)
    with pytest.raises(OutsideWindow, match="102 is outside of 97 to 101"):
        epochs.check_named(102, 100.5, 0.0)


@given(st.integers(1, 2**40), st.integers(0, 8), st.integers(-12, 12))
def test_a_key_id_is_known_exactly_in_the_window(now: int, window: int, distance: int) -> None:
    epochs, number = Epochs(LANE, window=window), max(0, now + distance)
    inside = now - window <= number <= now + 1
    assert epochs.number_of(epoch_key_id(LANE, number), now + 0.5) == (number if inside else None)
    assert epochs.number_of(UUID(int=number, version=4), now + 0.5) is None


def test_numbers_of_the_window_are_counted_apart_from_those_ahead() -> None:
    epochs = Epochs(LANE, window=3)
    epochs.ready(96, 97, 100, 101, 150)
    assert (epochs.n_late(100.5), epochs.n_ahead(100.5)) == (2, 2)
    assert [epochs.is_ready(number) for number in (96, 98, 150)] == [True, False, True]


def test_a_stock_is_unbroken_up_to_the_first_epoch_without_a_key() -> None:
    epochs = Epochs(LANE, window=3)
    assert epochs.n_unbroken(100.5) == 0
    epochs.ready(99, 100, 101, 102, 104, 150)
    assert epochs.n_unbroken(100.5) == 2
    epochs.gone(101)
    assert epochs.n_unbroken(100.5) == 0
    assert epochs.n_unbroken(103.5) == 1


def test_an_end_that_starts_again_serves_what_its_store_has_and_no_more() -> None:
    epochs = Epochs(LANE, window=2)
    epochs.ready(99, 100)
    epochs.restart([100, 101], [102])
    assert epochs.to_send_with(101.5, 0.0) == 101
    epochs.check_asked(102, 101.5, 0.0)
    with pytest.raises(OutOfKey, match="99"):
        epochs.check_asked(99, 101.5, 0.0)


def test_keys_whose_batch_was_refused_are_not_served_and_ready_ones_of_its_range_are() -> None:
    epochs = Epochs(LANE, window=5)
    epochs.held(100, 101, 102)
    epochs.ready(101)
    epochs.released()
    assert epochs.is_ready(101)
    epochs.check_asked(101, 101.0, 0.0)
    for number in (100, 102):
        with pytest.raises(OutOfKey):
            epochs.check_asked(number, 101.0, 0.0)
