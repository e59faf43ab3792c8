"""The receiver of the light against synthetic tags: right slots, or no lock at all."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.tags import TagBlock
from qkdd.base.light import LightPlan
from qkdd.frames.events import (
    BlockEnded,
    CalibrationMeasured,
    ClockFound,
    DetectedFrame,
    Event,
    FrameStartFound,
    Lost,
)
from qkdd.frames.hunter import Hunter
from qkdd.frames.receiver import LightReceiver
from qkdd.frames.settings import FrameSettings
from tests.frames.synthetic_light import CHANNELS, SMALL, Light, states

WIDE = FrameSettings(gate_ps=9_000)
"""A gate that keeps every signal tag, so that the truth can be counted."""


def counter_entropy():
    """Dice that anybody can throw again: the tests compare whole histories."""
    rng = np.random.default_rng(99)
    return lambda n: rng.bytes(n)


def receive(blocks, frame_settings=WIDE, calibration=states, plan=SMALL) -> list[Event]:
    receiver = LightReceiver(plan, frame_settings, CHANNELS, counter_entropy())
    receiver.hunt(calibration)
    return [event for block in blocks for event in receiver.feed(block)]


def only(kind, events):
    return [event for event in events if isinstance(event, kind)]


def pulses_of(frame: DetectedFrame, plan: LightPlan = SMALL) -> np.ndarray:
    return frame.slots.astype(np.int64) + plan.block_span(frame.block_index).start + frame.start


def payload(pulses: np.ndarray, frame: int, plan: LightPlan = SMALL) -> np.ndarray:
    span = plan.frame_span(frame)
    inside = (pulses >= span.start + plan.calibration_pulses) & (pulses < span.stop)
    return np.unique(pulses[inside])


def assert_true_slots(light: Light, events: list[Event]) -> None:
    """Every frame holds exactly the pulses that the dead time leaves (but for dark counts)."""
    live = light.live(WIDE.dead_time_ps)
    true = light.pulses[live & (light.pulses >= 0)]
    frames = only(DetectedFrame, events)
    assert [frame.frame for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 5
    for frame in frames:
        want = payload(true, frame.frame)
        assert np.array_equal(np.intersect1d(pulses_of(frame), want), want)
        assert np.all(np.diff(frame.slots.astype(np.int64)) > 0)
        span_ps = SMALL.frame_pulses * SMALL.period_ps
        dark = np.count_nonzero(light.pulses < 0) * span_ps / light.until_ps
        assert frame.slots.size - want.size <= dark + 6 * np.sqrt(dark) + 6


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    offset_ppm=st.floats(-80, 80),
    drift_ppb_per_s=st.floats(-10, 10),
    delay_step_ps_per_s=st.floats(-1000, 1000),
    jitter_ps=st.floats(20, 250),
    pulse0_ps=st.integers(0, 300_000_000_000),
    seed=st.integers(0, 2**32),
    click_rate=st.sampled_from([2e-4, 1e-3, 1e-2]),
    qber=st.floats(0, 0.05),
    dark_hz=st.just(0.0),
)
def test_slots_are_the_true_ones_for_any_offset_drift_delay_and_jitter(**kind: float) -> None:
    light = Light(seconds=0.16, **kind)
    events = receive(light.blocks())
    assert not only(Lost, events)
    assert_true_slots(light, events)


@pytest.mark.parametrize("click_rate", [2e-4, 3e-3, 3e-2])
@pytest.mark.parametrize("offset_ppm", [0.0, 0.1, -77.7])
@pytest.mark.parametrize("seed", [1, 2])
def test_it_locks_with_15_per_cent_errors_and_5_per_cent_background(
    click_rate: float, offset_ppm: float, seed: int
) -> None:
    light = Light(
        seconds=0.12, click_rate=click_rate, offset_ppm=offset_ppm, qber=0.15, background=0.05,
        seed=seed,
    )  # fmt: skip
    events = receive(light.blocks(), FrameSettings())
    assert not only(Lost, events)
    (start,) = only(FrameStartFound, events)
    assert abs(start.pulse0_ps - light.pulse0_ps) < 3_000
    (clock,) = only(ClockFound, events)
    assert clock.offset_ppm == pytest.approx(offset_ppm, abs=0.05)
    frame = only(DetectedFrame, events)[-1]
    true = payload(light.pulses[light.live(40_000)], frame.frame)
    found = np.isin(true, pulses_of(frame))
    assert found.mean() > 0.98
    frame_share = SMALL.frame_pulses * SMALL.period_ps / light.until_ps
    dark = np.count_nonzero(light.pulses < 0) * frame_share * 0.4  # gate over period
    assert frame.slots.size - np.count_nonzero(found) <= dark + 5 * np.sqrt(dark)


def test_events_come_in_the_order_of_the_run() -> None:
    events = receive(Light(seconds=0.16).blocks())
    told = [
        (type(event).__name__, getattr(event, "frame", getattr(event, "block_index", None)))
        for event in events
    ]
    assert told[:9] == [
        ("ClockFound", None),
        ("FrameStartFound", None),
        ("CalibrationMeasured", 0),
        ("DetectedFrame", 0),
        ("CalibrationMeasured", 1),
        ("DetectedFrame", 1),
        ("BlockEnded", 0),
        ("CalibrationMeasured", 2),
        ("DetectedFrame", 2),
    ]
    assert told[13] == ("BlockEnded", 1)


def test_nothing_of_a_block_leaves_before_its_pulses_have_arrived() -> None:
    light = Light(seconds=0.12)
    receiver = LightReceiver(SMALL, WIDE, CHANNELS, counter_entropy())
    receiver.hunt(states)
    ends = light.arrival_ps(np.array([SMALL.frame_span(frame).stop for frame in range(9)]))
    seen = 0
    for block in light.blocks(1_000_000_000):
        for event in receiver.feed(block):
            if isinstance(event, DetectedFrame):
                assert ends[event.frame] < block.until_ps < ends[event.frame] + 2_000_000_000
                seen += 1
            if isinstance(event, BlockEnded):
                assert ends[SMALL.first_frame(event.block_index + 1) - 1] < block.until_ps
    assert seen == 3


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(1, 40_000_000_000), min_size=1, max_size=30),
    st.integers(0, 9),
    st.booleans(),
)
def test_events_do_not_depend_on_how_the_tags_were_cut(
    cuts: list[int], seed: int, bright: bool
) -> None:
    click_rate = 4e-3 if bright else 2e-4
    light = Light(seconds=0.12, seed=seed, qber=0.1, background=0.03, click_rate=click_rate)
    blocks, begin = [], 0
    while begin < light.until_ps:
        until = min(begin + cuts[len(blocks) % len(cuts)] + 100_000_000, light.until_ps)
        first, last = np.searchsorted(light.times_ps, (begin, until))
        blocks.append(TagBlock(light.times_ps[first:last], light.channels[first:last], until))
        begin = until
    assert history(receive(blocks)) == history(receive(light.blocks()))


def test_one_block_with_the_whole_run_gives_the_same_events() -> None:
    light = Light(seconds=0.16)
    whole = [TagBlock(light.times_ps, light.channels, light.until_ps)]
    assert history(receive(whole)) == history(receive(light.blocks()))


def test_only_a_hunt_in_light_and_a_backlog_take_long() -> None:
    receiver = LightReceiver(SMALL, WIDE, CHANNELS, counter_entropy())
    dark = Light(seconds=0.5, click_rate=0.0, dark_hz=1_000.0)
    light = Light(seconds=0.5, click_rate=2e-4)
    whole = TagBlock(light.times_ps, light.channels, light.until_ps)
    backlog = TagBlock(np.zeros(1 << 17, np.int64), np.ones(1 << 17, np.uint8), 0)
    assert not receiver.takes_long(whole)
    assert receiver.takes_long(backlog)
    receiver.hunt(states)
    for block in dark.blocks():
        assert not receiver.takes_long(block)
        assert receiver.feed(block) == ()
    receiver.hunt(states)
    assert receiver.takes_long(whole)


@pytest.mark.parametrize("dark_hz", [400.0, 4_000.0])
def test_windows_that_cannot_have_light_are_passed_over_as_if_they_had_been_looked_at(
    monkeypatch: pytest.MonkeyPatch, dark_hz: float
) -> None:
    light = Light(seconds=0.12, dark_hz=dark_hz, click_rate=2e-4, pulse0_ps=400_000_000_000)
    quick = history(receive(light.blocks()))
    looks: list[int] = []

    def look(self: Hunter, before: Callable[[Hunter], None] = Hunter._look) -> None:
        looks.append(1)
        before(self)

    monkeypatch.setattr(Hunter, "_look", look)
    assert history(receive(light.blocks())) == quick
    n_quick = len(looks)
    monkeypatch.setattr(Hunter, "is_dark", lambda *_: False)
    assert history(receive(light.blocks())) == quick
    assert n_quick < len(looks) - n_quick - 20


def history(events: list[Event]) -> list[object]:
    return [
        (event.frame, event.block_index, event.slots.tolist(), event.detectors.tolist(),
         event.n_double, event.n_cross, event.n_out_of_gate, event.n_dead)
        if isinstance(event, DetectedFrame) else event
        for event in events
    ]  # fmt: skip


@pytest.mark.parametrize("dark_hz", [400.0, 20_000.0, 3_000_000.0])
def test_dark_counts_alone_never_lock(dark_hz: float) -> None:
    light = Light(seconds=0.5, click_rate=0.0, dark_hz=dark_hz)
    assert receive(light.blocks()) == []


@pytest.mark.parametrize("click_rate", [2e-4, 1e-2])
def test_light_with_other_calibration_states_is_refused(click_rate: float) -> None:
    light = Light(seconds=0.1, click_rate=click_rate)
    events = receive(light.blocks(), calibration=lambda pulses: states(pulses, key=2))
    assert [type(event) for event in events] == [ClockFound, Lost]
    assert "stands out" in events[-1].reason


def test_a_run_that_was_already_on_when_the_hunt_began_is_refused() -> None:
    light = Light(seconds=0.3)
    late = [block for block in light.blocks() if block.until_ps > 140_000_000_000]
    events = receive(late)
    assert isinstance(events[-1], Lost)
    assert not only(FrameStartFound, events)


@pytest.mark.parametrize("click_rate", [5e-4, 1e-2])
def test_only_the_states_of_calibration_pulses_are_ever_asked_for(click_rate: float) -> None:
    plan = LightPlan(preamble_pulses=1_500_000, frame_pulses=1_000_000, calibration_pulses=50_000)

    def public(pulses: np.ndarray) -> np.ndarray:
        place = pulses - plan.preamble_pulses
        assert np.all((place < 0) | (place % plan.frame_pulses < plan.calibration_pulses))
        assert np.all(pulses >= 0)
        return states(pulses)

    light = Light(plan=plan, seconds=0.12, click_rate=click_rate)
    events = receive(light.blocks(), calibration=public, plan=plan)
    (start,) = only(FrameStartFound, events)
    assert abs(start.pulse0_ps - light.pulse0_ps) < 3_000
    assert len(only(CalibrationMeasured, events)) == 11


@pytest.mark.parametrize("tail_ms", [3, 17, 25])
def test_the_rest_of_an_older_run_does_not_spoil_the_hunt(tail_ms: int) -> None:
    light = Light(seconds=0.12, pulse0_ps=80_000_000_000)
    old = Light(seconds=0.2, pulse0_ps=0, seed=5, offset_ppm=light.offset_ppm)
    last = np.searchsorted(old.times_ps, 150_000_000_000 + tail_ms * 10**9)
    tail = old.times_ps[:last] > 150_000_000_000
    times = np.concatenate((old.times_ps[:last][tail] - 150_000_000_000, light.times_ps))
    channels = np.concatenate((old.channels[:last][tail], light.channels))
    order = np.argsort(times, kind="stable")
    whole = [TagBlock(times[order], channels[order], light.until_ps)]
    (start,) = only(FrameStartFound, receive(whole))
    assert abs(start.pulse0_ps - light.pulse0_ps) < 3_000


@pytest.mark.parametrize(("rate_mhz", "click_rate"), [(20, 1e-2), (62, 1e-3), (125, 2e-3)])
def test_other_pulse_rates_lock_too(rate_mhz: int, click_rate: float) -> None:
    plan = LightPlan(
        pulse_rate_hz=rate_mhz * 1_000_000, frame_pulses=1_000_000, calibration_pulses=50_000
    )
    light = Light(plan=plan, seconds=8 / rate_mhz, click_rate=click_rate, dark_hz=0.0)
    events = receive(light.blocks(), FrameSettings(gate_ps=7_000), plan=plan)
    assert not only(Lost, events)
    frame = only(DetectedFrame, events)[-1]
    assert np.all(np.isin(pulses_of(frame, plan), light.pulses))


def test_light_too_faint_for_its_errors_never_gives_a_wrong_start() -> None:
    for seed in range(5):
        light = Light(seconds=0.12, click_rate=6e-5, qber=0.25, background=0.2, seed=seed)
        starts = only(FrameStartFound, receive(light.blocks()))
        assert all(abs(start.pulse0_ps - light.pulse0_ps) < 3_000 for start in starts)


def test_the_clock_beyond_the_search_range_is_not_locked_to_an_alias() -> None:
    for offset_ppm in (-160.0, 104.0, 140.0):
        events = receive(Light(seconds=0.12, offset_ppm=offset_ppm).blocks())
        assert not only(FrameStartFound, events)


@pytest.mark.parametrize("slip_by", [1, -1, 5])
def test_a_slip_of_whole_pulses_is_lost_at_the_next_calibration(slip_by: int) -> None:
    frame = 3
    slip_at = SMALL.frame_span(frame).start + 700_000
    light = Light(seconds=0.2, slip_at=slip_at, slip_by=slip_by)
    events = receive(light.blocks())
    assert isinstance(events[-1], Lost)
    assert "slipped" in events[-1].reason
    assert only(CalibrationMeasured, events)[-1].frame == frame + 1
    assert only(DetectedFrame, events)[-1].frame == frame


def test_a_slip_in_faint_light_is_found_over_several_frames() -> None:
    plan = LightPlan(frame_pulses=1_000_000, calibration_pulses=100_000, ramp_frames=(5,))
    slip_at = plan.frame_span(4).start - 10
    light = Light(plan=plan, seconds=0.4, click_rate=5e-4, slip_at=slip_at)
    events = receive(light.blocks(), plan=plan)
    assert isinstance(events[-1], Lost)
    assert "slipped" in events[-1].reason
    assert 6 <= only(CalibrationMeasured, events)[-1].frame <= 12


def test_errors_just_below_the_limit_are_not_called_a_slip() -> None:
    light = Light(seconds=0.5, qber=0.18, click_rate=5e-3)
    assert not only(Lost, receive(light.blocks()))


def test_errors_well_above_the_limit_are_lost() -> None:
    light = Light(seconds=0.5, qber=0.32, click_rate=1e-2)
    assert isinstance(receive(light.blocks())[-1], Lost)


def test_light_that_goes_out_is_lost_after_a_fifth_of_a_second() -> None:
    light = Light(seconds=0.7, click_rate=1e-2)
    dark_from = 250_000_000_000
    keep = (light.times_ps < dark_from) | (light.pulses < 0)
    light.times_ps, light.channels = light.times_ps[keep], light.channels[keep]
    receiver = LightReceiver(SMALL, WIDE, CHANNELS, counter_entropy())
    receiver.hunt(states)
    for block in light.blocks(10_000_000_000):
        events = receiver.feed(block)
        if only(Lost, events):
            assert "no light" in events[-1].reason
            assert 180_000_000_000 < block.until_ps - dark_from < 260_000_000_000
            break
    else:
        pytest.fail("darkness was not noticed")
    assert not receiver.active


@pytest.mark.parametrize("gap_ms", [50, 150])
def test_a_shadow_shorter_than_that_is_survived_with_the_true_slots(gap_ms: int) -> None:
    light = Light(seconds=0.5, click_rate=3e-3, drift_ppb_per_s=0.0, dark_hz=0.0)
    shadow = (light.times_ps >= 200 * 10**9) & (light.times_ps < (200 + gap_ms) * 10**9)
    light.times_ps, light.channels, light.pulses = (
        light.times_ps[~shadow], light.channels[~shadow], light.pulses[~shadow]
    )  # fmt: skip
    assert_true_slots(light, receive(light.blocks()))


def test_lost_tags_end_the_run_and_a_new_hunt_begins_afresh() -> None:
    light = Light(seconds=0.12)
    receiver = LightReceiver(SMALL, WIDE, CHANNELS, counter_entropy())
    assert receiver.feed(TagBlock(light.times_ps, light.channels, light.until_ps)) == ()
    receiver.hunt(states)
    (lost,) = receiver.feed(TagBlock(light.times_ps[:9], light.channels[:9], 10**9, lost=True))
    assert isinstance(lost, Lost)
    assert receiver.feed(next(light.blocks())) == ()
    receiver.hunt(states)
    assert only(DetectedFrame, [e for block in light.blocks() for e in receiver.feed(block)])


def test_a_flood_of_tags_is_lost_and_not_hoarded() -> None:
    flood = np.arange(0, 10**10, 1_000, dtype=np.int64)
    channels = np.ones(flood.size, np.uint8)
    (lost,) = receive([TagBlock(flood, channels, 10**10)])
    assert "too bright" in lost.reason


def test_inputs_that_are_no_detectors_are_left_out() -> None:
    light = Light(seconds=0.12)
    marker = np.arange(0, light.until_ps, 50_000_000)
    times = np.concatenate((light.times_ps, marker))
    order = np.argsort(times, kind="stable")
    channels = np.concatenate((light.channels, np.full(marker.size, 7, np.uint8)))
    whole = [TagBlock(times[order], channels[order], light.until_ps)]
    assert history(receive(whole)) == history(receive(light.blocks()))


def test_tags_out_of_order_are_the_callers_fault() -> None:
    receiver = LightReceiver(SMALL, WIDE, CHANNELS, counter_entropy())
    receiver.hunt(states)
    receiver.feed(TagBlock(np.array([5_000], np.int64), np.ones(1, np.uint8), 10_000))
    with pytest.raises(ValueError, match="were told"):
        receiver.feed(TagBlock(np.array([9_000], np.int64), np.ones(1, np.uint8), 20_000))
    with pytest.raises(ValueError, match="time order"):
        receiver.feed(TagBlock(np.array([12_000, 11_000], np.int64), np.ones(2, np.uint8), 20_000))


@pytest.mark.parametrize(
    ("plan", "frame_settings", "channels", "told"),
    [
        (SMALL, FrameSettings(gate_ps=10_001), CHANNELS, "gate_ps"),
        (LightPlan(pulse_rate_hz=167_000_000), FrameSettings(), CHANNELS, "ambiguous"),
        (SMALL, FrameSettings(), {1: 0, 2: 1, 3: 2}, "detectors"),
        (SMALL, FrameSettings(), {1: 0, 2: 1, 3: 2, 4: 2}, "detectors"),
        (LightPlan(ramp_frames=(1501,)), FrameSettings(), CHANNELS, "ramp_frames 1501"),
    ],
)
def test_what_cannot_work_is_refused_by_name(plan, frame_settings, channels, told) -> None:
    with pytest.raises(ValueError, match=told):
        LightReceiver(plan, frame_settings, channels, counter_entropy())
