"""The beginning of a run under any polarisation, and clocks that wander and fibres that stretch."""

import numpy as np
import pytest

from drivers.sim.optics.polarization import any_turn, rotation
from qkdd.frames.calibration import ErrorCount, SlipAlarm
from qkdd.frames.events import CalibrationMeasured, Event, FrameStartFound, Lost
from qkdd.frames.receiver import LightReceiver
from qkdd.frames.settings import FrameSettings
from qkdd.frames.start import NoStart, find_turned_start
from tests.frames.synthetic_light import CHANNELS, SMALL, Light, states

SETTINGS = FrameSettings()


def receive(light: Light, *, any_turn: bool = True) -> list[Event]:
    rng = np.random.default_rng(99)
    receiver = LightReceiver(SMALL, SETTINGS, CHANNELS, rng.bytes, any_turn=any_turn)
    receiver.hunt(states)
    return [event for block in light.blocks() for event in receiver.feed(block)]


def test_runs_of_any_polarisation_are_found_at_their_right_place_and_followed() -> None:
    rng = np.random.default_rng(7)
    n_turned = 0
    for seed in range(12):
        light = Light(seed=seed, turn=any_turn(rng))
        events = receive(light)
        (start,) = [one for one in events if isinstance(one, FrameStartFound)]
        arrival_ps = float(light.arrival_ps(np.array([0]))[0])
        assert abs(start.pulse0_ps - arrival_ps) < SMALL.period_ps / 2
        assert not [one for one in events if isinstance(one, Lost)]
        assert [one for one in events if isinstance(one, CalibrationMeasured)]
        n_turned += start.turned
    assert n_turned > 6


def test_a_run_found_by_one_basis_alone_is_followed_too() -> None:
    """A third of the key basis is wrong and nothing of the test basis: not turned enough for the
    search under any turn, and far beyond what is a slip where nobody turns it back."""
    light = Light(turn=rotation(np.array([0.0, 1.23, 0.0])))
    events = receive(light)
    assert not [one for one in events if isinstance(one, Lost)]
    measured = [one for one in events if isinstance(one, CalibrationMeasured)]
    key = [sum(one.errors[0] for one in measured), sum(one.matched[0] for one in measured)]
    assert key[0] > 0.25 * key[1]


def test_without_somebody_to_turn_it_back_a_turned_run_is_lost_with_a_reason() -> None:
    light = Light(turn=rotation(np.array([0.0, 1.5, 0.0])))
    last = receive(light, any_turn=False)[-1]
    assert isinstance(last, Lost)
    assert "preamble" in last.reason


def test_light_of_another_run_is_not_taken_for_a_turned_one() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        slots = np.cumsum(rng.integers(1, 200, 5_000))
        with pytest.raises(NoStart, match="stands out"):
            find_turned_start(
                slots,
                rng.integers(0, 4, slots.size).astype(np.uint8),
                first=-2_000,
                last=0,
                preamble_pulses=SMALL.preamble_pulses,
                states=states,
            )


def test_a_turned_run_is_watched_for_slips_once_it_has_been_good() -> None:
    alarm = SlipAlarm(0.2, armed=False)
    bad, good = ErrorCount((300, 65), (150, 32)), ErrorCount((300, 65), (3, 1))
    assert not any(alarm.slipped(bad) for _ in range(1_000))
    one_basis = ErrorCount((300, 65), (3, 32))
    assert not any(alarm.slipped(one_basis) for _ in range(1_000))
    assert not alarm.armed
    assert not any(alarm.slipped(good) for _ in range(10))
    assert alarm.armed
    assert alarm.slipped(bad)


def test_no_good_point_of_a_search_arms_the_alarm() -> None:
    alarm = SlipAlarm(0.2)
    bad, good = ErrorCount((300, 65), (150, 32)), ErrorCount((300, 65), (3, 1))
    alarm.suspend(True)
    assert not any(alarm.slipped(one) for one in 20 * [good, good, good, good, bad])
    alarm.suspend(False)
    assert not any(alarm.slipped(bad) for _ in range(100))  # nor is it armed when that is over
    assert not any(alarm.slipped(good) for _ in range(10))
    assert alarm.slipped(bad)


def test_a_run_that_somebody_turns_is_followed_through_any_errors() -> None:
    """Good light first, then the search for better voltages: up to all bits are wrong."""
    for told in (False, True):
        rng = np.random.default_rng(99)
        receiver = LightReceiver(SMALL, SETTINGS, CHANNELS, rng.bytes, any_turn=True)
        receiver.hunt(states)
        light = Light(seconds=1.0)
        turned = Light(seconds=1.0, turn=rotation(np.array([0.0, 2.0, 0.0])))
        events: list[Event] = []
        n_good = 0
        for good, bad in zip(light.blocks(), turned.blocks(), strict=False):
            if n_good < 20:
                found = receiver.feed(good)
                n_good += sum(isinstance(one, CalibrationMeasured) for one in found)
                if n_good >= 20 and told:
                    receiver.is_being_turned(True)
            else:
                found = receiver.feed(bad)
            events += found
        lost = [one.reason for one in events if isinstance(one, Lost)]
        assert bool(lost) != told


@pytest.mark.parametrize(
    ("stretch_ps_per_s", "drift_ppb_per_s"), [(-1_000.0, 10.0), (2.0, 10.0), (1_000.0, -10.0)]
)
def test_a_fibre_that_stretches_and_a_clock_that_drifts_are_followed(
    stretch_ps_per_s: float, drift_ppb_per_s: float
) -> None:
    """An aerial cable on a hot day makes 2 ps/s, an OCXO's ageing far less than 10 ppb/s."""
    light = Light(
        seconds=1.0, delay_step_ps_per_s=stretch_ps_per_s, drift_ppb_per_s=drift_ppb_per_s
    )
    events = receive(light)
    assert not [one for one in events if isinstance(one, Lost)]
    measured = [one for one in events if isinstance(one, CalibrationMeasured)]
    assert len(measured) >= 40
    errors = sum(sum(one.errors) for one in measured)
    matched = sum(sum(one.matched) for one in measured)
    assert errors / matched < light.qber + 5 * np.sqrt(light.qber / matched)
