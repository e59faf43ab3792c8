"""The simulated ID1000 against its sheet: the language, the records, the limits."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.idq_id1000 import BURST_EVENTS, ID1000
from drivers.sim.idq_recorder import DEAD_TIME_PS

S = 10**12
MS = 10**9
NO_TIMES, NO_CHANNELS = np.empty(0, np.int64), np.empty(0, np.uint8)
SET_UP = (
    "INPU1:ENAB ON;:INPU2:ENAB ON;:INPU3:ENAB ON;:INPU4:ENAB ON",
    "REC:TRIG:ARM:MODE MANUal",
    "REC:ENABle ON",
    "REC:NUM INF",
    "REC:PWID 200 GTB;PPER 200000040000",
    *(f"RAW{n}:ERRORS:CLEAR;:RAW{n}:REF:LINK NONE;:RAW{n}:SEND ON" for n in range(1, 5)),
)
PERIOD = 200 * MS + DEAD_TIME_PS


def hit(device: ID1000, now_ps: int, *events: tuple[int, int]) -> None:
    """Let (time in ps, channel) events happen and time go on to ``now_ps``."""
    times = np.array([time for time, _ in events], np.int64)
    channels = np.array([channel for _, channel in events], np.uint8)
    device.advance(now_ps, times, channels)


def ready(*more: str, **options) -> ID1000:
    device = ID1000(**{"pulse_v": 2.5} | options)
    for command in (*SET_UP, *more):
        assert device.receive(command) == ""
    return device


def playing(*more: str, **options) -> ID1000:
    return ready(*more, "REC:PLAY", **options)


def stamps(device: ID1000, channel: int) -> list[list[int]]:
    """Time stamps of one channel, by packet."""
    return [one.stamps_ps.tolist() for one in device.take() if one.channel == channel]


def test_time_stamps_leave_when_their_record_ends_and_count_from_its_start():
    device = playing()
    hit(device, 150 * MS, (5, 1), (7, 2), (100 * MS, 1))
    assert device.take() == []
    hit(device, 250 * MS, (199 * MS, 1), (PERIOD + 3, 1))
    packets = device.take()
    assert [(one.channel, one.ends_record) for one in packets] == [
        (channel, True) for channel in (1, 2, 3, 4)
    ]
    assert packets[0].stamps_ps.tolist() == [5, 100 * MS, 199 * MS]
    assert packets[1].stamps_ps.tolist() == [7]
    hit(device, 500 * MS)
    assert stamps(device, 1) == [[3]]


def test_nothing_is_seen_in_the_dead_time_between_records():
    device = playing()
    start, end = PERIOD, 200 * MS
    hit(device, 410 * MS, (end - 1, 1), (end, 1), (start - 1, 1), (start, 1))
    assert stamps(device, 1) == [[end - 1], [0]]


def test_the_last_of_many_records_ends_the_play():
    device = playing("REC:NUM 2")
    hit(device, 300 * MS)
    assert device.receive("REC:STAGe?") == "PLAYING"
    hit(device, 3 * S, (2 * S, 1))
    assert device.receive("REC:STAGe?") == "IDLE"
    assert stamps(device, 1) == [[], []]


def test_a_stop_sends_what_the_record_has_so_far():
    device = playing()
    hit(device, 50 * MS, (9, 4))
    assert device.receive("REC:STOP") == ""
    assert stamps(device, 4) == [[9]]
    hit(device, S, (500 * MS, 4))
    assert device.take() == []


def test_a_play_counts_from_the_moment_of_its_command():
    device = ready()
    hit(device, 7 * S, (6 * S, 1))
    device.receive("REC:PLAY")
    hit(device, 8 * S, (7 * S + 11, 1))
    assert stamps(device, 1)[0] == [11]


def test_a_full_buffer_leaves_before_its_record_ends():
    device = playing(buffer_stamps=3)
    hit(device, 100 * MS, (1, 1), (2, 1), (3, 1), (4, 2))
    (packet,) = device.take()
    assert (packet.stamps_ps.tolist(), packet.ends_record) == ([1, 2, 3], False)
    hit(device, 201 * MS)
    assert stamps(device, 1) == [[]]


def test_one_long_record_gives_nothing_until_it_ends():
    device = playing("REC:NUM 1;DUR 3000 GTB")
    for now in range(100 * MS, 3 * S, 100 * MS):
        hit(device, now, (now - 1, 1))
    assert device.take() == []
    hit(device, 3 * S)
    assert len(stamps(device, 1)[0]) == 29


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("REC:ENABle OFF", "off"),
        ("REC:PWID 199 GTB", "less than"),
        ("REC:PPER 200000039999", "40 ns"),
    ],
)
def test_a_generator_that_is_set_wrong_does_not_play(wrong, why):
    device = ready(wrong)
    assert why in device.receive("REC:PLAY")
    assert device.receive("REC:STAG?") == "IDLE"


def test_a_reference_gives_differences_and_counts_itself():
    device = playing("RAW1:REF:LINK INPU2")
    hit(device, 100 * MS, (10, 1), (100, 2), (130, 1), (140, 1), (200, 2))
    hit(device, 250 * MS, (100 * MS + 200, 1), (110 * MS, 2), (110 * MS, 1))
    packet = device.take()[0]
    assert packet.stamps_ps.tolist() == [10, 30, 40, 100 * MS, 0]
    assert packet.references.tolist() == [0, 1, 1, 2, 3]


def test_an_input_sees_only_what_crosses_its_threshold_while_it_is_on():
    device = playing("INPU1:ENAB OFF", "INPU2:THRE 2600mV", "INPU3:THRE 2.4V", "INPU4:THRE -1")
    hit(device, 300 * MS, *((5, channel) for channel in (1, 2, 3, 4)))
    assert [one.stamps_ps.size for one in device.take()] == [0, 0, 1, 0]


def test_of_a_negative_pulse_the_falling_edge_leads():
    device = playing("INPU1:THRE -0.4;EDGE FALL", "INPU2:THRE -0.4;EDGE RISI", pulse_v=-0.8)
    hit(device, 300 * MS, (5, 1), (5, 2), (5, 3))
    assert [one.stamps_ps.tolist() for one in device.take()] == [[5], [10_005], [], []]


def test_low_resolution_rounds_and_a_falling_edge_is_late():
    device = playing("DEVI:RES LOWRES", "INPU2:EDGE FALLING")
    assert device.receive("DEVI:RES:BWID?") == "100"
    hit(device, 300 * MS, (1234, 1), (1234, 2))
    assert [one.stamps_ps.tolist() for one in device.take()[:2]] == [[1200], [11200]]


def test_a_delay_holds_events_until_their_time_has_come():
    device = playing("DELA1:VALU 150 GTB")
    hit(device, 100 * MS, (1, 1), (60 * MS, 1))
    hit(device, 201 * MS)
    assert stamps(device, 1) == [[150 * MS + 1]]
    hit(device, 401 * MS)
    assert stamps(device, 1) == [[210 * MS - PERIOD]]


def test_links_route_any_input_to_any_recorder():
    device = playing("RAW2:STOP:LINK TSCO1", "TSCO1:FIR:LINK DELA8;:DELA8:LINK INPU3")
    hit(device, 300 * MS, (5, 2), (6, 3))
    assert stamps(device, 2) == [[6]]


@pytest.mark.parametrize("wrong", ["TSCO25", "TSCO0", "INPU5", "INPU", "STAR1", "HIST1", "RAW1"])
def test_a_link_to_what_is_not_there_is_refused(wrong):
    device = ID1000()
    assert device.receive(f"RAW1:STOP:LINK {wrong}").startswith("ERROR")
    assert device.receive("TSCO1:FIR:LINK TSCO2").startswith("ERROR")
    assert device.receive("DELA1:LINK DELA2").startswith("ERROR")


def test_sending_off_means_that_nothing_is_kept():
    device = playing("RAW1:SEND OFF")
    hit(device, 100 * MS, (5, 1))
    device.receive("RAW1:SEND ON")
    hit(device, 300 * MS, (150 * MS, 1))
    assert stamps(device, 1) == [[150 * MS]]


def bright(device: ID1000, rate_hz: int, seconds: float) -> None:
    """Evenly spaced events on all channels in turn, in steps of 20 ms."""
    n = rate_hz // 50
    channels = np.arange(n, dtype=np.uint8) % 4 + 1
    for step in range(round(seconds * 50)):
        now = step * 20 * MS
        times = now + np.arange(n, dtype=np.int64) * (20 * MS // n)
        device.advance(now + 20 * MS, times, channels)


def test_ten_million_events_a_second_pass_and_more_need_a_restart():
    device = playing()
    bright(device, 10_000_000, 0.5)
    assert device.receive("RAW1:ERRORS?") == "0"
    assert sum(one.stamps_ps.size for one in device.take()) == pytest.approx(4_000_000, abs=4)
    bright(device := playing(), 12_000_000, 0.4)
    assert device.receive("RAW1:ERRORS?") == "0"  # 0.8 million too many, which the buffer holds
    bright(device := playing(), 14_000_000, 0.4)
    assert device.receive("RAW1:ERRORS?;:REC:STAG?") == "1\nIDLE"
    device.take()
    for command in ("REC:STOP", "RAW1:ERRORS:CLEAR", "REC:PLAY"):
        device.receive(command)
    hit(device, 2 * S, (S, 1))
    assert device.receive("REC:STAG?") == "IDLE"
    assert device.take() == []
    device.power_cycle()
    assert device.receive("REC:ENAB?;:INPU1:ENAB?") == "OFF\nOFF"


def test_an_overflow_that_is_not_fatal_loses_what_the_device_held():
    device = playing(overflow_is_fatal=False)
    bright(device, 20_000_000, 0.18)
    assert device.receive("RAW1:ERRORS?;:REC:STAG?") == "1\nPLAYING"
    hit(device, 201 * MS)
    assert sum(one.stamps_ps.size for one in device.take()) < 20_000_000 * 0.18 - BURST_EVENTS


def test_counters_count_in_windows_or_for_ever():
    device = ready("INPU1:COUN:MODE CYCL;INTE 100000000;RESEt", "INPU2:COUN:MODE ACCU;RESE")
    hit(device, 50 * MS, (1, 1), (2, 1), (3, 2))
    assert device.receive("INPU1:COUN?;:INPU2:COUN?;:STAR:COUN?") == "0\n1\n0"
    hit(device, 130 * MS, (60 * MS, 1), (110 * MS, 1), (111 * MS, 2))
    assert device.receive("INPU1:COUN?;:INPU2:COUNter?") == "3\n2"
    hit(device, 230 * MS)
    assert device.receive("INPU1:COUN?") == "1"


def test_a_lost_calibration_shows_until_it_is_cleared_or_done_again():
    device = ID1000()
    for cure in ("INPU2:HIRES:ERROR:CLEAR", "DEVIce:SAMPling:RECAlibrate"):
        device.lose_calibration(2)
        assert device.receive("INPU2:HIRES:ERROR?;:INPU1:HIRES:ERROR?") == "1\n0"
        assert device.receive(cure) == ""
        assert device.receive("INPU2:HIRES:ERROR?") == "0"


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        ("INPUT1:THRESHOLD 1000mV;:inpu1:thre?", "1V"),
        ("INPU1:THRE 1;:INPU1:THRE?", "1V"),
        ("INPU1:ENAB OFF;ENAB;ENAB?", "ON"),
        ("REC:DUR 3000 GTB;:REC:PWID?", "3000000000000TB"),
        ("REC:PWID 5e11;PPER 600000000000.0;PPER?;PWID?", "600000000000TB\n500000000000TB"),
        ("REC:NUM INF;NUM?;:REC:NUM 3;NUMber?", "INF\n3"),
        ("DEVI:RES HIRES;:DEVI:RES:BWID?", "1"),
        ("RAW1:STOP:LINK TSCO1;:RAW1:REF:LINK NONE;:RAW1:STOP:LINK?", "TSCO1"),
        ("TSCO1:OPIN ONLYFIR;OPOU ONLYFIR;WIND:ENAB OFF", ""),
        ("DEVI:CONFI:LOAD HISTO;:RAW3:STOP:LINK?;:TSCO7:FIR:LINK?", "TSCO7\nDELA3"),
        ("INPU1:EDGE FALL;EDGE?;COUP DC;SELE UNSHAPED", "FALLING"),
        (";;  ;", ""),
    ],
)
def test_the_language_of_the_manual(commands, reply):
    assert ID1000().receive(commands) == reply


@pytest.mark.parametrize(
    "wrong",
    [
        "HELLO", "INPU5:ENAB ON", "INPU:ENAB ON", "INPU1:ENAB MAYBE", "INPU1:THRE 11",
        "INPU1:THRE nan", "INPU1:THRE 1GTB", "REC:NUM 0", "REC:DUR", "REC:STAGE PLAYING", "::",
        "INPU1:COUN:INTE 1", "INPU1:COUP AC", "é?", "REC:PLAY?", "STAR1:ENAB ON", "RAW1:SEND 1 2",
    ],
)  # fmt: skip
def test_a_mistake_is_answered_and_changes_nothing(wrong):
    state = "INPU1:ENAB?;THRE?;:REC:NUM?;PWID?;STAG?;:RAW1:SEND?"
    device = ID1000()
    before = device.receive(state)
    assert device.receive(wrong).startswith("ERROR")
    assert device.receive(state) == before


def test_the_serial_number_is_where_clients_look_for_it():
    assert "Serial : " in ID1000().receive("*IDN?")


EVENTS = st.lists(st.tuples(st.integers(0, S - 1), st.integers(1, 4)), max_size=40)


@given(EVENTS, st.lists(st.integers(1, S - 1), max_size=6))
def test_every_event_outside_dead_times_is_told_once_whatever_the_steps(events, cuts):
    events = sorted(set(events))
    device = playing()
    for start, stop in pairwise([0, *sorted(set(cuts)), S]):
        hit(device, stop, *[event for event in events if start <= event[0] < stop])
    device.receive("REC:STOP")
    told, n_records = [], [0] * 5
    for packet in device.take():
        start = n_records[packet.channel] * PERIOD
        told += [(start + stamp, packet.channel) for stamp in packet.stamps_ps.tolist()]
        n_records[packet.channel] += packet.ends_record
    assert sorted(told) == [event for event in events if event[0] % PERIOD < 200 * MS]
    assert n_records[1:] == [5] * 4


@pytest.mark.parametrize(
    "setting", ["REC:NUM 1", "REC:PWID 1000000", "REC:PPER 40000", "REC:DUR 1"]
)
def test_the_generator_keeps_its_settings_while_it_plays(setting):
    device = playing()
    assert "stop" in device.receive(setting)
    hit(device, S, (PERIOD + 1, 1))
    assert stamps(device, 1) == [[], [1], [], []]


RECORDING = st.sampled_from(
    ["REC:PLAY", "REC:STOP", "REC:NUM 3", "REC:PWID 40000", "REC:PPER 40000", "REC:DUR 1 GTB"]
)


@given(st.lists(st.text(max_size=20) | st.sampled_from(SET_UP) | RECORDING, max_size=20))
def test_no_commands_break_it(commands):
    device = ID1000()
    for n, command in enumerate(commands):
        device.receive(command)
        hit(device, (n + 1) * MS, (n * MS, 1), (n * MS + 9, 4))
    assert "ID1000" in device.receive("*IDN?")
