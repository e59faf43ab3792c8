"""The simulated EPC-400 against the conversations of its public clients."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.ozoptics_epc import BUSY_S, BYTES_PER_S, EPC400, MAX_WAITING_LINES

LONG_S = 1.0  # for any answer


def say(epc: EPC400, line: str) -> bytes:
    """The whole answer, in small steps of time."""
    epc.receive(line.encode() + b"\r\n")
    return b"".join(epc.advance(0.01) for _ in range(100))


def an_epc() -> EPC400:
    return EPC400(echo=False)


@pytest.mark.parametrize(
    ("line", "content"),
    [
        ("V?", b"Voltage(mV): CH1 +0000 CH2 +0000 CH3 +0000 CH4 +0000"),
        ("V3,2500", b"Set CH3 DC Voltage at: 2500mV"),
        ("V1,-0500", b"Set CH1 DC Voltage at: -500mV"),
        ("VH4", b"Set CH4 DC Voltage at: 5000mV"),
        ("VL4", b"Set CH4 DC Voltage at: -5000mV"),
        ("VZ4", b"Set CH4 DC Voltage at: 0mV"),
        ("M?", b"Work Mode: DC"),
        ("MAC", b"Set To AC Mode"),
        ("MDC", b"Set To DC Mode"),
        ("F?", b"Frequency(Hz): CH1 007  CH2 017  CH3 037  CH4 071"),
        ("F2,47", b"Set CH2 AC Frequency at: 47Hz"),
        ("F2,0047", b"Set CH2 AC Frequency at: 47Hz"),
        ("WF?", b"AC Waveform: Sine"),
        ("WF2", b"Set AC Waveform at: Triangle"),
        ("ENVF1", b"Enable DC Voltage Output at AC Mode"),
        ("ENVF0", b"Disable DC Voltage Output at AC Mode"),
        ("VF2", b"Set CH2 output to: Volt (if possible)"),
        ("VF?", b"Hz<->Volt at AC Mode is disabled: CH1-F,CH2-F,CH3-F,CH4-F"),
        ("SAVE", b"Write Setting to Flash memory"),
    ],
)
def test_an_answer_is_content_and_done(line, content):
    assert say(an_epc(), line) == content + b"\r\nDone\r\n"


def test_an_echo_may_come_before_the_answer():
    assert say(EPC400(echo=True), "M?") == b"M?\r\nWork Mode: DC\r\nDone\r\n"
    assert say(EPC400(echo=True), "M!") == b"M!\r\nError!\r\n"


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "v?",
        "V5,0",
        "V0,0",
        "V1,5001",
        "V1,-5001",
        "V1",
        "V1,",
        "V1,1.5",
        "V1,99999999999",
        "F1,101",
        "F1,-1",
        "VH5",
        "VF5",
        "WF3",
        "ENVF2",
        "*IDN?",
        "M? ",
        "²³",
    ],
)
def test_a_wrong_line_is_an_error_and_changes_nothing(line):
    epc = an_epc()
    before = [say(epc, ask) for ask in ("V?", "F?", "M?", "WF?", "VF?")]
    assert say(epc, line) == b"Error!\r\n"
    assert [say(epc, ask) for ask in ("V?", "F?", "M?", "WF?", "VF?")] == before


def test_settings_read_back_as_they_were_set():
    epc = an_epc()
    for line in ("V1,2200", "VH2", "V3,-1000", "V4,-4000", "F1,0", "MAC", "WF2", "ENVF1", "VF3"):
        assert say(epc, line).endswith(b"\r\nDone\r\n")
    assert epc.voltages_mv == (2200, 5000, -1000, -4000)
    assert epc.is_scrambling
    assert say(epc, "V?").startswith(b"Voltage(mV): CH1 +2200 CH2 +5000 CH3 -1000 CH4 -4000\r\n")
    assert say(epc, "F?").startswith(b"Frequency(Hz): CH1 000  CH2 017  CH3 037  CH4 071\r\n")
    assert say(epc, "M?").startswith(b"Work Mode: AC(Triangle)\r\n")
    assert say(epc, "VF?").startswith(
        b"Hz<->Volt at AC Mode is enabled: CH1-F,CH2-F,CH3-V,CH4-F\r\n"
    )
    assert say(epc, "VF3").startswith(b"Set CH3 output to: Hz (if possible)\r\n")


def test_empty_and_endless_lines_are_errors_too():
    assert say(an_epc(), "") == say(an_epc(), "V?" + " " * 200) == b"Error!\r\n"


def test_done_comes_later_than_the_content_at_the_pace_of_the_line():
    epc = an_epc()
    epc.receive(b"M?\r\n")
    assert epc.advance(BUSY_S / 2) == b""  # the line was seen
    assert epc.advance(BUSY_S) == b""
    content, done = b"Work Mode: DC\r\n", b"Done\r\n"
    assert epc.advance((len(content) + 2.5) / BYTES_PER_S) == content + done[:2]
    assert epc.advance(1.0) == done[2:]
    assert epc.advance(1.0) == b""


def test_a_line_sent_before_done_waits_for_its_turn():
    epc = an_epc()
    epc.receive(b"V1,100\r\nV1,?\r\nV?\r\n")
    said = b"".join(epc.advance(0.01) for _ in range(100))
    assert said.split(b"\r\n")[:4] == [
        b"Set CH1 DC Voltage at: 100mV",
        b"Done",
        b"Error!",
        b"Voltage(mV): CH1 +0100 CH2 +0000 CH3 +0000 CH4 +0000",
    ]


def test_lines_that_find_no_room_are_lost():
    epc = an_epc()
    epc.receive(b"VZ1\r\n" * MAX_WAITING_LINES + b"VH1\r\n")
    said = b"".join(epc.advance(0.01) for _ in range(100))
    assert said.count(b"Done") == MAX_WAITING_LINES
    assert epc.voltages_mv[0] == 0


def test_only_saved_settings_survive_a_power_cycle():
    epc = an_epc()
    say(epc, "V1,1000")
    say(epc, "SAVE")
    say(epc, "V1,2000")
    epc.receive(b"V2,1")
    epc.power_cycle()
    assert epc.voltages_mv == (1000, 0, 0, 0)
    assert say(epc, "M?") == b"Work Mode: DC\r\nDone\r\n"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_chunks_of_one_moment_do_not_matter(data: bytes, cuts: list[int]):
    whole, cut = EPC400(echo=True), EPC400(echo=True)
    whole.receive(data)
    for a, b in pairwise([0, *sorted(cuts), len(data)]):
        cut.receive(data[a:b])
    assert [whole.advance(0.1) for _ in range(20)] == [cut.advance(0.1) for _ in range(20)]


@given(st.lists(st.binary(max_size=80).map(lambda line: line + b"\n"), max_size=8))
def test_no_bytes_silence_it(lines: list[bytes]):
    epc = an_epc()
    for line in lines:
        epc.receive(line)
        for _ in range(10):
            epc.advance(LONG_S)
    assert all(-5000 <= mv <= 5000 for mv in epc.voltages_mv)
    assert say(epc, "MDC") == b"Set To DC Mode\r\nDone\r\n"


@pytest.mark.parametrize(("waveform", "at_a_twelfth"), [("WF1", 0.5), ("WF2", 1 / 3)])
def test_in_ac_mode_the_squeezers_swing_but_for_those_that_hold(waveform, at_a_twelfth):
    epc = an_epc()
    for line in ("V1,1000", "V2,-300", "F1,10", waveform, "VF2", "ENVF1"):
        say(epc, line)
    assert epc.present_mv == (1000, -300, 0, 0)
    say(epc, "MAC")
    epc.advance((-epc._clock_s) % 0.1 + 1 / 120)
    assert epc.present_mv[0] == pytest.approx(5000 * at_a_twelfth)
    assert epc.present_mv[1] == -300
    epc.advance(0.05)
    assert epc.present_mv[0] == pytest.approx(-5000 * at_a_twelfth)
    say(epc, "MDC")
    assert epc.present_mv == (1000, -300, 0, 0)
