"""The tap: a block whose mean photon numbers left the proof's box is named, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.catalogue import open_laser, open_power_meter
from qkdd.station.settings import TapSettings
from qkdd.station.tap import TapRecord
from tests.drivers.meet.simulated_lab import DARK_HZ, LINK, simulated_lab

TAP = TapSettings(model="thorlabs-pm100", resource="tcp://x:1", power_w=140e-6, uncertainty=0.005)
MU_UNCERTAINTY = 0.01


def record(*ratios: float) -> TapRecord:
    tap = TapRecord(TAP, MU_UNCERTAINTY)
    tap.begin()
    for ratio in ratios:
        tap.add(ratio * TAP.power_w)
    return tap


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
    tap.add(TAP.power_w)
    assert tap.close_block() is None


def test_a_reading_between_two_blocks_counts_for_both_and_for_no_third() -> None:
    tap = record(1.0, 0.9)
    assert tap.close_block() is not None
    tap.add(TAP.power_w)
    assert tap.close_block() is not None
    tap.add(TAP.power_w)
    assert tap.close_block() is None


def test_a_new_run_does_not_answer_for_the_one_before() -> None:
    tap = record(0.5)
    tap.begin()
    assert tap.last is None
    tap.add(TAP.power_w)
    assert tap.close_block() is None


async def test_the_meter_of_a_laboratory_reads_what_the_laser_gives(tmp_path) -> None:
    meter = '\npower_meter = { model = "thorlabs-pm100", listen = "tcp:127.0.0.1:0" }\n'
    text = "seed = 3\n" + LINK.format(name="a", tagger="tcp:127.0.0.1:0", dark_hz=DARK_HZ) + meter
    with simulated_lab(tmp_path, text) as resources:
        lab = resources["a"]
        async with (
            open_laser("koheron-ctl200", lab["laser"]) as laser,
            open_power_meter("thorlabs-pm100", lab["power_meter"]) as opened,
        ):
            tap = TapRecord(TAP, MU_UNCERTAINTY)
            await opened.set_wavelength_nm(TAP.wavelength_nm)
            await laser.set_current_ma(150.0)  # 14 mW, of which the tap takes 1 %
            await laser.set_output(on=True)
            tap.add(await opened.power_w())
            good = tap.close_block()
            await laser.set_current_ma(140.0)
            tap.add(await opened.power_w())
            assert tap.last == pytest.approx(13 / 14, rel=2e-3)
            await laser.set_output(on=False)
    assert good is None
    assert "mean photon numbers" in str(tap.close_block())
