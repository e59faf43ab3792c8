"""The walk over a stretch of pulses: C equals the twin bit for bit, events are Poisson."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import clicks, walk
from drivers.kernels.eve import ATTACK_SCALE, Eve
from drivers.kernels.walk import Line, Segment, Walker
from tests.drivers.kernels.test_clicks_kernel import HER_RUNGS, RUNGS

EVERYTHING = np.full((16, 4), clicks.RUNG_SCALE, np.uint64)
"""Every candidate is seen by detector 0."""


def dice(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def segment(stop: int, *, base: int = 0, seed: int = 0) -> Segment:
    return Segment(
        stop=stop,
        base=base,
        seed=bytes([seed] * 32),
        key_threshold=27_525,
        signal_threshold=42_598,
        weak_threshold=19_005,
    )


def line_of(n_pulses: int, per_pulse: float) -> Line:
    """A line that lets every candidate through, at the time of its pulse's number."""
    return Line(
        n_pulses=n_pulses,
        per_pulse=per_pulse,
        rungs=EVERYTHING,
        period_ps=1.0,
        origin_ps=0.0,
        sigma_ps=0.0,
    )


def pulses_of(walker: Walker, n_pulses: int, per_pulse: float) -> npt.NDArray[np.int64]:
    """Candidates of a stretch."""
    return walker.walk(line_of(n_pulses, per_pulse), [segment(n_pulses)]) >> 2


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 20_000), st.floats(1e-3, 0.5)), min_size=1, max_size=4),
    st.lists(st.integers(1, 20_000), max_size=3),
    st.sampled_from([None, 0, 1 << 29, ATTACK_SCALE]),
    st.booleans(),
)
def test_the_walk_is_the_same_in_every_backend(
    seed: int,
    stretches: list[tuple[int, float]],
    stops: list[int],
    attacked_below: int | None,
    flag: bool,
) -> None:
    results = []
    eve = None
    if attacked_below is not None:
        eve = Eve(
            attacked_below=attacked_below,
            rungs=HER_RUNGS,
            resends=flag,
            one_each=not flag,
            shift_ps=333.3,
        )
    for name in walk.backends():
        walk.force(name)
        walker = Walker(dice(seed))
        for n_pulses, per_pulse in stretches:
            line = Line(
                n_pulses=n_pulses,
                per_pulse=per_pulse,
                rungs=RUNGS,
                eve=eve,
                period_ps=2857.14,
                origin_ps=1e6,
                sigma_ps=21.0,
            )
            table = [segment(stop, base=-stop, seed=n) for n, stop in enumerate(sorted(stops))]
            results.append(walker.walk(line, [*table, segment(20_000, seed=9)]))
    walk.force(None)
    for n in range(len(stretches)):
        first, *others = results[n :: len(stretches)]
        for other in others:
            np.testing.assert_array_equal(first, other)


@given(st.integers(1, 500), st.floats(1e-9, 5.0), st.integers(0, 1000))
def test_candidates_are_ordered_pulses_of_the_stretch(n: int, per_pulse: float, seed: int) -> None:
    pulses = pulses_of(Walker(dice(seed)), n, per_pulse)
    assert (np.diff(pulses) >= 0).all()
    assert not pulses.size or (pulses[0] >= 0 and pulses[-1] < n)


def test_candidates_of_a_pulse_are_poisson() -> None:
    """Share of pulses with 0, 1, 2, 3 events against the Poisson law, 5 sigma."""
    n, mean = 400_000, 0.7
    events = np.bincount(pulses_of(Walker(dice(5)), n, mean), minlength=n)
    for k in range(4):
        chance = math.exp(-mean) * mean**k / math.factorial(k)
        count = int(np.sum(events == k))
        assert abs(count - n * chance) < 5 * math.sqrt(n * chance * (1 - chance)), k


def test_candidates_go_on_from_one_stretch_to_the_next() -> None:
    """Cut anywhere, and at a rate that changes, events are those of one process: 5 sigma."""
    n = 20_000
    walker = Walker(dice(8))
    cuts = [(length, rate) for length in (1, 7, 40, 1000) for rate in (0.002, 0.3)]
    counts = np.array([[pulses_of(walker, *cut).size for cut in cuts] for _ in range(n)])
    means = np.array([length * rate for length, rate in cuts])
    assert (np.abs(counts.mean(0) - means) < 5 * np.sqrt(means / n)).all()
    spread = counts.var(0) / means - 1.0
    assert (np.abs(spread) < 5 * np.sqrt((2.0 + 1.0 / means) / n)).all()
    together = np.corrcoef(counts.T) - np.eye(means.size)
    assert np.abs(together).max() < 5 / math.sqrt(n)


def test_what_is_no_stretch_is_refused() -> None:
    walker = Walker(dice(1))
    with pytest.raises(ValueError, match=r"0\.0 per pulse"):
        walker.walk(line_of(10, 0.0), [segment(10)])
    with pytest.raises(ValueError, match="end before the line of 11 pulses"):
        walker.walk(line_of(11, 1.0), [segment(10)])
