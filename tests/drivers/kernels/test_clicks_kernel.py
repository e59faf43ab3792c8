"""The click kernels: C equals its NumPy twin bit for bit, and both do what they say."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import clicks, normal_bins
from drivers.kernels.eve import ATTACK_SCALE, Eve
from drivers.sim.optics.eve import rates, rungs
from drivers.sim.optics.polarization import STAYS, port_chances


def rungs_of(misalignment: float, levels: tuple[float, ...]) -> npt.NDArray[np.uint64]:
    ports = port_chances(key_basis_share=0.84, misalignment=misalignment, turn=STAYS)
    return rungs(rates(levels, ports))


RUNGS = rungs_of(0.01, (1.0, 0.38, 0.002))
HER_RUNGS = rungs_of(0.03, (0.9, 0.2, 0.1))


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


def words_of(rng: np.random.Generator, n: int) -> npt.NDArray[np.uint64]:
    return rng.integers(0, 2**64, n, np.uint64)


def candidates(seed: int, n: int) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(seed)
    pulses = np.sort(rng.integers(0, max(1, 2 * n), n))
    states = rng.integers(0, 12, n).astype(np.uint8)
    return pulses, states, words_of(rng, n)


@given(
    st.integers(0, 2**32),
    st.integers(0, 300),
    st.integers(0, ATTACK_SCALE),
    st.booleans(),
    st.booleans(),
)
def test_split_is_the_same_in_every_backend(
    seed: int, n: int, attacked_below: int, resends: bool, one_each: bool
) -> None:
    pulses, states, words = candidates(seed, n)
    draws = np.random.default_rng(seed + 1).integers(0, 2**32, n, np.uint32)
    eve = Eve(attacked_below=attacked_below, rungs=HER_RUNGS, resends=resends, one_each=one_each)
    for attack in ({}, {"eve": eve, "draws": draws, "spent": int(pulses[0]) if n else -1}):
        first, *others = by_every_backend(
            partial(clicks.split, pulses, states, words, rungs=RUNGS, **attack)
        )
        for other in others:
            np.testing.assert_array_equal(first[0], other[0])
            np.testing.assert_array_equal(first[1], other[1])
            assert first[2] == other[2]


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
    detectors = rng.integers(0, 8, 200).astype(np.uint8)
    words = words_of(rng, 200)
    first, *others = by_every_backend(
        lambda: clicks.stamp(
            pulses,
            detectors,
            words,
            period_ps=period_ps,
            origin_ps=origin_ps,
            sigma_ps=sigma_ps,
            her_shift_ps=0.3 * period_ps,
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


@given(
    st.lists(st.integers(-(2**40), 2**40), max_size=40),
    st.floats(-2e-4, 2e-4),
    st.floats(-1e-21, 1e-21),
    st.integers(0, 2**62),
)
def test_tell_is_the_same_in_every_backend(
    times: list[int], fast: float, half_drift: float, base_ps: int
) -> None:
    keys = np.array([time << 2 | time & 3 for time in sorted(times)], np.int64)
    first, *others = by_every_backend(
        lambda: clicks.tell(
            keys, fast=fast, half_drift=half_drift, base_ps=base_ps, floor_ps=base_ps
        )
    )
    assert (first[0] >= base_ps).all()
    for other in others:
        np.testing.assert_array_equal(first[0], other[0])
        np.testing.assert_array_equal(first[1], other[1])


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(1, 4)), max_size=60))
def test_dealt_times_are_those_of_each_channel_in_every_backend(
    events: list[tuple[int, int]],
) -> None:
    times = np.array([time for time, _ in events], np.int64)
    channels = np.array([channel for _, channel in events], np.uint8)
    expected = [[time for time, at in events if at == channel] for channel in (1, 2, 3, 4)]
    for dealt in by_every_backend(lambda: clicks.deal(times, channels)):
        assert [one.tolist() for one in dealt] == expected


def test_jitter_is_normal_and_within_its_reach(served_by: str) -> None:
    """Shares of a million throws below several bounds against the normal law, 5 sigma."""
    n, sigma_ps = 1_000_000, 1e6
    words = words_of(np.random.default_rng(4), n)
    zeros = np.zeros(n, np.int64), np.zeros(n, np.uint8)
    keys = clicks.stamp(*zeros, words, period_ps=1.0, origin_ps=0.0, sigma_ps=sigma_ps)
    z = (keys >> 2) / sigma_ps
    for bound in (-3.3, -2.0, -1.01, -0.3, 0.0, 0.007, 0.7, 1.5, 2.5, 4.0):
        chance = 0.5 * math.erfc(-bound / math.sqrt(2.0))
        count = int(np.sum(z < bound))
        assert abs(count - n * chance) < 5 * math.sqrt(n * chance * (1 - chance)), bound
    ends = np.array([0, 2**64 - 1], np.uint64)
    keys = clicks.stamp(
        np.array([0, 1]),
        np.array([1, 3], np.uint8),
        ends,
        period_ps=1000.0,
        origin_ps=0.5,
        sigma_ps=10.0,
    )
    assert (np.abs((keys >> 2) - [0, 1000]) <= 81).all()
    assert (keys & 3).tolist() == [1, 3]


def test_the_normal_table_has_every_bins_weight() -> None:
    """What own bin and aliases give together is the weight, and that is the normal's: 2**-32."""
    own = normal_bins.OWN_BELOW.astype(np.int64)
    given_to = own.copy()
    np.add.at(given_to, normal_bins.ALIAS, normal_bins.CELL - own)
    assert given_to.tolist() == normal_bins.weights()
    half, total = normal_bins.N_BINS // 2, normal_bins.N_BINS * normal_bins.CELL
    assert sum(normal_bins.weights()) == total
    for k in (0, 1, 64, 128, 300):
        bounds = [(k + j) * normal_bins.REACH_SIGMAS / half / math.sqrt(2.0) for j in (0, 1)]
        chance = 0.5 * (math.erf(bounds[1]) - math.erf(bounds[0]))
        assert abs(normal_bins.weights()[half + k] / total - chance) < 2**-22


