"""Monitors: silent on honest light, loud on what each is for; thresholds from the budget alone."""

import dataclasses
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.counts import DecoyCounts
from qkdd.watch.monitors import MONITORS, SECONDS_PER_YEAR, alarms, threshold, watch
from qkdd.watch.settings import WatchSettings
from qkdd.watch.sight import Sight
from tests.watch.light import MIX, Light, look

N_PULSES = 2_000_000
BLOCK_S = 16.0
WATCH = WatchSettings(coincidence_tolerance=0.0, balance_tolerance=0.0, weak_tolerance=0.0)


def said(light: Light, *, seed: int = 1, settings: WatchSettings = WATCH) -> list[str]:
    sight = look(light, N_PULSES, np.random.default_rng(seed))
    return alarms(sight, MIX, settings, shortest_block_s=BLOCK_S)


@pytest.mark.parametrize("seed", range(3))
def test_honest_light_is_quiet_even_without_any_tolerance(seed: int) -> None:
    sight = look(Light(), N_PULSES, np.random.default_rng(seed))
    readings = watch(sight, MIX, WATCH)
    assert len(readings) == len(MONITORS) - 1  # dark counts are not watched by default
    assert max(abs(one.value - one.expected) / one.sigma for one in readings) < 4.5
    assert alarms(sight, MIX, WATCH, shortest_block_s=BLOCK_S) == []


def test_honest_light_is_quiet_where_three_detectors_often_click_at_once() -> None:
    sight = look(Light(per_photon=0.9), N_PULSES, np.random.default_rng(1))
    readings = watch(sight, MIX, WATCH)
    assert max(abs(one.value - one.expected) / one.sigma for one in readings) < 4.5


@pytest.mark.parametrize("errors", [(0.01, 0.08), (0.08, 0.01)])
def test_light_that_is_turned_for_one_basis_alone_is_quiet(errors: tuple[float, float]) -> None:
    assert said(Light(errors=errors)) == []


def test_double_clicks_wait_for_the_key_basis_errors() -> None:
    sight = look(Light(blinded=1.0), N_PULSES, np.random.default_rng(1))
    before = dataclasses.replace(sight, counts=dataclasses.replace(sight.counts, key_errors=None))
    names = {one.name for one in watch(sight, MIX, WATCH)}
    assert names - {one.name for one in watch(before, MIX, WATCH)} == {"double clicks"}


@pytest.mark.parametrize(
    ("light", "name"),
    [
        (Light(efficiency=(1.0, 0.93, 1.0, 1.0)), "share of ones in the key basis"),
        (Light(efficiency=(1.0, 1.0, 1.0, 0.7)), "share of ones in the test basis"),
        (Light(blinded=1.0), "cross clicks"),
        (Light(blinded=1.0), "double clicks"),
        (Light(bright=0.0005), "cross clicks"),
        (Light(split=0.8), "clicks of weak pulses"),
    ],
)
def test_each_attack_is_named_by_its_monitor(light: Light, name: str) -> None:
    names = [one.partition(":")[0] for one in said(light)]
    assert name in names


def test_blinded_detectors_have_no_dark_counts() -> None:
    settings = WatchSettings(lowest_dark_hz=40_000.0)
    names = [
        one.partition(":")[0]
        for one in said(Light(dark_hz=40_000.0, blinded=1.0), settings=settings)
    ]
    assert "events out of the gate" in names
    quiet = said(Light(dark_hz=50_000.0), settings=settings)
    assert quiet == []


def test_a_tolerance_is_what_the_difference_must_exceed() -> None:
    light = Light(efficiency=(1.0, 0.93, 1.0, 1.0))  # ones are 48.2 % of the key basis
    assert said(light, settings=with_tolerance(balance_tolerance=0.03)) == []
    assert said(light, settings=with_tolerance(balance_tolerance=0.002))


def with_tolerance(**changes: float) -> WatchSettings:
    return WatchSettings(
        **{"coincidence_tolerance": 0.0, "balance_tolerance": 0.0, "weak_tolerance": 0.0, **changes}
    )


def test_the_threshold_spends_the_years_false_alarms_over_all_looks() -> None:
    z = threshold(WatchSettings(alarms_per_year=0.5), 16.0)
    looks = len(MONITORS) * SECONDS_PER_YEAR / 16.0
    assert 2 * (1 - NormalDist().cdf(z)) * looks == pytest.approx(0.5, rel=1e-3)
    assert threshold(WatchSettings(), 2.0) > threshold(WatchSettings(), 16.0)


counts = st.integers(0, 10**9)
three = st.tuples(counts, counts, counts)


@given(
    n_pulses=st.integers(1, 10**10),
    detectors=st.tuples(counts, counts, counts, counts),
    odd=st.tuples(counts, counts, counts, counts),
    key=three,
    key_wrong=st.tuples(*[st.floats(0, 1)] * 3),
    test=three,
    dead_time_s=st.floats(0, 1e-3),
)
def test_no_counts_break_a_monitor(
    n_pulses, detectors, odd, key, key_wrong, test, dead_time_s
) -> None:
    key_errors = tuple(math.floor(n * share) for n, share in zip(key, key_wrong, strict=True))
    sight = Sight(
        n_pulses=n_pulses,
        seconds=n_pulses * 1e-8,
        gate_share=0.4,
        dead_time_s=dead_time_s,
        detectors=detectors,
        n_double=odd[0],
        n_cross=odd[1],
        n_out_of_gate=odd[2],
        n_dead=odd[3],
        counts=DecoyCounts(key=key, test=test, test_errors=(0, 0, 0), key_errors=key_errors),
    )
    for one in watch(sight, MIX, WatchSettings(lowest_dark_hz=100.0)):
        assert math.isfinite(one.value)
        assert math.isfinite(one.expected)
        assert one.excess == one.excess  # not NaN, which would never speak
    alarms(sight, MIX, WatchSettings(), shortest_block_s=1e-3)


@pytest.mark.parametrize("field", ["n_double", "n_cross", "n_out_of_gate", "n_dead"])
def test_negative_counts_are_refused(field: str) -> None:
    good = look(Light(), 1_000, np.random.default_rng(1))
    with pytest.raises(ValueError, match="impossible counts"):
        dataclasses.replace(good, **{field: -1})
