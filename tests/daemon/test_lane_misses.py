"""Which epochs count as missed."""

from hypothesis import given
from hypothesis import strategies as st

from qkdd.daemon.lane_misses import MissCounter
from qkdd.relay.settings import Lane

LANE = Lane(id="far", route=("a", "b"), epoch_s=2)


def test_nothing_is_missed_before_the_first_key_that_ever_came() -> None:
    misses = MissCounter(LANE)
    misses.pass_time(200.0)
    misses.ready(110, 111, 113)
    misses.pass_time(219.9)
    assert misses.n_missed == 0
    misses.pass_time(228.0)
    assert misses.n_missed == 2  # 112 and 114


def test_a_key_that_comes_after_its_epoch_began_is_missed_all_the_same() -> None:
    misses = MissCounter(LANE)
    misses.ready(100)
    misses.pass_time(204.0)
    assert misses.n_missed == 2
    misses.ready(101, 102)
    misses.pass_time(204.5)
    assert misses.n_missed == 2


def test_keys_used_before_a_restart_are_not_missed_after_it() -> None:
    misses = MissCounter(LANE)
    misses.resume([98, 103, 104, 106], 203.0)
    misses.pass_time(206.0)
    assert misses.n_missed == 0
    misses.pass_time(212.0)
    assert misses.n_missed == 1  # 105


@given(came=st.sets(st.integers(0, 60), min_size=1), steps=st.lists(st.integers(0, 20)))
def test_however_time_passes_each_epoch_counts_once(came: set[int], steps: list[int]) -> None:
    misses = MissCounter(LANE)
    misses.ready(*came)
    utc_s = 0.0
    for step in steps:
        utc_s += step
        misses.pass_time(utc_s)
    now = int(utc_s // 2)
    expected = [number for number in range(min(came), now + 1) if number not in came]
    assert misses.n_missed == (len(expected) if steps else 0)
