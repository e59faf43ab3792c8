"""Whole wraps that a stall has cost are seen, and nothing else is taken for them."""

import numpy as np
import pytest

from drivers.timetagger.wrap_watch import STALL_S, TRIAL_S, WrapWatch

WRAP_S = 0.268435456


def play(lags_s, *, stalls=(), step_s=0.05, seed=1, jitter_s=0.01, ppm=50.0) -> list[int]:
    """Read every ``step_s``, the tagger ``lags_s(t)`` behind; return what the watch said."""
    dice = np.random.default_rng(seed)
    watch = WrapWatch(wrap_s=WRAP_S)
    said = []
    counted_on_s = 0.0
    host_s = 0.0
    pending = sorted(stalls)
    while host_s < 60:
        if pending and host_s >= pending[0]:
            pending.pop(0)
            host_s += 2 * STALL_S
            watch.stalled(host_s)
        tagger_s = host_s * (1 - ppm * 1e-6) - lags_s(host_s) - dice.exponential(jitter_s)
        n_wraps = watch.caught_up(host_s, tagger_s + counted_on_s)
        counted_on_s += n_wraps * WRAP_S
        said += [n_wraps] if n_wraps else []
        host_s += step_s
    return said


def test_without_a_stall_nothing_is_ever_said():
    assert play(lambda t: 0.0) == []
    assert play(lambda t: WRAP_S if t > 20 else 0.0) == []


@pytest.mark.parametrize("n_wraps", [1, 2, 7])
@pytest.mark.parametrize("ppm", [-50.0, 50.0])
def test_wraps_lost_in_a_stall_are_counted_once(n_wraps, ppm):
    assert play(lambda t: n_wraps * WRAP_S if t > 20 else 0.0, stalls=[20], ppm=ppm) == [n_wraps]


def test_two_stalls_are_judged_apart():
    lags = lambda t: WRAP_S * ((t > 20) + 2 * (t > 40))  # noqa: E731
    assert play(lags, stalls=[20, 40]) == [1, 2]


def test_a_backlog_that_is_read_slowly_is_no_loss():
    def lag(t: float) -> float:
        return max(0.0, 0.5 * (1 - (t - 20) / (0.8 * TRIAL_S))) if t > 20 else 0.0

    assert play(lag, stalls=[20]) == []


def test_a_lag_that_is_no_whole_number_of_wraps_is_no_loss_of_wraps():
    assert play(lambda t: 0.4 if t > 20 else 0.0, stalls=[20, 30, 40]) == []


def test_a_machine_that_grows_slower_is_not_suspected():
    assert play(lambda t: 0.01 * t, stalls=[15, 30, 45]) == []
