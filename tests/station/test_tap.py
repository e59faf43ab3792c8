"""The tap: a run or block whose mean photon numbers left the proof's box is named, and no other."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from drivers.encoder import EncoderState
from drivers.sim.config import Attack
from drivers.sim.control import AttackOrder, ask
from qkdd.base.light import Intensities, LightPlan
from qkdd.base.secret import Secret
from qkdd.station.settings import (
    AttenuatorSettings,
    EncoderSettings,
    LaserSettings,
    TapSettings,
    TransmitterSettings,
)
from qkdd.station.tap import VACUUM_LIMIT, TapRecord, mean_level
from qkdd.station.transmitter import Transmitter, open_transmitter
from tests.drivers.meet.simulated_lab import BOARD_KEY, DARK_HZ, LINK, simulated_lab

TAP = TapSettings(model="thorlabs-pm100", resource="tcp://x:1", power_w=140e-6, uncertainty=0.005)
MU_UNCERTAINTY = 0.01
PLAN, INTENSITIES = LightPlan(), Intensities()
WEAK, VACUUM = 0.38, 0.002
MEAN = 0.005 + 0.995 * (42_598 + 19_005 * WEAK + 3_933 * VACUUM) / 65_536
"""Of a frame: 50,000 of its 10,000,000 pulses are calibration."""


def levels_w(weak: float = WEAK, vacuum: float = VACUUM, signal: float = 1.0) -> list[float]:
    return [signal * TAP.power_w * ratio for ratio in (1.0, weak, vacuum)]


def empty() -> TapRecord:
    return TapRecord(TAP, MU_UNCERTAINTY, PLAN, INTENSITIES)


def record(*ratios: float) -> TapRecord:
    tap = empty()
    assert tap.begin(levels_w()) is None
    for ratio in ratios:
        tap.add(ratio * MEAN * TAP.power_w)
    return tap


def test_a_frame_has_the_mean_light_of_its_payload_and_its_calibration() -> None:
    assert mean_level(PLAN, INTENSITIES, (1.0, WEAK, VACUUM)) == pytest.approx(MEAN, rel=1e-12)
    assert mean_level(PLAN, INTENSITIES, (1.0, 1.0, 1.0)) == pytest.approx(1.0, rel=1e-12)


@given(st.floats(0.9, 1.1), st.floats(-3e-4, 3e-4), st.floats(0.5, 2.0))
def test_a_run_may_begin_as_long_as_both_ratios_are_within_their_bounds(
    weak: float, vacuum: float, signal: float
) -> None:
    wrong = empty().begin(levels_w(weak * WEAK, VACUUM + vacuum, signal))
    off = max(abs(weak - 1.0) / 0.005, abs(vacuum) / VACUUM_LIMIT)
    assert abs(off - 1.0) < 1e-9 or (wrong is None) == (off < 1.0)


def test_the_reason_names_level_value_limit_and_cure() -> None:
    assert empty().begin(levels_w(weak=0.39)) == (
        "the intensities at the tap: weak is 0.39000 of the signal, limit 0.37810 to 0.38190: "
        "set the modulator anew (bias, drive levels)"
    )
    both = str(empty().begin(levels_w(weak=0.37, vacuum=0.01)))
    assert "weak is 0.37000" in both
    assert "vacuum is 0.01000 of the signal, limit 0.00180 to 0.00220" in both


@pytest.mark.parametrize("signal_w", [0.0, -1e-9])
def test_no_light_is_no_ratio(signal_w: float) -> None:
    tap = empty()
    assert "saw no light" in str(tap.begin([signal_w, 0.0, 0.0]))
    assert tap.levels is None


def test_levels_are_told_over_the_calibration_and_over_the_signal() -> None:
    tap = empty()
    assert tap.begin(levels_w(weak=0.381, vacuum=0.0021, signal=1.1)) is None
    assert tap.levels == pytest.approx({"signal": 1.1, "weak": 0.381, "vacuum": 0.0021})


@given(st.floats(0.9951, 1.0049), st.floats(0.99, 1.01))
def test_a_block_is_good_only_if_signal_and_weak_are_both_in_the_box(
    weak_error: float, signal: float
) -> None:
    """The meter sees their mean; what the weak ones add to it is known from their ratio."""
    tap = empty()
    assert tap.begin(levels_w(weak_error * WEAK)) is None
    shares = (42_598, 19_005 * WEAK * weak_error, 3_933 * VACUUM)
    tap.add(signal * TAP.power_w * (0.005 + 0.995 * sum(shares) / 65_536))
    assert tap.last == pytest.approx(signal)
    off = max(abs(signal - 1.0), abs(signal * weak_error - 1.0))
    assert abs(off - 0.005) < 1e-9 or (tap.close_block() is None) == (off < 0.005)


@given(st.lists(st.floats(0.9, 1.1), min_size=1))
def test_a_block_is_good_as_long_as_every_reading_is_within_the_box(ratios: list[float]) -> None:
    doubt = record(*ratios).close_block()
    inside = all(0.995 <= ratio <= 1.005 for ratio in ratios)
    edge = any(min(abs(ratio - 0.995), abs(ratio - 1.005)) < 1e-9 for ratio in ratios)
    assert edge or (doubt is None) == inside


def test_the_reason_has_the_readings_and_the_limit() -> None:
    doubt = record(1.0, 0.93, 1.002).close_block()
    assert doubt is not None
    assert "read 0.9300 to 1.0020 of its calibration, limit 0.9950 to 1.0050" in doubt


def test_a_block_without_a_reading_makes_no_key() -> None:
    assert "no reading" in str(record().close_block())


def test_a_block_during_which_the_meter_is_silent_does_not_live_on_the_reading_before() -> None:
    tap = record(1.0)
    assert tap.close_block() is None
    assert "no reading" in str(tap.close_block())
    tap.add(MEAN * TAP.power_w)
    assert tap.close_block() is None


def test_a_reading_between_two_blocks_counts_for_both_and_for_no_third() -> None:
    tap = record(1.0, 0.9)
    assert tap.close_block() is not None
    tap.add(MEAN * TAP.power_w)
    assert tap.close_block() is not None
    tap.add(MEAN * TAP.power_w)
    assert tap.close_block() is None


def test_a_new_run_does_not_answer_for_the_one_before() -> None:
    tap = record(0.5)
    assert tap.begin(levels_w()) is None
    assert tap.last is None
    tap.add(MEAN * TAP.power_w)
    assert tap.close_block() is None


METER = """
power_meter = { model = "thorlabs-pm100", listen = "tcp:127.0.0.1:0" }
"""
LAB = "seed = 3\n" + LINK.format(name="a", tagger="tcp:127.0.0.1:0", dark_hz=DARK_HZ) + METER


@asynccontextmanager
async def a_transmitter(lab: dict[str, str]) -> AsyncIterator[Transmitter]:
    """14 mW of light, of which the tap takes 1 %: TAP.power_w."""
    settings = TransmitterSettings(
        laser=LaserSettings(model="koheron-ctl200", resource=lab["laser"], current_ma=150.0),
        attenuator=AttenuatorSettings(
            model="agilent-8156a", resource=lab["attenuator"], loss_db=50.0
        ),
        encoder=EncoderSettings(model="qmse-1", resource=lab["encoder"], key_file=Path("unused")),
        tap=TapSettings(model="thorlabs-pm100", resource=lab["power_meter"], power_w=TAP.power_w),
    )
    async with open_transmitter(settings, board_key=BOARD_KEY, entropy=os.urandom) as opened:
        yield opened


async def test_a_transmitter_sees_a_modulator_that_drifts_before_the_run_and_a_laser_in_it(
    tmp_path: Path,
) -> None:
    with simulated_lab(tmp_path, LAB) as resources:
        async with a_transmitter(resources["a"]) as transmitter:
            await transmitter.prepare(PLAN, INTENSITIES)
            begun_s = trio.current_time()
            tap = empty()
            good = tap.begin(await transmitter.read_levels())
            took_s = trio.current_time() - begun_s
            levels = tap.levels
            status = await transmitter.encoder.status()
            is_shut = not await transmitter.attenuator.shutter_open()
            drift = Attack(kind="intensity-drift", fraction=0.02)
            ask(tmp_path / "lab.toml", AttackOrder(drift))
            wrong = empty().begin(await transmitter.read_levels())
            ask(tmp_path / "lab.toml", AttackOrder(None))
            await transmitter.load_calibration_seed(bytes(32))
            for block in (0, 1):
                await transmitter.load_block_seed(block, Secret.absorb(os.urandom(32)))
            await transmitter.begin(1)
            await trio.sleep(PLAN.preamble_pulses / PLAN.pulse_rate_hz)
            tap.add(await transmitter.tap_power_w())
            await transmitter.check()
            well = (tap.last, tap.close_block())
            await transmitter.laser.set_current_ma(140.0)
            tap.add(await transmitter.tap_power_w())
    assert good is None
    assert levels == pytest.approx({"signal": 1.0, "weak": WEAK, "vacuum": VACUUM}, rel=4e-3)
    assert (status.state, status.n_seeds) == (EncoderState.IDLE, 0)
    assert is_shut
    assert took_s < 1.5
    assert "weak is 0.387" in str(wrong)
    assert "vacuum" not in str(wrong)
    assert well == (pytest.approx(1.0, rel=1e-3), None)
    assert tap.last == pytest.approx(13 / 14, rel=2e-3)
    assert "mean photon numbers" in str(tap.close_block())
