"""The simulated 8156A against its guide, and SCPI against IEEE 488.2."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.agilent_8156a import HP8156A
from drivers.sim.scpi import spellings


def say(instrument: HP8156A, message: str) -> str:
    return instrument.receive(message.encode() + b"\n").decode()


def settled() -> HP8156A:
    instrument = HP8156A()
    instrument.advance(1.0)
    return instrument


def test_after_power_on_the_shutter_is_closed_though_the_attenuation_reads_low():
    instrument = settled()
    assert not instrument.shutter_open
    assert say(instrument, "*ESR?;:OUTP?;:INP:ATT?") == "128;0;0.000\n"


def test_it_says_what_it_is():
    assert say(settled(), "*IDN?").startswith("HEWLETT-PACKARD,HP8156A,")


def test_the_motor_takes_its_time_and_says_so():
    instrument = settled()
    assert say(instrument, ":INP:ATT 40;ATT?;:STAT:OPER:COND?") == "40.000;+2\n"
    assert instrument.attenuation_db == 0.0
    instrument.advance(0.1)
    assert instrument.attenuation_db == pytest.approx(20.0)
    assert say(instrument, "STAT:OPER:COND?") == "+2\n"
    instrument.advance(0.2)
    assert instrument.attenuation_db == 40.0
    assert say(instrument, "STAT:OPER:COND?;EVEN?") == "+0;+2\n"


def test_opc_query_waits_for_the_motor_and_what_follows_waits_too():
    instrument = settled()
    assert say(instrument, "INP:ATT 30;*OPC?;:OUTP?") == ""
    assert say(instrument, "INP:ATT?") == ""
    assert instrument.advance(0.1) == b""
    assert instrument.advance(0.1) == b"1;0\n30.000\n"


def test_opc_sets_its_event_when_the_motor_stands():
    instrument = settled()
    say(instrument, "*CLS;INP:ATT 30;*OPC")
    assert say(instrument, "*ESR?") == "0\n"
    instrument.advance(1.0)
    assert say(instrument, "*ESR?") == "1\n"


@pytest.mark.parametrize("text", ["1550nm", "1.55um", "1.55e-6m", "1.55E-6", "1550 NM"])
def test_a_wavelength_may_come_in_any_unit(text):
    instrument = settled()
    say(instrument, f"INP:WAV {text}")
    assert float(say(instrument, "INP:WAV?")) == pytest.approx(1550e-9)


def test_the_offset_moves_the_reading_and_not_the_filter():
    instrument = settled()
    say(instrument, "INP:ATT 10;OFFS 2.5")
    instrument.advance(1.0)
    assert instrument.attenuation_db == 10.0
    assert say(instrument, "INP:ATT?;ATT? MIN;ATT? MAX") == "12.500;2.500;62.500\n"
    say(instrument, "INP:ATT 13DB")
    instrument.advance(1.0)
    assert instrument.attenuation_db == pytest.approx(10.5)
    assert say(instrument, "INP:OFFS:DISP;:INP:ATT?") == "0.000\n"


@pytest.mark.parametrize(
    ("message", "event", "code"),
    [
        ("INP:ATT 60.1", 16, -222),
        ("INP:ATT 1e999", 16, -222),
        ("INP:WAV 1700NM", 16, -222),
        ("INP:ATT", 32, -109),
        ("INP:ATT ten", 32, -104),
        ("INP:ATT 3 M", 32, -131),
        ("OUTP MAYBE", 32, -141),
        ("OUTP:SWEEP 1", 32, -113),
        ("\xff\x00", 32, -113),
        ("x" * 5000, 16, -223),
    ],
)
def test_a_wrong_message_is_an_event_and_an_entry_and_changes_nothing(message, event, code):
    instrument = settled()
    say(instrument, "*CLS")
    instrument.receive(message.encode("latin-1") + b"\n")
    assert say(instrument, "*ESR?") == f"{event}\n"
    assert say(instrument, "SYST:ERR?").startswith(f"{code},")
    assert say(instrument, "SYST:ERR?") == '0,"No error"\n'
    assert say(instrument, "INP:ATT?;:OUTP?") == "0.000;0\n"


def test_the_thirty_first_error_is_an_overflow():
    instrument = settled()
    for _ in range(40):
        say(instrument, "NONSENSE")
    codes = [say(instrument, "SYST:ERR?").split(",")[0] for _ in range(31)]
    assert codes == ["-113"] * 29 + ["-350", "0"]


def test_the_shutter_comes_back_open_only_if_asked():
    instrument = settled()
    say(instrument, "OUTP:STAT ON")
    instrument.power_cycle()
    assert not instrument.shutter_open
    say(instrument, "OUTP:STAT:APOW LAST;:OUTP 1")
    instrument.power_cycle()
    assert instrument.shutter_open


def test_a_header_goes_on_from_the_path_before_it():
    instrument = settled()
    assert say(instrument, "INPUT:WAV?;ATT?;*ESE?;OFFS?") == "1.310000E-06;0.000;0;0.000\n"
    assert say(instrument, "INP:ATT?;:ATT?") == "0.000\n"


def test_the_status_byte_sums_up():
    instrument = settled()
    say(instrument, "*CLS;*ESE 32;*SRE 32")
    say(instrument, "NONSENSE")
    assert int(say(instrument, "*STB?")) & 0b1100000 == 0b1100000
    say(instrument, "STAT:OPER:ENAB 2;:INP:ATT 5")
    assert int(say(instrument, "*STB?")) & 128


def test_a_header_has_its_long_and_short_spellings_only():
    assert set(spellings("OUTPut[:STATe]:APM")) == {
        f"{out}{state}:APM" for out in ("OUTP", "OUTPUT") for state in ("", ":STAT", ":STATE")
    }


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_chunks_do_not_matter(data: bytes, cuts: list[int]):
    data += b"\n*IDN?\n"
    whole, cut = settled(), settled()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    said = b"".join(cut.receive(data[a:b]) for a, b in pairwise(edges))
    assert said + cut.advance(1.0) == whole.receive(data) + whole.advance(1.0)


COMMANDS = st.sampled_from(
    [b"INP:ATT", b"INP:WAV?", b"OUTP", b"*OPC?", b"*RST", b":STAT:OPER:ENAB", b"INP:OFFS", b"*SRE"]
)


@given(st.lists(st.tuples(COMMANDS, st.binary(max_size=12), st.sampled_from([b";", b"\n"]))))
def test_no_bytes_break_it(parts: list[tuple[bytes, bytes, bytes]]):
    instrument = settled()
    for command, argument, end in parts:
        instrument.receive(command + b" " + argument + end)
        instrument.advance(1.0)
    assert 0.0 <= instrument.attenuation_db <= 60.0
    assert (instrument.receive(b"\n*IDN?\n") + instrument.advance(1.0)).endswith(b"1.03\n")
