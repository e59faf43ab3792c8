"""The simulated PM100D against the commands of its public clients."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.thorlabs_pm100 import (
    BUSY_S,
    DARK_A,
    MAX_WAITING_MESSAGES,
    PM100,
    SAMPLE_S,
    ZERO_S,
)

WAVELENGTH_NM = 1550.12
DARK_W = DARK_A / (0.95 * WAVELENGTH_NM / 1550.0)


def ask(meter: PM100, message: str) -> str:
    meter.receive(message.encode() + b"\n")
    return meter.advance(10.0).decode()


def a_meter(power_w: float = 0.0, *, told: bool = True) -> PM100:
    meter = PM100(wavelength_nm=WAVELENGTH_NM)
    meter.power_w = power_w
    if told:
        assert ask(meter, f"SENS:CORR:WAV {WAVELENGTH_NM}") == ""
    return meter


def zeroed(power_w: float = 0.0) -> PM100:
    """A meter that was zeroed in the dark before ``power_w`` came."""
    meter = a_meter()
    ask(meter, "SENS:CORR:COLL:ZERO:INIT")
    meter.advance(ZERO_S)
    meter.power_w = power_w
    return meter


def test_it_says_what_it_and_its_sensor_are_and_that_nothing_is_wrong():
    meter = a_meter()
    vendor, model, *_ = ask(meter, "*IDN?").split(",")
    assert (vendor, model) == ("THORLABS", "PM100D")
    words = ask(meter, "SYST:SENS:IDN?").strip().split(",")
    assert len(words) == 6
    assert int(words[5]) & 33 == 33  # power, wavelength settable
    assert ask(meter, "SYST:ERR?") == '+0,"No error"\n'
    assert ask(meter, "*TST?") == "0\n"
    assert ask(meter, "*OPC?") == "1\n"


@pytest.mark.parametrize("query", ["MEAS:POW?", "MEAS?", "READ?", "meas:scal:pow?", "INIT;FETC?"])
def test_every_way_to_measure_gives_the_power(query):
    assert ask(zeroed(1.4e-4), query) == "1.4000000E-04\n"


def test_the_dark_reads_as_light_until_it_is_zeroed():
    meter = a_meter()
    assert float(ask(meter, "READ?")) == pytest.approx(DARK_W, rel=1e-6)
    assert ask(meter, "SENS:CORR:COLL:ZERO:STAT?") == "0\n"
    ask(meter, "SENS:CORR:COLL:ZERO:MAGN?")
    meter.receive(b"SENS:CORR:COLL:ZERO;ZERO:STAT?\n")
    assert meter.advance(BUSY_S) == b"1\n"
    assert ask(meter, "SENS:CORR:COLL:ZERO:STAT?") == "0\n"
    assert float(ask(meter, "READ?")) == 0.0
    assert float(ask(meter, "SENS:CORR:COLL:ZERO:MAGN?")) == DARK_A


def test_light_that_is_on_while_it_is_zeroed_is_missing_later():
    meter = a_meter(1e-6)
    ask(meter, "SENS:CORR:COLL:ZERO")
    meter.advance(ZERO_S)
    meter.power_w = 1.5e-6
    assert float(ask(meter, "READ?")) == pytest.approx(5e-7)


def test_an_aborted_zero_leaves_the_old_one():
    meter = a_meter()
    assert ask(meter, "SENS:CORR:COLL:ZERO;ZERO:ABOR;STAT?") == "0\n"
    meter.advance(ZERO_S)
    assert float(ask(meter, "SENS:CORR:COLL:ZERO:MAGN?")) == 0.0


def test_a_meter_that_was_told_another_wavelength_reads_another_power():
    """A diode of constant quantum efficiency gives less current per watt at shorter waves."""
    meter = a_meter(1e-3, told=False)
    assert ask(meter, "SENS:CORR:WAV?") == "1.3100000E+03\n"
    assert float(ask(meter, "READ?")) == pytest.approx(1e-3 * 1550.12 / 1310.0, rel=1e-5)
    assert ask(meter, "SENS:CORR:WAV 1550.12NM;WAV?") == "1.5501200E+03\n"
    assert ask(meter, "SENS:CORR:WAV? MIN;WAV? MAX") == "8.0000000E+02;1.7000000E+03\n"
    assert float(ask(meter, "READ?")) == pytest.approx(1e-3, rel=1e-5)


def test_averages_take_their_time():
    meter = zeroed(1e-3)
    assert ask(meter, "SENS:AVER:COUN 100;COUN?") == "100\n"
    meter.receive(b"READ?\n")
    assert meter.advance(100 * SAMPLE_S) == b""
    meter.power_w = 2e-3
    assert meter.advance(2 * BUSY_S) == b"2.0000000E-03\n"
    meter.receive(b"INIT\nFETC?\n")
    assert meter.advance(100 * SAMPLE_S) == b""
    assert meter.advance(10 * BUSY_S) == b"2.0000000E-03\n"


def test_the_current_of_the_diode_is_a_function_too():
    meter = zeroed(1e-3)
    assert float(ask(meter, "MEAS:CURR?")) == pytest.approx(0.95e-3 * WAVELENGTH_NM / 1550.0)
    assert ask(meter, "CONF?") == "CURR\n"
    assert ask(meter, "CONF:POW;:CONF?") == "POW\n"
    assert ask(meter, "FETC?") == ""
    assert ask(meter, "SYST:ERR?").startswith("-230,")


def test_dbm_is_a_unit_and_nothing_has_no_logarithm():
    meter = zeroed(1e-4)
    assert ask(meter, "SENS:POW:UNIT DBM;UNIT?;:READ?") == "DBM;-1.0000000E+01\n"
    meter.power_w = 0.0
    assert ask(meter, "READ?") == "9.9100000E+37\n"
    assert ask(meter, "SENS:POW:UNIT W;:READ?") == "0.0000000E+00\n"


def test_a_range_is_kept_and_what_exceeds_it_is_not_read():
    meter = zeroed(1e-4)
    assert ask(meter, "SENS:POW:RANG:AUTO?;:SENS:POW:RANG?") == "1;3.0000000E-04\n"
    assert ask(meter, "SENS:POW:RANG 1E-5;RANG?;RANG:AUTO?") == "3.0000000E-05;0\n"
    assert ask(meter, "READ?") == "9.9000000E+37\n"
    assert ask(meter, "SENS:POW:RANG:AUTO 1;:READ?") == "1.0000000E-04\n"
    meter.power_w = 4e-3
    assert ask(meter, "READ?") == "9.9000000E+37\n"


def test_two_queries_at_once_come_back_as_one_line_of_both():
    meter = zeroed(1e-4)
    meter.receive(b"READ?\nSENS:AVER:COUN?\n")
    assert meter.advance(1.0) == b"1.0000000E-04\n"  # "1" over "1": nothing to be seen
    ask(meter, "SENS:AVER:COUN 20")
    meter.receive(b"READ?\n")
    assert meter.advance(BUSY_S) == b""
    meter.receive(b"SENS:AVER:COUN?\n")
    assert meter.advance(1.0) == b"200000000E-04\n"  # twenty over 1.0: a wrong power
    meter.receive(b"CONF?\n*IDN?\n")
    assert meter.advance(1.0).startswith(b"THORLABS,")
    assert ask(meter, "CONF?") == "POW\n"


def test_a_command_and_a_query_do_not_mix():
    meter = zeroed(1e-4)
    meter.receive(b"SENS:AVER:COUN 2\nSENS:POW:UNIT W\nREAD?\n")
    assert meter.advance(1.0) == b"1.0000000E-04\n"


def test_messages_that_find_no_room_are_lost():
    meter = a_meter()
    meter.receive(b"SENS:AVER:COUN 2\n" * MAX_WAITING_MESSAGES + b"SENS:AVER:COUN 3\n")
    meter.advance(1.0)
    assert ask(meter, "SENS:AVER:COUN?") == "2\n"


def test_a_new_session_finds_nothing_of_the_old_one():
    meter = zeroed(1e-4)
    ask(meter, "SENS:AVER:COUN 3000")
    meter.receive(b"READ?\nREAD")
    meter.advance(1.0)
    meter.connected()
    meter.receive(b"CONF?\n")
    assert meter.advance(1.0) == b"POW\n"
    assert meter.advance(20.0) == b""


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("SENS:AVER:1000", -113),
        ("SENS:AVER:COUN 0", -222),
        ("SENS:AVER:COUN 3001", -222),
        ("SENS:AVER:COUN many", -104),
        ("SENS:CORR:WAV 1701", -222),
        ("SENS:CORR:WAV", -109),
        ("SENS:POW:RANG 1", -222),
        ("SENS:POW:RANG -1", -222),
        ("SENS:POW:RANG:AUTO MAYBE", -141),
        ("SENS:POW:UNIT MW", -141),
        ("FETC?", -230),
        ("x" * 5000, -223),
    ],
)
def test_a_wrong_message_is_noticed_in_the_error_queue_only(message, code):
    meter = a_meter()
    asked = "SENS:AVER:COUN?;:SENS:CORR:WAV?;:SENS:POW:RANG?;RANG:AUTO?;:SENS:POW:UNIT?;:CONF?"
    before = ask(meter, asked)
    assert ask(meter, message) == ""
    assert ask(meter, asked) == before
    assert ask(meter, "SYST:ERR?").startswith(f"{code},")
    assert ask(meter, "SYST:ERR?") == '+0,"No error"\n'


def test_reset_and_power_cycle_return_the_factorys_settings():
    meter = a_meter()
    ask(meter, "SENS:AVER:COUN 7;:SENS:POW:UNIT DBM;RANG 1E-6")
    assert ask(meter, "*RST;:SENS:AVER:COUN?;:SENS:POW:UNIT?;RANG:AUTO?") == "1;W;1\n"
    ask(meter, "SENS:AVER:COUN 7")
    meter.power_cycle()
    assert ask(meter, "SENS:AVER:COUN?") == "1\n"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_chunks_of_one_moment_do_not_matter(data: bytes, cuts: list[int]):
    data += b"\n*IDN?\n"
    whole, cut = a_meter(), a_meter()
    whole.receive(data)
    for a, b in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        cut.receive(data[a:b])
    assert whole.advance(5.0) == cut.advance(5.0)


COMMANDS = st.sampled_from(
    [b"SENS:AVER:COUN", b"SENS:CORR:WAV?", b"READ?", b"*OPC?", b"*RST", b"INIT", b"SENS:POW:RANG"]
)


@given(st.lists(st.tuples(COMMANDS, st.binary(max_size=12), st.sampled_from([b";", b"\n"]))))
def test_no_bytes_break_it(parts: list[tuple[bytes, bytes, bytes]]):
    meter = a_meter(1e-3)
    for command, argument, end in parts:
        meter.receive(command + b" " + argument + end)
        meter.advance(1.0)
    meter.receive(b"\n")
    meter.advance(10.0 * MAX_WAITING_MESSAGES)
    assert ask(meter, "*IDN?").startswith("THORLABS")