def test_all_events_of_a_pulse_meet_the_same_eavesdropper(served_by: str) -> None:
    """Pulse 1 is attacked in the other basis, outcome 1; its second draw would spare it."""
    attack_test_basis_outcome_1 = 1 << 31 | 1 << 30 | 0
    spare = (1 << 30) - 1
    draws = np.array([spare, attack_test_basis_outcome_1, spare, spare], np.uint32)
    pulses = np.array([0, 1, 1, 2])
    words = np.full(4, clicks.RUNG_SCALE * 95 // 100, np.uint64)  # test detector 1
    states = np.zeros(4, np.uint8)
    exact = rungs_of(0.0, (1.0, 0.5, 0.0))
    eve = Eve(attacked_below=1, rungs=exact, resends=True)
    attacked = partial(clicks.split, rungs=exact, eve=eve, draws=draws)
    out, detectors, _ = attacked(pulses, states, words)
    assert out.tolist() == [0, 1, 1, 2]
    assert detectors.tolist() == [3, 7, 7, 3]
    words[:] = clicks.RUNG_SCALE * 85 // 100  # test detector 0, unless resent
    out, detectors, _ = attacked(pulses, states, words)
    assert detectors.tolist() == [2, 7, 7, 2]


def test_an_attacked_pulse_may_be_held_to_one_click(served_by: str) -> None:
    """Pulse 5 has had its click before, the second of pulse 6 is dropped, pulse 7 is spared."""
    pulses = np.array([5, 6, 6, 6, 7, 7])
    words = np.full(6, clicks.RUNG_SCALE // 4, np.uint64)
    words[1] = clicks.RUNG_SCALE - 1  # no click: it spends nothing
    draws = np.array([0, 0, 0, 0, ATTACK_SCALE - 1, 0], np.uint32)
    eve = Eve(attacked_below=1, rungs=RUNGS, one_each=True)
    weak = np.full(6, 4, np.uint8)
    out, detectors, spent = clicks.split(
        pulses, weak, words, rungs=RUNGS, eve=eve, draws=draws, spent=5
    )
    assert (out.tolist(), spent) == ([6, 7, 7], 6)
    assert [int(detector) >> 2 for detector in detectors] == [1, 0, 0]


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    pulses, states, words = candidates(1, 5)
    with pytest.raises(ValueError, match="5 pulses, 4 states"):
        clicks.split(pulses, states[:4], words, rungs=RUNGS)
    eve = Eve(attacked_below=1, rungs=RUNGS)
    with pytest.raises(ValueError, match="4 draws of hers"):
        clicks.split(pulses, states, words, rungs=RUNGS, eve=eve, draws=np.zeros(4, np.uint32))
    with pytest.raises(ValueError, match="attacked_below"):
        Eve(attacked_below=ATTACK_SCALE + 1, rungs=RUNGS)
    with pytest.raises(ValueError, match="last_ps"):
        clicks.recover(pulses, np.zeros(3, np.int64), recovery_ps=1)
