"""The assignment kernel: its rules by hand, and the same answers from every variant."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.kernels import assign as kernel

BACKENDS = kernel.backends()


@pytest.fixture(params=BACKENDS)
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    kernel.force(request.param)
    yield request.param
    kernel.force(None)


def run(events, *, anchor_ps=0, fraction_ps=0.0, period_ps=10_000.0, n_slots=1000,
        dead_time_ps=40_000, gate_ps=4_000, last_ps=kernel.NEVER_PS):  # fmt: skip
    times = np.array([time for time, _ in events], np.int64)
    detectors = np.array([detector for _, detector in events], np.uint8)
    return kernel.assign(
        times, detectors, anchor_ps=anchor_ps, fraction_ps=fraction_ps, period_ps=period_ps,
        n_slots=n_slots, dead_time_ps=dead_time_ps, gate_ps=gate_ps, last_ps=last_ps,
    )  # fmt: skip


def clicks(assigned) -> list[tuple[int, int]]:
    return list(zip(assigned.slots.tolist(), assigned.masks.tolist(), strict=True))


@pytest.mark.usefixtures("variant")
class TestEveryVariant:
    def test_an_event_within_the_dead_time_is_dropped_whatever_its_detector(self) -> None:
        found = run([(0, 0), (30_000, 3), (80_000, 1)])
        assert clicks(found) == [(0, 1), (8, 2)]
        assert found.n_dead == 1

    def test_a_dropped_event_blinds_as_long_as_a_kept_one(self) -> None:
        found = run([(0, 0), (30_000, 0), (60_000, 0), (90_000, 0), (130_000, 2)])
        assert clicks(found) == [(0, 1), (13, 4)]
        assert found.n_dead == 3

    def test_an_event_exactly_one_dead_time_later_is_kept(self) -> None:
        assert clicks(run([(0, 0), (40_000, 0)])) == [(0, 1), (4, 1)]
        assert clicks(run([(0, 0), (39_999, 0)])) == [(0, 1)]

    def test_an_event_outside_the_gate_blinds_and_is_no_click(self) -> None:
        found = run([(5_000 - 1, 0), (30_000, 1), (80_000, 1)])
        assert clicks(found) == [(8, 2)]
        assert (found.n_out_of_gate, found.n_dead) == (1, 1)

    def test_events_in_the_slot_of_a_click_belong_to_it(self) -> None:
        found = run([(0, 0), (0, 3), (2_000, 1), (100_000, 2)])
        assert clicks(found) == [(0, 0b1011), (10, 0b100)]
        assert found.n_started == 2

    def test_a_late_companion_outside_the_gate_is_no_detection(self) -> None:
        assert clicks(run([(0, 0), (3_000, 3), (100_000, 2)])) == [(0, 1), (10, 4)]

    def test_a_detector_that_fired_before_the_gate_spoils_its_slot(self) -> None:
        found = run([(10_000 - 4_000, 0), (10_000, 3)])
        assert clicks(found) == []
        assert (found.n_out_of_gate, found.n_dead) == (1, 0)

    def test_coincidences_of_a_dead_slot_are_dead_too(self) -> None:
        found = run([(0, 0), (20_000, 1), (20_000, 2), (22_000, 3)])
        assert clicks(found) == [(0, 1)]
        assert found.n_dead == 3

    def test_within_one_slot_an_event_can_live_after_a_dead_one(self) -> None:
        found = run([(60_000, 0), (64_000, 1)], dead_time_ps=3_000, last_ps=58_000)
        assert clicks(found) == []  # the first to live lies outside the gate
        assert (found.n_dead, found.n_out_of_gate) == (1, 1)

    def test_the_gate_includes_both_of_its_edges(self) -> None:
        found = run([(98_000, 0), (202_000, 0), (297_999, 0), (402_001, 0)])
        assert clicks(found) == [(10, 1), (20, 1)]

    def test_the_last_event_of_the_window_before_blinds_this_one(self) -> None:
        assert clicks(run([(10_000, 0), (60_000, 1)], last_ps=-20_000)) == [(6, 2)]

    def test_tags_behind_the_window_are_left_for_the_next(self) -> None:
        found = run([(0, 0), (94_000, 1), (95_000, 2), (500_000, 3)], n_slots=10)
        assert (found.n_tags, found.last_ps) == (2, 94_000)

    def test_a_tag_that_the_corrected_clock_puts_before_the_window_is_outside_the_gate(
        self,
    ) -> None:
        found = run([(-6_000, 0), (50_000, 1)], gate_ps=10_000)
        assert clicks(found) == [(5, 2)]
        assert found.n_out_of_gate == 1

    def test_no_tags_make_no_clicks(self) -> None:
        found = run([], last_ps=77)
        assert (found.n_tags, found.slots.size, found.last_ps) == (0, 0, 77)

    def test_a_pulse_after_eleven_days_of_picoseconds_keeps_its_slot(self) -> None:
        anchor = 10**18 + 3
        found = run([(anchor + 10_000 * k, 1) for k in range(0, 900, 9)], anchor_ps=anchor)
        assert found.slots.tolist() == list(range(0, 900, 9))
        assert found.sum_residual_ps == 0

    def test_arrays_that_do_not_fit_are_the_callers_fault(self) -> None:
        with pytest.raises(ValueError, match="detectors"):
            kernel.assign(
                np.zeros(3, np.int64), np.zeros(2, np.uint8), anchor_ps=0, fraction_ps=0.0,
                period_ps=1e4, n_slots=5, dead_time_ps=1, gate_ps=1, last_ps=0,
            )  # fmt: skip


def test_forcing_a_variant_makes_it_serve() -> None:
    kernel.force("numpy")
    assert kernel.backend() == "numpy"
    kernel.force(None)
    assert kernel.backend() == BACKENDS[0]


@pytest.mark.skipif(kernel.lib is None, reason="no native kernel here")
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 3)), max_size=200),
    st.integers(-20_000, 10**17),
    st.floats(0, 1, exclude_max=True),
    st.floats(4_000, 20_000),
    st.integers(1, 400),
    st.integers(1, 80_000),
    st.integers(1, 20_000),
    st.integers(0, 100_000),
)
def test_the_native_kernels_and_their_twin_agree_to_the_bit(
    steps, anchor, fraction, period, n_slots, dead_time, gate, silent
) -> None:
    times = anchor - 3_000 + np.cumsum([step for step, _ in steps], dtype=np.int64)
    detectors = np.array([detector for _, detector in steps], np.uint8)
    answers = []
    for name in BACKENDS:
        kernel.force(name)
        try:
            found = kernel.assign(
                times, detectors, anchor_ps=anchor, fraction_ps=fraction, period_ps=period,
                n_slots=n_slots, dead_time_ps=dead_time, gate_ps=gate, last_ps=anchor - silent,
            )  # fmt: skip
        finally:
            kernel.force(None)
        rest = [getattr(found, field) for field in kernel.Assigned.__slots__[3:]]
        answers.append([found.n_tags, found.slots.tolist(), found.masks.tolist(), *rest])
    assert answers[1:] == answers[:-1]


@given(st.binary(max_size=300), st.binary(min_size=256, max_size=256))
def test_variants_look_up_the_same_detectors(channels: bytes, table: bytes) -> None:
    asked, known = np.frombuffer(channels, np.uint8), np.frombuffer(table, np.uint8)
    for name in BACKENDS:
        kernel.force(name)
        detectors, n_none = kernel.detectors_of(asked, known)
        assert detectors.tolist() == [table[channel] for channel in channels]
        assert n_none == detectors.tolist().count(kernel.NO_DETECTOR)
    kernel.force(None)


@given(st.lists(st.integers(1, 15), max_size=300))
def test_variants_find_the_single_detectors_and_the_same_larger_sets(masks: list[int]) -> None:
    singles = {1: 0, 2: 1, 4: 2, 8: 3}
    for name in BACKENDS:
        kernel.force(name)
        detectors, several = kernel.single_detectors(np.array(masks, np.uint8))
        assert several.tolist() == [i for i, mask in enumerate(masks) if mask not in singles]
        for mask, detector in zip(masks, detectors.tolist(), strict=True):
            assert detector == singles.get(mask, detector)
    kernel.force(None)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.booleans())
def test_variants_tell_alike_whether_times_fall(times: list[int], rise: bool) -> None:
    times = sorted(times) if rise else times
    for name in BACKENDS:
        kernel.force(name)
        assert kernel.in_order(np.array(times, np.int64)) == (times == sorted(times))
    kernel.force(None)
