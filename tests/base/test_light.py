"""The arithmetic of runs, frames and blocks."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.light import Intensities, LightPlan

plans = st.builds(
    LightPlan,
    preamble_pulses=st.integers(100_000, 10_000_000),
    frame_pulses=st.integers(200_000, 10_000_000),
    calibration_pulses=st.integers(1_000, 150_000),
    ramp_frames=st.lists(st.integers(1, 300), min_size=1, max_size=5).map(tuple),
)


@given(plans, st.integers(0, 50))
def test_blocks_follow_each_other_without_gap_or_overlap(plan: LightPlan, index: int) -> None:
    assert plan.block_span(0).start == plan.preamble_pulses
    assert plan.block_span(index).stop == plan.block_span(index + 1).start


@given(plans, st.integers(0, 5_000))
def test_a_frame_lies_in_the_block_that_claims_it(plan: LightPlan, frame: int) -> None:
    block = plan.block_span(plan.block_of_frame(frame))
    span = plan.frame_span(frame)
    assert block.start <= span.start < span.stop <= block.stop


def test_default_blocks_last_2_4_8_and_16_seconds() -> None:
    plan = LightPlan()
    seconds = [plan.block_frames(k) * plan.frame_pulses / plan.pulse_rate_hz for k in range(5)]
    assert seconds == [2, 4, 8, 16, 16]


def test_probabilities_are_those_the_encoder_can_make() -> None:
    light = Intensities(signal_probability=1 / 3, weak_probability=1 / 3)
    assert sum(light.probabilities) == 1.0
    assert all((p * 65_536).is_integer() for p in light.probabilities)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"signal_mu": 0.19}, "weak_mu"),
        ({"weak_mu": 0.001}, "vacuum_mu"),
        ({"signal_probability": 0.8}, "vacuum"),
        ({"weak_probability": 1e-6}, "step"),
        ({"key_basis_probability": 1e-9}, "step"),
    ],
)
def test_a_setting_that_the_proof_does_not_allow_is_refused_by_name(
    fields: dict[str, float], told: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=told):
        msgspec.convert(fields, Intensities)
