"""Polarisation controller, detectors and power meter meet their simulations, by other hands."""

import math
import os

import pytest
import trio

from drivers import catalogue, conformance
from drivers.errors import BadReply, NoReply
from tests.drivers.meet.simulated_lab import BOARD_KEY, DARK_HZ, LINK, simulated_lab

TAP_W_PER_MA = 0.1e-3 * 0.01
THRESHOLD_MA = 10.0
WAVELENGTH_NM = 1550.12
BIAS_UA = (17.0, 17.0, 17.0, 17.0)
LATCHING_UA = 30.0

LAB = (
    "seed = 11\n"
    + LINK.format(name="tcp", tagger="tcp:127.0.0.1:0", dark_hz=DARK_HZ)
    + """
power_meter = { model = "thorlabs-pm100", listen = "tcp:127.0.0.1:0" }
polarization = { model = "ozoptics-epc", listen = "pty:epc" }
detector = { model = "sq-websq", listen = "tcp:127.0.0.1:0" }
"""
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with simulated_lab(tmp_path_factory.mktemp("lab"), LAB) as resources:
        yield resources["tcp"]


def open_detector(lab):
    counts_port = lab["counts"].rpartition(":")[2]
    return catalogue.open_detector("sq-websq", f"{lab['detector']}?counts={counts_port}")


async def test_a_polarization_controller_conforms(lab):
    async with catalogue.open_polarization_controller("ozoptics-epc", lab["polarization"]) as epc:
        await conformance.check_polarization_controller(epc)


async def test_detectors_conform_and_count_the_dark(lab):
    async with open_detector(lab) as detector:
        await conformance.check_detector(detector, bias_ua=BIAS_UA)
        await detector.set_enabled(on=True)
        await detector.counts()
        seen = [await detector.counts() for _ in range(10)]
        await detector.set_enabled(on=False)
    expected = DARK_HZ * sum(counts.period_ms for counts in seen) / 1000
    for n_clicks in map(sum, zip(*(counts.counts for counts in seen), strict=True)):
        assert abs(n_clicks - expected) <= 6 * math.sqrt(expected)


async def test_detectors_that_are_only_looked_at_never_get_a_bias(lab):
    async with open_detector(lab) as detector:
        assert await conformance.check_detector(detector, bias_ua=BIAS_UA, enable=False) is None


async def test_a_latched_wire_is_seen_and_cured(lab):
    async with open_detector(lab) as detector:
        await detector.set_period_ms(100)
        await detector.set_bias_ua(BIAS_UA)
        await detector.set_enabled(on=True)
        well = await detector.status()
        await detector.set_bias_ua((LATCHING_UA, *BIAS_UA[1:]))
        await detector.set_bias_ua(BIAS_UA)
        await detector.counts()
        silent = await detector.counts()
        latched = await detector.status()
        await detector.set_enabled(on=False)
        await detector.set_enabled(on=True)
        await detector.counts()
        cured = await detector.counts()
        await detector.set_enabled(on=False)
    assert silent.counts[0] == 0
    assert min(silent.counts[1:]) > 0
    assert latched.bias_voltage[0] > 2 * well.bias_voltage[0]
    assert latched.bias_voltage[1:] == pytest.approx(well.bias_voltage[1:], rel=0.2)
    assert min(cured.counts) > 0


async def test_a_time_tagger_gets_clicks_only_while_the_detectors_are_biased(lab):
    async def n_tags() -> int:
        async with catalogue.open_time_tagger("s15-tdc1", lab["tagger"]) as tagger:
            await tagger.start()
            await trio.sleep(0.3)
            return (await tagger.stop()).times_ps.size

    async with open_detector(lab) as detector:
        await detector.set_bias_ua(BIAS_UA)
        await detector.set_enabled(on=False)
        assert await n_tags() == 0
        await detector.set_enabled(on=True)
        assert await n_tags() > 0
        await detector.set_enabled(on=False)


async def test_a_power_meter_conforms_and_reads_the_laser_once_it_is_zeroed(lab):
    async with (
        catalogue.open_power_meter("thorlabs-pm100", lab["power_meter"]) as meter,
        catalogue.open_laser("koheron-ctl200", lab["laser"]) as laser,
        catalogue.open_encoder("qmse-1", lab["encoder"], BOARD_KEY, os.urandom) as encoder,
    ):
        await laser.set_output(on=False)
        await encoder.configure(conformance.SMALL_PLAN)
        await conformance.check_power_meter(meter, wavelength_nm=WAVELENGTH_NM)
        await meter.zero()
        dark_w = await meter.power_w()
        await laser.set_current_ma(20.0)
        await laser.set_output(on=True)
        await encoder.show(0)
        await meter.power_w()  # the mean of samples that are of before and after
        lit_w = await meter.power_w()
        await laser.set_output(on=False)
    expected_w = (20.0 - THRESHOLD_MA) * TAP_W_PER_MA
    assert abs(dark_w) < 1e-3 * expected_w
    assert lit_w == pytest.approx(expected_w, rel=0.02)


async def test_two_tasks_share_a_meter_that_mixes_two_queries(lab):
    async with catalogue.open_power_meter("thorlabs-pm100", lab["power_meter"]) as meter:
        identity = await meter.identity()

        async def ask() -> None:
            for _ in range(5):
                assert await meter.identity() == identity
                await meter.power_w()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)


async def test_a_meter_cut_again_and_again_gives_the_right_replies(lab):
    async with catalogue.open_power_meter("thorlabs-pm100", lab["power_meter"]) as meter:
        identity = await meter.identity()
        for cut_s in (0.0001, 0.0005, 0.001, 0.002, 0.004):
            with trio.move_on_after(cut_s):
                await meter.power_w()
            assert await meter.identity() == identity


async def test_other_instruments_are_named_with_the_one_expected(lab):
    with pytest.raises(BadReply, match=r"expected a Thorlabs PM100, but '.*8156A.*' answers"):
        async with catalogue.open_power_meter("thorlabs-pm100", lab["attenuator"]):
            pass
    with pytest.raises(BadReply, match=r"expected an EPC, but .* answers"):
        async with catalogue.open_polarization_controller("ozoptics-epc", lab["laser"]):
            pass


async def test_the_lab_dying_is_no_reply_from_each(tmp_path):
    with simulated_lab(tmp_path, LAB) as resources:
        lab = resources["tcp"]
        opened = [
            catalogue.open_polarization_controller("ozoptics-epc", lab["polarization"]),
            open_detector(lab),
        ]
        epc, detector = [await one.__aenter__() for one in opened]
    with trio.fail_after(5):
        for ask in (epc.status, detector.status, detector.counts):
            with pytest.raises(NoReply):
                await ask()
    for one in reversed(opened):
        await one.__aexit__(None, None, None)
