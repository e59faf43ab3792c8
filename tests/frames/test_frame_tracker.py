"""What crosses the edge of a window: dead time, counts, and the tags before pulse 0."""

import numpy as np
import pytest

from qkdd.base.light import LightPlan
from qkdd.frames.buffer import TagBuffer
from qkdd.frames.clicks import ClickSettler
from qkdd.frames.clock import PulseClock
from qkdd.frames.events import CalibrationMeasured, DetectedFrame
from qkdd.frames.settings import FrameSettings
from qkdd.frames.tracker import Tracker, window_pulses
from tests.frames.synthetic_light import states

PLAN = LightPlan(frame_pulses=8_000_000, calibration_pulses=50_000, ramp_frames=(2,))
FRAME = 1
SPAN = PLAN.frame_span(FRAME)
PAYLOAD = SPAN.start + PLAN.calibration_pulses
WINDOW = window_pulses(PLAN)
EDGE = PAYLOAD + WINDOW
PERIOD_PS = 10_000
ANCHOR_PS = 10**15


def track(pulses: list[int], late_ps: dict[int, int] | None = None) -> list[object]:
    """Track one frame of an exact clock; detector = the state sent."""
    times = [
        ANCHOR_PS + (pulse - SPAN.start) * PERIOD_PS + (late_ps or {}).get(pulse, 0)
        for pulse in pulses
    ]
    buffer = TagBuffer()
    buffer.append(np.array(times, np.int64), states(np.array(pulses, np.int64)))
    clock = PulseClock(SPAN.start, ANCHOR_PS, 0.0, float(PERIOD_PS))
    settler = ClickSettler(lambda n: bytes(n))
    tracker = Tracker(PLAN, FrameSettings(), states, settler, buffer, clock)
    return list(tracker.advance(ANCHOR_PS + (PLAN.frame_pulses + 9) * PERIOD_PS))


def detected(events: list[object]) -> DetectedFrame:
    (frame,) = (event for event in events if isinstance(event, DetectedFrame))
    return frame


def offsets(*pulses: int) -> list[int]:
    start = PLAN.frame_span(FRAME).start
    return [pulse - start for pulse in pulses]


@pytest.mark.parametrize("edge", [PAYLOAD, EDGE])
def test_the_dead_time_reaches_across_the_edge_of_a_window(edge: int) -> None:
    frame = detected(track([edge - 2, edge + 1, edge + 9]))
    kept = [edge + 9] if edge == PAYLOAD else [edge - 2, edge + 9]
    assert frame.slots.tolist() == offsets(*kept)
    assert frame.n_dead == 1


def test_a_tag_before_the_first_pulse_blinds_the_first_pulses() -> None:
    (measured,) = (
        event
        for event in track([SPAN.start - 2, SPAN.start + 1, SPAN.start + 9])
        if isinstance(event, CalibrationMeasured)
    )
    assert measured.n_clicks == 1
    assert sum(measured.matched) == 1


def test_the_first_payload_pulse_is_payload_and_the_last_calibration_pulse_is_not() -> None:
    events = track([SPAN.start, PAYLOAD - 1, PAYLOAD + 4, SPAN.stop - 1, SPAN.stop + 5])
    assert detected(events).slots.tolist() == offsets(PAYLOAD + 4, SPAN.stop - 1)
    (measured,) = (event for event in events if isinstance(event, CalibrationMeasured))
    assert measured == CalibrationMeasured(FRAME, measured.matched, (0, 0), 2)
    assert sum(measured.matched) == 2
    assert detected(track([PAYLOAD])).slots.tolist() == offsets(PAYLOAD)


def test_counts_of_all_windows_of_the_payload_add_up() -> None:
    pulses, late_ps = [], {}
    for window in range(2):
        first = PAYLOAD + window * WINDOW + 100
        pulses += [first, first + 2, first + 50]
        late_ps[first + 50] = 3_000
    frame = detected(track([SPAN.start + 5, SPAN.start + 6, *pulses], late_ps))
    assert (frame.slots.size, frame.n_dead, frame.n_out_of_gate) == (2, 2, 2)


def test_a_frame_without_a_click_is_a_frame() -> None:
    frame = detected(track([]))
    assert (frame.slots.size, frame.detectors.size, frame.frame) == (0, 0, FRAME)
    assert (frame.slots.dtype, frame.detectors.dtype) == (np.uint32, np.uint8)
