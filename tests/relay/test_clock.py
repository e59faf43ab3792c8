"""How far a clock may be off, from what its kernel tells."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.relay.clock import KernelClock, judge

seconds = st.floats(0, 16, allow_nan=False)


@given(seconds, seconds, seconds, st.floats(1, 500))
def test_a_synchronised_clock_is_off_by_what_its_keeper_told_and_what_it_drifted_since(
    slewing_s: float, est_error_s: float, max_error_s: float, drift_ppm: float
) -> None:
    kernel = KernelClock(True, -slewing_s, est_error_s, max_error_s)
    told = judge(kernel, drift_ppm=drift_ppm, trust_unsynchronised=False).offset_s
    assert told == judge(kernel, drift_ppm=drift_ppm, trust_unsynchronised=True).offset_s
    assert told >= max(slewing_s, est_error_s)
    assert told <= slewing_s + est_error_s + max_error_s


def test_half_an_hour_without_a_word_from_its_keeper_counts_at_the_drift_of_the_host() -> None:
    kernel = KernelClock(True, 0.0, 0.001, 1800 * 500e-6)  # what the kernel has raised it to
    told = judge(kernel, drift_ppm=100, trust_unsynchronised=False)
    assert told.offset_s == pytest.approx(0.001 + 1800 * 100e-6)
    assert "0.181 s" in told.reason


@pytest.mark.parametrize("kernel", [None, KernelClock(False, 0.0, 16.0, 16.0)])
def test_nobody_knows_how_far_an_unkept_clock_is_off_unless_the_operator_answers_for_it(
    kernel: KernelClock | None,
) -> None:
    told = judge(kernel, drift_ppm=100, trust_unsynchronised=False)
    assert math.isnan(told.offset_s)
    vouched = judge(kernel, drift_ppm=100, trust_unsynchronised=True)
    assert vouched.offset_s == 0.0
    assert vouched.reason == f"{told.reason}; trusted, as lane_times says"
