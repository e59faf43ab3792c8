"""When in its run a block was sent: by the pulse count, alike at both ends, without a gap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.light import LightPlan
from qkdd.daemon.birth import light_span
from qkdd.relay.cut import units_due


def test_the_first_blocks_of_the_default_plan_are_2_4_8_and_16_s() -> None:
    spans = [light_span(LightPlan(), index) for index in range(4)]
    assert spans[0].start_us == 50_000  # behind the preamble
    assert [span.stop_us - span.start_us for span in spans] == [
        2_000_000,
        4_000_000,
        8_000_000,
        16_000_000,
    ]


@given(
    rate_hz=st.integers(1_000_000, 10_000_000_000),
    frame_pulses=st.integers(100_000, 1_000_000_000),
    keys_per_1000_s=st.integers(1, 1_000_000),
    n_blocks=st.integers(1, 30),
)
def test_no_light_and_no_unit_is_lost_between_two_blocks(
    rate_hz: int, frame_pulses: int, keys_per_1000_s: int, n_blocks: int
) -> None:
    plan = LightPlan(pulse_rate_hz=rate_hz, frame_pulses=frame_pulses, ramp_frames=(3, 5, 8))
    spans = [light_span(plan, index) for index in range(n_blocks)]
    for one, after in pairwise(spans):
        assert one.stop_us == after.start_us
    total_s = (spans[-1].stop_us - spans[0].start_us) / 1e6
    due = sum(units_due(keys_per_1000_s, span) for span in spans)
    assert due == pytest.approx(keys_per_1000_s * total_s / 1000, abs=1)
