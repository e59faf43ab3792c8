"""Conversations with a PM100, as its manual has them; never two queries at once."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, Fault, InstrumentError, NoReply, Refused
from drivers.powermeter import Identity, PowerMeterStatus
from drivers.powermeter.thorlabs_pm100 import ThorlabsPm100
from drivers.transports.scripted import Gone, ScriptedTransport, expect

IDN = (b"*IDN?\n", b"THORLABS,PM100D,P0000001,2.4.0\n")
NO_ERROR = (b"SYST:ERR?\n", b'+0,"No error"\n')
GREETING = ((b"\n", b""), IDN, (b"*CLS\n", b""))


def says(query: str, reply: str) -> tuple[bytes, bytes]:
    return (f"{query}\n".encode(), f"{reply}\n".encode())


def sets(*lines: str) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(step for line in lines for step in ((f"{line}\n".encode(), b""), NO_ERROR))


@pytest.mark.parametrize("vendor", ["THORLABS", "Thorlabs"])
async def test_the_vendor_may_be_written_either_way(autojump_clock, vendor):
    with expect(*GREETING, says("*IDN?", f"{vendor},PM100USB,P0000001,1.4.0")) as wire:
        identity = await ThorlabsPm100(wire).identity()
    assert identity == Identity("PM100USB", "P0000001", "1.4.0")


@pytest.mark.parametrize(
    "reply",
    [
        "HEWLETT-PACKARD,HP8156A,1,1",
        "THORLABS,ITC4001,1,1",
        "Koheron,PM100D,1,1",
        "THORLABS,PM100D",
    ],
)
async def test_another_device_is_named_together_with_the_one_expected(autojump_clock, reply):
    with (
        expect(*GREETING, says("*IDN?", reply)) as wire,
        pytest.raises(BadReply, match=f"expected a Thorlabs PM100, but '{reply}' answers"),
    ):
        await ThorlabsPm100(wire).identity()


async def test_settling_forgets_errors_and_measures_watts(autojump_clock):
    with expect(*GREETING, (b"*CLS\n", b""), *sets("CONF:POW", "SENS:POW:UNIT W")) as wire:
        await ThorlabsPm100(wire).settle()


async def test_a_wavelength_is_set_and_read_back(autojump_clock):
    with expect(
        *GREETING, *sets("SENS:CORR:WAV 1550.120"), says("SENS:CORR:WAV?", "1.5501000E+03")
    ) as wire:
        await ThorlabsPm100(wire).set_wavelength_nm(1550.12)


async def test_a_wavelength_that_the_sensor_is_not_calibrated_at_is_refused(autojump_clock):
    with (
        expect(
            *GREETING,
            (b"SENS:CORR:WAV 400.000\n", b""),
            says("SYST:ERR?", '-222,"Data out of range"'),
            NO_ERROR,
        ) as wire,
        pytest.raises(Refused, match=r"400\.000' refused: -222,.Data out of range"),
    ):
        await ThorlabsPm100(wire).set_wavelength_nm(400)


async def test_a_wavelength_that_was_clipped_in_silence_is_refused(autojump_clock):
    with (
        expect(
            *GREETING, *sets("SENS:CORR:WAV 400.000"), says("SENS:CORR:WAV?", "8.0000000E+02")
        ) as wire,
        pytest.raises(Refused, match=r"400\.000 nm, it took 800\.000 nm"),
    ):
        await ThorlabsPm100(wire).set_wavelength_nm(400)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
async def test_impossible_settings_never_reach_the_meter(value):
    with expect() as wire:
        meter = ThorlabsPm100(wire)
        with pytest.raises(ValueError, match="a wavelength of"):
            await meter.set_wavelength_nm(value)
        with pytest.raises(ValueError, match="a range of"):
            await meter.set_range_w(value)
        with pytest.raises(ValueError, match="a mean of 0 samples"):
            await meter.set_averages(0)


async def test_a_range_is_fixed_before_it_is_set_and_holds_what_was_asked(autojump_clock):
    with expect(
        *GREETING,
        *sets("SENS:POW:RANG:AUTO 0"),
        says("SENS:POW:RANG:AUTO?", "0"),
        *sets("SENS:POW:RANG 1.000000E-04"),
        says("SENS:POW:RANG?", "1.3000000E-04"),
        *sets("SENS:POW:RANG:AUTO 1"),
        says("SENS:POW:RANG:AUTO?", "1"),
    ) as wire:
        meter = ThorlabsPm100(wire)
        await meter.set_range_w(1e-4)
        await meter.set_range_w(None)


async def test_a_range_too_small_for_what_was_asked_is_refused(autojump_clock):
    with (
        expect(
            *GREETING,
            *sets("SENS:POW:RANG:AUTO 0"),
            says("SENS:POW:RANG:AUTO?", "0"),
            *sets("SENS:POW:RANG 1.000000E+01"),
            says("SENS:POW:RANG?", "1.3000000E-01"),
        ) as wire,
        pytest.raises(Refused, match=r"range of 10 W, it took 0\.13 W"),
    ):
        await ThorlabsPm100(wire).set_range_w(10)


async def test_averages_that_it_does_not_take_are_refused(autojump_clock):
    with (
        expect(*GREETING, *sets("SENS:AVER:COUN 100000"), says("SENS:AVER:COUN?", "3000")) as wire,
        pytest.raises(Refused, match="100000 averages, it took 3000"),
    ):
        await ThorlabsPm100(wire).set_averages(100_000)


@pytest.mark.parametrize("reply", ["3.1415900E-09", "-2.0000000E-12", "0.0"])
async def test_power_may_be_negative_in_the_dark(autojump_clock, reply):
    with expect(*GREETING, says("MEAS:POW?", reply)) as wire:
        assert await ThorlabsPm100(wire).power_w() == float(reply)


async def test_a_reading_over_range_is_a_fault_and_not_a_power(autojump_clock):
    with (
        expect(*GREETING, says("MEAS:POW?", "9.9E+37")) as wire,
        pytest.raises(Fault, match="over range"),
    ):
        await ThorlabsPm100(wire).power_w()


async def test_status_has_the_settings_the_sensor_and_the_errors(autojump_clock):
    with expect(
        *GREETING,
        says("SENS:CORR:WAV?", "1550.0"),
        says("SENS:POW:RANG?", "1.3E-3"),
        says("SENS:POW:RANG:AUTO?", "1"),
        says("SENS:AVER:COUN?", "300"),
        says("SYST:SENS:IDN?", '"S154C","16080112","15-Nov-2023",1,18,33'),
        says("SYST:ERR?", '-113,"Undefined header"'),
        NO_ERROR,
    ) as wire:
        status = await ThorlabsPm100(wire).status()
    assert status == PowerMeterStatus(
        wavelength_nm=1550.0,
        range_w=1.3e-3,
        auto_range=True,
        n_averages=300,
        sensor="S154C 16080112",
        errors=('-113,"Undefined header"',),
    )


async def test_zeroing_is_waited_out(autojump_clock):
    state = "SENS:CORR:COLL:ZERO:STAT?"
    with expect(
        *GREETING,
        *sets("SENS:CORR:COLL:ZERO:INIT"),
        says(state, "1"),
        says(state, "1"),
        says(state, "0"),
        NO_ERROR,
    ) as wire:
        await ThorlabsPm100(wire).zero()
        assert trio.current_time() == pytest.approx(0.3 + 0.2)


async def test_zeroing_in_the_light_is_a_fault(autojump_clock):
    with (
        expect(
            *GREETING,
            *sets("SENS:CORR:COLL:ZERO:INIT"),
            says("SENS:CORR:COLL:ZERO:STAT?", "0"),
            says("SYST:ERR?", '-340,"Calibration failed"'),
            NO_ERROR,
        ) as wire,
        pytest.raises(Fault, match="not zeroed: -340"),
    ):
        await ThorlabsPm100(wire).zero()


REPLIES = {
    b"*IDN?\n": IDN[1],
    b"MEAS:POW?\n": b"1.0E-3\n",
    b"SENS:CORR:WAV?\n": b"1.55E+3\n",
}


class Mixing(ScriptedTransport):
    """A meter that takes ``delay_s`` for each reply; two queries at once fail the test."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self.delay_s = delay_s
        self.busy_until_s: float | None = None

    async def send(self, sent: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if b"?" in sent:
            assert self.busy_until_s is None, f"{sent!r} while another query has no reply"
            self.busy_until_s = trio.current_time() + self.delay_s
            self.asked = sent

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        if self.busy_until_s is None:
            await trio.sleep_forever()
        await trio.sleep_until(self.busy_until_s)
        self.busy_until_s = None
        return REPLIES[self.asked]


@pytest.mark.parametrize("cut_s", [0.001, 0.3, 1.9, 2.1])
async def test_a_cancelled_query_is_heard_out_before_the_next_is_sent(autojump_clock, cut_s):
    wire = Mixing(delay_s=0.1)
    meter = ThorlabsPm100(wire)
    await meter.power_w()
    wire.delay_s = 2.0
    with trio.move_on_after(cut_s):
        await meter.power_w()
    wire.delay_s = 0.1
    for _ in range(3):  # a recovery may be cut as well
        with trio.move_on_after(0.05):
            await meter.identity()
    assert await meter._ask_float("SENS:CORR:WAV?") == 1550
    assert await meter.power_w() == 1e-3


async def test_a_query_that_is_never_answered_is_no_reply_and_forgotten(autojump_clock):
    with expect(*GREETING, (b"MEAS:POW?\n", b""), *GREETING, says("MEAS:POW?", "2.0E-3")) as wire:
        meter = ThorlabsPm100(wire)
        with pytest.raises(NoReply, match=r"no reply to 'MEAS:POW\?' within 5 s"):
            await meter.power_w()
        assert await meter.power_w() == 2e-3


async def test_a_reply_that_comes_after_its_time_is_thrown_away(autojump_clock):
    with expect(*GREETING, (b"MEAS:POW?\n", b""), *GREETING, says("MEAS:POW?", "2.0E-3")) as wire:
        meter = ThorlabsPm100(wire)
        with pytest.raises(NoReply):
            await meter.power_w()
        wire.say(b"1.0E-3\n")
        assert await meter.power_w() == 2e-3


async def test_what_an_earlier_owner_left_behind_is_thrown_away(autojump_clock):
    with expect(*GREETING, says("MEAS:POW?", "2.0E-3")) as wire:
        wire.say(b"1.0E-3\n")
        assert await ThorlabsPm100(wire).power_w() == 2e-3


async def test_mixed_replies_are_a_bad_reply_and_the_step_is_found_again(autojump_clock):
    with expect(
        *GREETING,
        (b"MEAS:POW?\n", b"1.0THORLABS,PM100D,E-3\n"),
        *GREETING,
        says("MEAS:POW?", "2.0E-3"),
    ) as wire:
        meter = ThorlabsPm100(wire)
        with pytest.raises(BadReply, match="no number"):
            await meter.power_w()
        assert await meter.power_w() == 2e-3


async def test_half_a_reply_is_no_reply(autojump_clock):
    with expect(*GREETING, (b"MEAS:POW?\n", b"1.0E")) as wire, pytest.raises(NoReply):
        await ThorlabsPm100(wire).power_w()


async def test_pieces_do_not_matter(autojump_clock):
    with expect(*GREETING, (b"MEAS:POW?\n", (b"1", b".0", b"E-3\r", b"\n"))) as wire:
        assert await ThorlabsPm100(wire).power_w() == 1e-3


async def test_a_meter_that_is_gone_says_so_at_once(autojump_clock):
    with expect((b"\n", Gone)) as wire, pytest.raises(NoReply, match="unplugged"):
        await ThorlabsPm100(wire).identity()


async def test_two_tasks_never_have_two_queries_outstanding(autojump_clock):
    meter = ThorlabsPm100(Mixing(delay_s=0.5))
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(meter.power_w)
            nursery.start_soon(meter.identity)


@given(st.binary(max_size=64).filter(lambda data: b"THORLABS" not in data.upper()))
def test_no_bytes_raise_anything_but_an_instrument_error(data):
    """Whatever is answered to each query, the driver ends, and ends in its own words."""

    class Babbler(ScriptedTransport):
        async def send(self, sent: bytes) -> None:
            await trio.lowlevel.checkpoint()
            if b"?" in sent:
                self.say(data)

    async def talk() -> None:
        try:
            await ThorlabsPm100(Babbler()).identity()
        except InstrumentError:
            return
        raise AssertionError(f"{data!r} was taken for a power meter")

    trio.run(talk, clock=trio.testing.MockClock(autojump_threshold=0))
