"""The click kernels: C equals its NumPy twin bit for bit, and both do what they say."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import clicks
from drivers.sim.optics.clicks import detector_rungs

RUNGS = detector_rungs(key_basis_share=0.84, misalignment=0.01, intensities=(1.0, 0.38, 0.002))


@pytest.fixture(params=clicks.backends())
def served_by(request: pytest.FixtureRequest) -> Iterator[str]:
    clicks.force(request.param)
    yield request.param
    clicks.force(None)


def by_every_backend(call) -> list:
    results = []
    for name in clicks.backends():
        clicks.force(name)
        results.append(call())
    clicks.force(None)
    return results


def candidates(seed: int, n: int) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(seed)
    pulses = np.sort(rng.integers(0, max(1, 2 * n), n))
    states = rng.integers(0, 12, n).astype(np.uint8)
    return pulses, states, rng.integers(0, 2**64, n, np.uint64)


@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(0, clicks.ATTACK_SCALE))
def test_split_is_the_same_in_every_backend(seed: int, n: int, attacked_below: int) -> None:
    pulses, states, words = candidates(seed, n)
    first, *others = by_every_backend(
        lambda: clicks.split(pulses, states, words, rungs=RUNGS, attacked_below=attacked_below)
    )
    for other in others:
        np.testing.assert_array_equal(first[0], other[0])
        np.testing.assert_array_equal(first[1], other[1])


@given(
    st.integers(0, 2**32),
    st.floats(1.0, 1e6),
    st.floats(-1e14, 1e14),
    st.floats(0.0, 5e4),
)
def test_stamp_is_the_same_in_every_backend(
    seed: int, period_ps: float, origin_ps: float, sigma_ps: float
) -> None:
    rng = np.random.default_rng(seed)
    pulses = np.sort(rng.integers(0, 10**7, 200))
    detectors = rng.integers(0, 4, 200).astype(np.uint8)
    normals = rng.standard_normal(200, dtype=np.float32)
    first, *others = by_every_backend(
        lambda: clicks.stamp(
            pulses,
            detectors,
            normals,
            period_ps=period_ps,
            origin_ps=origin_ps,
            sigma_ps=sigma_ps,
            limit_ps=2.0 * sigma_ps,
        )
    )
    for other in others:
        np.testing.assert_array_equal(first, other)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=60),
    st.integers(0, 60),
    st.lists(st.integers(-80, 0), min_size=4, max_size=4),
)
def test_recover_is_the_event_by_event_rule_in_every_backend(
    events: list[tuple[int, int]], recovery_ps: int, last: list[int]
) -> None:
    events = sorted(events)
    expected, alive_from = [], [time + recovery_ps for time in last]
    for time, detector in events:
        if time >= alive_from[detector]:
            expected.append(time << 2 | detector)
            alive_from[detector] = time + recovery_ps
    keys = np.array([time << 2 | detector for time, detector in events], np.int64)
    for name in clicks.backends():
        clicks.force(name)
        last_ps = np.array(last, np.int64)
        seen = clicks.recover(keys, last_ps, recovery_ps=recovery_ps)
        assert seen.tolist() == expected, name
        assert [time + recovery_ps for time in last_ps.tolist()] == alive_from, name
    clicks.force(None)


def test_jitter_is_cut_at_its_limit(served_by: str) -> None:
    keys = clicks.stamp(
        np.array([0, 1, 2]),
        np.array([0, 1, 3], np.uint8),
        np.array([-9.0, 0.25, 9.0], np.float32),
        period_ps=1000.0,
        origin_ps=0.5,
        sigma_ps=10.0,
        limit_ps=30.0,
    )
    assert (keys >> 2).tolist() == [-30, 1003, 2030]
    assert (keys & 3).tolist() == [0, 1, 3]


def test_all_events_of_a_pulse_meet_the_same_eavesdropper(served_by: str) -> None:
    """Pulse 1 is attacked in the other basis, outcome 1; its second word would spare it."""
    attack_test_basis_outcome_1 = (1 << 31 | 1 << 30 | 0) << 32
    spare = ((1 << 30) - 1) << 32
    middle = clicks.RUNG_SCALE * 95 // 100  # test detector 1
    pulses = np.array([0, 1, 1, 2])
    words = np.array(
        [spare | middle, attack_test_basis_outcome_1 | middle, spare | middle, spare | middle],
        np.uint64,
    )
    states = np.zeros(4, np.uint8)
    exact = detector_rungs(key_basis_share=0.84, misalignment=0.0, intensities=(1.0, 0.5, 0.0))
    out, detectors = clicks.split(pulses, states, words, rungs=exact, attacked_below=1)
    assert out.tolist() == [0, 1, 1, 2]
    assert detectors.tolist() == [3, 3, 3, 3]
    words = (words >> 32 << 32) | clicks.RUNG_SCALE * 85 // 100  # test detector 0, unless resent
    out, detectors = clicks.split(pulses, states, words, rungs=exact, attacked_below=1)
    assert detectors.tolist() == [2, 3, 3, 2]


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    pulses, states, words = candidates(1, 5)
    with pytest.raises(ValueError, match="5 pulses, 4 states"):
        clicks.split(pulses, states[:4], words, rungs=RUNGS, attacked_below=0)
    with pytest.raises(ValueError, match="attacked_below"):
        clicks.split(pulses, states, words, rungs=RUNGS, attacked_below=clicks.ATTACK_SCALE + 1)
    with pytest.raises(ValueError, match="last_ps"):
        clicks.recover(pulses, np.zeros(3, np.int64), recovery_ps=1)
