"""What a controller tells of four wires, and what of it is trouble."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.watch.wires import (
    FALSE_ALARM_LOG,
    CountBand,
    Standing,
    WireLimits,
    standing_trouble,
    tail_log,
    temperature_trouble,
)

LIMITS = WireLimits(
    bias_ua=(18.0, 18.0, 17.0, 18.0),
    trigger_mv=(25.0, 25.0, 25.0, 25.0),
    max_voltage=5.0,
    lowest_hz=10.0,
    highest_hz=1e6,
    max_temperature_k=3.5,
)
WELL = Standing(
    enabled=True,
    bias_ua=LIMITS.bias_ua,
    voltage=(0.9, 0.9, 0.85, 0.9),
    trigger_mv=(25.0, 25.0, 25.0, 25.0),
)
HALF_S = 0.5


def test_wires_that_stand_as_they_should_are_no_trouble() -> None:
    assert standing_trouble(WELL, LIMITS) is None
    rounded = replace(WELL, bias_ua=(18.1, 17.9, 17.0, 18.0), trigger_mv=(24.5, 25.5, 25.0, 25.0))
    assert standing_trouble(rounded, LIMITS) is None


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (replace(WELL, enabled=False), "the bias is off"),
        (replace(WELL, bias_ua=(18.0, 18.0, 18.0, 18.0)), "test basis, bit 0: its bias is 18 uA"),
        (replace(WELL, trigger_mv=(25.0, 40.0, 25.0, 25.0)), "key basis, bit 1: its trigger is 40"),
        (replace(WELL, voltage=(0.9, 0.9, 0.9, 180.0)), "test basis, bit 1: latched, or blinded"),
        (replace(WELL, voltage=(-180.0, 0.9, 0.9, 0.9)), "key basis, bit 0: latched, or blinded"),
    ],
)
def test_what_stands_otherwise_is_named_with_its_wire(now: Standing, says: str) -> None:
    trouble = standing_trouble(now, LIMITS)
    assert trouble is not None
    assert trouble.startswith("detectors: ")
    assert says in trouble


def test_what_is_not_configured_is_not_judged() -> None:
    limits = replace(LIMITS, trigger_mv=None, max_voltage=None)
    odd = replace(WELL, voltage=(1e3, 1e3, 1e3, 1e3), trigger_mv=(1.0, 2.0, 3.0, 4.0))
    assert standing_trouble(odd, limits) is None


def test_a_warm_cryostat_is_trouble() -> None:
    assert temperature_trouble(3.5, LIMITS) is None
    trouble = temperature_trouble(4.25, LIMITS)
    assert trouble == "detectors: too warm: 4.25 K, limit 3.5 K"


def test_a_wire_that_falls_silent_is_seen_as_soon_as_chance_is_no_excuse() -> None:
    band = CountBand(LIMITS)
    for _ in range(10):
        assert band.take((50, 50, 50, 50), HALF_S) is None
    assert band.alive
    n_periods = 0
    while (trouble := band.take((50, 50, 0, 50), HALF_S)) is None:
        n_periods += 1
    # 8 periods of 0.5 s at 10 Hz: 40 counts are due, and none comes with a chance of e^-40
    assert n_periods == 7
    assert trouble.startswith("detectors: test basis, bit 0: latched, or in the dark: 0 counts")
    quick = CountBand(replace(LIMITS, lowest_hz=100.0))
    assert quick.take((60, 60, 60, 0), HALF_S) is not None


def test_a_wire_that_counts_again_is_well_in_its_time() -> None:
    band = CountBand(LIMITS)
    for _ in range(8):
        trouble = band.take((0, 50, 50, 50), HALF_S)
    assert trouble is not None
    n_periods = 0
    while band.take((6, 50, 50, 50), HALF_S) is not None or not band.alive:
        n_periods += 1
    assert 0 < n_periods < 8
    band.forget()
    assert not band.alive
    assert band.take((50, 50, 50, 50), HALF_S) is None
    assert band.alive


def test_nothing_is_said_to_live_that_has_not_counted() -> None:
    band = CountBand(LIMITS)
    assert band.take((50, 50, 50, 0), HALF_S) is None
    assert not band.alive
    assert CountBand(replace(LIMITS, lowest_hz=0.0)).take((0, 0, 0, 0), HALF_S) is None


def test_a_wire_that_counts_too_much_is_trouble() -> None:
    trouble = CountBand(LIMITS).take((10, 510_000, 10, 10), HALF_S)
    assert trouble is not None
    assert "bit 1: 1.02e+06 counts a second, limit 1e+06" in trouble


def test_rates_at_their_limits_raise_no_alarm() -> None:
    """Half an hour of half seconds at the lowest and the highest rate, all windows."""
    rng = np.random.Generator(np.random.Philox(4))
    low, high = LIMITS.lowest_hz * HALF_S, LIMITS.highest_hz * HALF_S
    counts = rng.poisson((low, high, low, high), (3600, 4)).tolist()
    band = CountBand(LIMITS)
    assert not [one for one in counts if band.take(tuple(one), HALF_S) is not None]


@given(st.integers(0, 400), st.floats(0.1, 300.0))
def test_the_bound_is_above_the_chance_itself(n: int, mean: float) -> None:
    """Of the tail on the side of ``n``; summed term by term."""
    terms = [math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(1500)]
    tail = sum(terms[: n + 1]) if n < mean else sum(terms[n:])
    assert math.exp(tail_log(n, mean)) >= tail * (1 - 1e-9)
    assert FALSE_ALARM_LOG < -27
