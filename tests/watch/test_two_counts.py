"""The same pulses counted by the controller and by the time tagger, however late each is read."""

import numpy as np
import pytest

from qkdd.watch.two_counts import LOOKS_BACK_S, WINDOW_S, TwoCounts

PERIOD_S, READ_S = 0.5, 0.1
BOX_CLOCK_S = 1.7e9
HZ = (20_000.0, 15_000.0, 3_000.0, 100.0)


class Lab:
    """Two counters in steps of a read; both clocks are their own."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = np.random.Generator(np.random.Philox(seed))
        self.two = TwoCounts()
        self.now_s = 100.0
        self.tagger_s = 0.0
        self.box_s = BOX_CLOCK_S
        self.period = np.zeros(4, np.int64)
        self.held = np.zeros(4, np.int64)
        self.trouble: str | None = None

    def run(
        self,
        seconds: float,
        hz: tuple[float, ...] = HZ,
        *,
        box: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
        tagger_stalls: bool = False,
    ) -> set[str | None]:
        """Let time pass; return all that is said meanwhile. ``box``: share that it counts."""
        said = set()
        for _ in range(round(seconds / READ_S)):
            counts = self.rng.poisson(np.array(hz) * READ_S)
            self.now_s += READ_S
            self.tagger_s += READ_S * (1 + 30e-6)
            self.held += counts
            if not tagger_stalls:
                self.two.tagged(tuple(self.held.tolist()), self.tagger_s, self.now_s)
                self.held = np.zeros(4, np.int64)
            self.period += self.rng.binomial(counts, box)
            if round(self.now_s / READ_S) % round(PERIOD_S / READ_S) == 0:
                self.box_s += PERIOD_S
                late_s = float(self.rng.uniform(0.0, 0.2))
                self.trouble = self.two.counted(
                    tuple(self.period.tolist()), self.box_s, PERIOD_S, self.now_s + late_s
                )
                self.period = np.zeros(4, np.int64)
                said.add(self.trouble)
        return said


def test_equal_counts_are_no_trouble_and_their_rates_are_told() -> None:
    lab = Lab()
    assert lab.run(200.0) == {None}
    assert lab.two.tagged_hz == pytest.approx(HZ, rel=0.2)


def test_light_that_comes_and_goes_is_no_trouble() -> None:
    lab = Lab()
    for _ in range(12):
        assert lab.run(7.3) == {None}
        assert lab.run(3.1, (100.0, 100.0, 100.0, 100.0)) == {None}
        assert lab.run(0.7, (9e5, 9e5, 9e4, 9e4)) == {None}


def test_a_tagger_that_is_read_late_is_no_trouble() -> None:
    lab = Lab()
    assert lab.run(30.0) == {None}
    assert lab.run(4.0, tagger_stalls=True) == {None}
    assert lab.run(30.0) == {None}


def test_a_comparator_that_goes_deaf_is_seen_within_the_window_and_named() -> None:
    lab = Lab()
    lab.run(30.0)
    seconds = 0.0
    while lab.trouble is None:
        lab.run(1.0, box=(1.0, 1.0, 0.0, 1.0))
        seconds += 1.0
    assert seconds <= LOOKS_BACK_S
    assert lab.trouble.startswith("detectors: test basis, bit 0: the controller counts ")
    assert None not in lab.run(3.0, box=(1.0, 1.0, 0.0, 1.0))


def test_trouble_stands_until_a_whole_comparison_is_well() -> None:
    lab = Lab()
    lab.run(20.0, box=(0.5, 1.0, 1.0, 1.0))
    assert lab.trouble is not None
    lab.two.tagger_begins()
    lab.tagger_s = 0.0
    assert None not in lab.run(WINDOW_S)
    lab.run(2 * LOOKS_BACK_S)
    assert lab.trouble is None


def test_events_that_the_controller_never_saw_are_trouble_too() -> None:
    lab = Lab()
    lab.run(20.0)
    lab.run(WINDOW_S + 4.0, box=(1.0, 1.0, 1.0, 0.1))
    assert lab.trouble is not None
    assert "test basis, bit 1" in lab.trouble


def test_a_gap_in_either_stream_begins_it_afresh() -> None:
    lab = Lab()
    lab.run(20.0)
    lab.box_s += 3600.0  # its clock was set
    assert lab.run(20.0) == {None}
    lab.two.tagger_begins()
    lab.tagger_s = 0.0
    assert lab.run(20.0) == {None}
