"""The simulated CTL200 against the conversations of its sheet."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.koheron_ctl200 import BUSY_S, CTL200, NUL_EVERY, Error


def say(laser: CTL200, line: str) -> bytes:
    return laser.receive(line.encode() + b"\r\n") + laser.advance(BUSY_S)


def ask(laser: CTL200, line: str) -> str:
    echo, _, rest = say(laser, line).replace(b"\0", b"").partition(b"\r\n")
    assert echo == line.encode()
    assert rest.endswith(b"\r\n>>")
    return rest[:-4].decode()


def errors(laser: CTL200) -> Error:
    return Error(int(ask(laser, "err"), 16))


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("ilaser 150", b"ilaser 150\r\n150.000\r\n>>"),
        ("ilmax 500", b"ilmax 500\r\n500.000\r\n>>"),
        ("ldelay 2500", b"ldelay 2500\r\n2500.000\r\n>>"),
        ("tecon 0", b"tecon 0\r\n0\r\n>>"),
        ("rtset 10000", b"rtset 10000\r\n10000.000\r\n>>"),
        ("igain 0.03", b"igain 0.03\r\n0.030\r\n>>"),
        ("vtmin -2.5", b"vtmin -2.5\r\n-2.500\r\n>>"),
        ("brate 9600", b"brate 9600\r\n9600\r\n>>"),
        ("userdata write TEST", b"userdata write TEST\r\nTEST\r\n>>"),
        ("save", b"save\r\nconfig saved\r\n>>"),
        ("errclr", b"errclr\r\nffffffff\r\n>>"),
        ("err", b"err\r\n0\r\n>>"),
        ("version", b"version\r\nv0.17\r\n>>"),
        ("model", b"model\r\nCTL200-0\r\n>>"),
        ("", b"\r\n>>"),
    ],
)
def test_the_wire_is_echo_value_prompt(line, answer):
    assert say(CTL200(), line) == answer


def test_the_prompt_comes_after_the_device_has_worked():
    laser = CTL200()
    assert laser.receive(b"ilaser\r\n") == b"ilaser\r\n"
    assert laser.advance(BUSY_S / 2) == b""
    assert laser.advance(BUSY_S / 2) == b"0.000\r\n>>"
    assert laser.advance(1.0) == b""


def test_bytes_before_the_prompt_are_lost_and_noted():
    laser = CTL200()
    assert laser.receive(b"ilaser 5\r\nilaser 7\r\n") == b"ilaser 5\r\n"
    laser.advance(BUSY_S)
    assert errors(laser) == Error.BEFORE_PROMPT
    assert ask(laser, "ilaser") == "5.000"
    ask(laser, "errclr")
    assert errors(laser) == Error(0)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("frobnicate", Error.UNKNOWN_COMMAND),
        ("ilaser 1e9", Error.INVALID_ARGUMENT),
        ("ilaser nan", Error.INVALID_ARGUMENT),
        ("ilaser 401", Error.INVALID_ARGUMENT),
        ("lason 2", Error.INVALID_ARGUMENT),
        ("lason 0.5", Error.INVALID_ARGUMENT),
        ("pgain 0.11", Error.INVALID_ARGUMENT),
        ("rtact 5", Error.INVALID_ARGUMENT),
        ("x" * 200, Error.UART_OVERFLOW),
    ],
)
def test_a_wrong_line_sets_its_bit_and_changes_nothing(line, error):
    laser = CTL200()
    say(laser, line)
    assert errors(laser) == error
    assert (ask(laser, "ilaser"), ask(laser, "lason")) == ("0.000", "0")


def test_light_comes_after_the_soft_start_and_goes_at_once():
    laser = CTL200()
    for line in ("ldelay 100", "ilaser 150", "lason 1"):
        ask(laser, line)
    assert ask(laser, "lason") == "1"
    assert laser.current_ma == 0.0
    laser.advance(0.1)
    assert laser.current_ma == 150.0
    assert ask(laser, "iphd") == "1.400"
    assert ask(laser, "status").split()[:2] == ["1", "1.275"]
    ask(laser, "lason 0")
    assert laser.current_ma == 0.0


def lit() -> CTL200:
    laser = CTL200()
    for line in ("ldelay 10", "ilaser 100", "lason 1"):
        ask(laser, line)
    laser.advance(0.01)
    assert laser.current_ma == 100.0
    return laser


def test_an_opened_interlock_darkens_a_lit_laser():
    laser = lit()
    laser.interlock_open = True
    laser.advance(0.0)
    assert laser.current_ma == 0.0
    assert (ask(laser, "lason"), errors(laser)) == ("0", Error.INTERLOCK_TRIGGERED)
    assert ask(laser, "lason 1") == "0"
    assert errors(laser) == Error.INTERLOCK_TRIGGERED | Error.INTERLOCK_OPEN


def test_an_interlock_that_is_switched_off_does_not_act():
    laser = lit()
    ask(laser, "lckon 0")
    laser.interlock_open = True
    laser.advance(0.1)
    assert laser.current_ma == 100.0


def test_a_torn_off_thermistor_reads_cold_and_darkens():
    laser = lit()
    laser.thermistor_open = True
    laser.advance(0.0)
    assert (laser.current_ma, errors(laser)) == (0.0, Error.UNDER_TEMPERATURE)


def test_a_hot_diode_darkens():
    laser = lit()
    for line in ("rtset 2000", "tecon 1"):
        ask(laser, line)
    laser.advance(5.0)
    assert (laser.current_ma, errors(laser)) == (0.0, Error.OVER_TEMPERATURE)


def test_the_tec_reaches_its_set_point():
    laser = CTL200()
    for line in ("rtset 8400", "tecon 1"):
        ask(laser, line)
    laser.advance(10.0)
    assert float(ask(laser, "rtact")) == pytest.approx(8400, abs=1)


def test_only_saved_values_survive_a_power_cycle_and_the_laser_is_off():
    laser = lit()
    ask(laser, "save")
    ask(laser, "ilaser 120")
    laser.power_cycle()
    assert (ask(laser, "ilaser"), ask(laser, "lason")) == ("100.000", "0")


def test_stray_nul_bytes_come_now_and_then():
    laser = CTL200()
    said = b"".join(say(laser, "lason") for _ in range(2 * NUL_EVERY))
    assert said.count(b"\0") == 2


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_chunks_of_one_moment_do_not_matter(data: bytes, cuts: list[int]):
    whole, cut = CTL200(), CTL200()
    edges = [0, *sorted(cuts), len(data)]
    said = b"".join(cut.receive(data[a:b]) for a, b in pairwise(edges))
    assert said + cut.advance(1.0) == whole.receive(data) + whole.advance(1.0)


@given(st.lists(st.binary(max_size=40).map(lambda line: line + b"\n"), max_size=20))
def test_no_bytes_silence_it(lines: list[bytes]):
    laser = CTL200()
    for line in lines:
        laser.receive(line)
        laser.advance(BUSY_S)
    assert ask(laser, "model") == "CTL200-0"
