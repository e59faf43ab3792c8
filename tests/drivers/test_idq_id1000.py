"""Conversations with an ID1000 and its data link: start, records, errors, stop."""

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, Fault, InstrumentError, NoReply, Refused
from drivers.timetagger.id1000_settings import Id1000Settings
from drivers.timetagger.id1000_talk import DataLink, Scpi, StreamStatus
from drivers.timetagger.idq_id1000 import POLL_S, IdqId1000
from tests.drivers.id1000_desk import ADDRESS, PERIOD_PS, Bench, Desk, message

INPUT = ["INPU{}:ENAB ON", "INPU{}:THRE -0.4V", "INPU{}:EDGE FALLING", "INPU{}:COUP DC"]
START = [
    "REC:STOP",
    "DEVIce:RESolution HIRES",
    *(line.format(n) for n in (1, 3) for line in [*INPUT, "INPU{}:SELE UNSHAPED"]),
    "INPU1:HIRES:ERROR?",
    "INPU3:HIRES:ERROR?",
    "REC:TRIG:ARM:MODE MANUal",
    "REC:ENABle ON",
    "REC:STOP",
    "REC:NUM INF",
    "REC:PWID 200000000000;PPER 200000400000",
    *(f"RAW{n}:{line}" for n in (1, 3) for line in ("REF:LINK NONE", "ERRORS:CLEAR", "SEND ON")),
    "REC:PLAY",
    "REC:STAGe?",
]


async def test_the_start_follows_the_vendors_order(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    assert bench.scpi.asked == START
    assert bench.dlt.asked == [
        "list",
        f"start-stream --address {ADDRESS} --channel 1 --stream-port 4242",
        f"start-stream --address {ADDRESS} --channel 3 --stream-port 4244",
    ]
    assert bench.opened == [4242, 4244]


async def test_an_input_sends_only_when_its_stream_is_open(autojump_clock):
    bench = Bench()
    opened = []
    for line in ("RAW1:SEND ON", "RAW3:SEND ON", "REC:PLAY"):
        bench.scpi.answers[line] = lambda: opened.append([*bench.opened]) or ""
    await bench.tagger.start()
    assert opened == [[4242], [4242, 4244], [4242, 4244]]


async def test_a_whole_acquisition(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.record({1: [10, 30], 3: [20]})
    block = await bench.tagger.read()
    assert block.times_ps.tolist() == [10, 20, 30]
    assert block.channels.tolist() == [1, 3, 1]
    assert (block.until_ps, block.lost) == (PERIOD_PS, False)
    bench.record({})
    dark = await bench.tagger.read()
    assert (dark.times_ps.size, dark.until_ps, dark.lost) == (0, 2 * PERIOD_PS, False)
    bench.record({1: [7], 3: [7]})
    bench.stopped()
    last = await bench.tagger.stop()
    assert last.times_ps.tolist() == [2 * PERIOD_PS + 7] * 2
    assert (last.until_ps, last.lost) == (2 * PERIOD_PS + 7, False)
    assert bench.scpi.asked[-5:] == [
        "REC:STAGe?", "RAW1:SEND OFF", "RAW3:SEND OFF", "RAW1:ERRORS?", "RAW3:ERRORS?",
    ]  # fmt: skip
    assert bench.dlt.asked[-2:] == [f"stop --id {ADDRESS}:5556", f"stop --id {ADDRESS}:5558"]
    assert all(pipe.closed for pipe in bench.pipes.values())


async def test_what_comes_after_the_stop_is_waited_for(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def later() -> None:
            await trio.sleep(0.3)
            bench.stopped()
            await trio.sleep(0.3)
            bench.record({1: [4], 3: [6]})

        last = await bench.tagger.stop()
    assert last.times_ps.tolist() == [4, 6]
    assert not last.lost


async def test_a_stop_ends_even_if_the_inputs_never_agree(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.record({1: [4], 3: [6]})
    bench.counts[3] = (0, 1)
    bench.stopped()
    last = await bench.tagger.stop()
    assert last.lost
    assert bench.dlt.asked[-1] == f"stop --id {ADDRESS}:5558"


async def test_times_that_the_data_link_counted_and_never_passed_on_are_lost(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.stopped()
    bench.counts[1] = (1, 5)
    assert (await bench.tagger.stop()).lost


async def test_stale_acquisitions_of_this_device_are_closed_and_no_others(autojump_clock):
    bench = Bench()
    bench.dlt.answers["list"] = f'["{ADDRESS}:5557", "{ADDRESS}1:5556", "10.98.99.8:5556"]'
    bench.dlt.answers[f"stop --id {ADDRESS}:5557"] = '{"status": {}}'
    await bench.tagger.settle()
    assert bench.dlt.asked == ["list", f"stop --id {ADDRESS}:5557"]
    assert bench.scpi.asked == ["REC:STOP"]


async def test_an_error_count_of_the_device_marks_one_block_as_lost(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.scpi.answers["RAW3:ERRORS?"] = "2"
    lost = []
    for _ in range(6):
        await trio.sleep(1.1)
        bench.record({1: [1], 3: [1]})
        lost.append((await bench.tagger.read()).lost)
    assert lost == [False, True, False, False, False, False]
    assert bench.scpi.asked[-6:] == ["RAW1:ERRORS?", "RAW3:ERRORS?"] * 3


async def test_an_error_that_only_the_last_question_shows_is_lost(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.scpi.answers["RAW1:ERRORS?"] = "1"
    bench.stopped()
    assert (await bench.tagger.stop()).lost


async def test_an_error_of_the_data_link_is_lost(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.errors[1] = '[{"description": "overflow"}]'
    bench.record({1: [1], 3: [1]})
    assert (await bench.tagger.read()).lost


async def test_an_input_that_stays_silent_is_named(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.record({1: [1], 3: [1]})
    bench.counts[3] = (0, 0)
    with pytest.raises(NoReply, match="input 3 has not ended its record"):
        await bench.tagger.read()


async def test_a_stream_that_is_cut_is_no_reply(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.pipes[3].cut = True
    with pytest.raises(NoReply, match="cut"):
        await bench.tagger.read()


async def test_a_cancelled_read_loses_nothing(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    for k in range(20):
        bench.record({1: [k], 3: [k]})
        with trio.move_on_after(0):
            await bench.tagger.read()
    blocks = [await bench.tagger.read() for _ in range(20)]
    times = np.concatenate([block.times_ps for block in blocks])
    assert times.tolist() == [k * PERIOD_PS + k for k in range(20) for _ in (1, 3)]


async def test_a_record_is_asked_for_when_it_may_have_ended_and_seen_within_a_poll(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    late_s = []

    async def play() -> None:
        start_s = trio.current_time()
        for k in range(1, 51):
            await trio.sleep_until(start_s + k * PERIOD_PS * 1e-12)
            bench.record({1: [k], 3: [k]})
            late_s.append(-trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        for k in range(50):
            await bench.tagger.read()
            late_s[k] += trio.current_time()
    assert max(late_s) <= POLL_S + 1e-6
    questions = [question for question in bench.dlt.asked if question.startswith("status")]
    assert len(questions) <= 2 * 50 * 1.5  # of two inputs


async def test_an_input_far_ahead_of_another_waits_in_its_socket(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    with trio.move_on_after(2.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.tagger.read)
            for k in range(40):
                bench.record({1: [k], 3: [k]})
                bench.counts[3] = (0, 0)
                await trio.sleep(0.05)
    assert len(bench.pipes[1].messages) > 30
    bench.counts[3] = (40, 40)
    blocks = [await bench.tagger.read() for _ in range(40)]
    assert [block.times_ps.tolist() for block in blocks] == [
        [k * PERIOD_PS + k] * 2 for k in range(40)
    ]


async def test_garbage_on_a_stream_is_a_bad_reply(autojump_clock):
    bench = Bench()
    await bench.tagger.start()
    bench.pipes[1].messages.append(message(1)[:5])
    with pytest.raises(BadReply, match="input 1: 5 bytes are no whole times"):
        await bench.tagger.read()


async def test_a_device_that_does_not_play_is_a_bad_reply_and_leaves_nothing_open(autojump_clock):
    bench = Bench()
    bench.scpi.answers["REC:STAGe?"] = "IDLE"
    with pytest.raises(BadReply, match="told to play, but its stage is 'IDLE'"):
        await bench.tagger.start()
    assert all(pipe.closed for pipe in bench.pipes.values())
    bench.scpi.answers["REC:STAGe?"] = "PLAYING"
    await bench.tagger.start()


async def test_a_setting_that_is_complained_about_is_refused(autojump_clock):
    bench = Bench()
    bench.scpi.answers["INPU1:THRE -0.4V"] = "Error: value out of range"
    with pytest.raises(Refused, match=r"INPU1:THRE -0\.4V.*out of range"):
        await bench.tagger.start()


async def test_the_data_links_refusal_is_quoted(autojump_clock):
    bench = Bench()
    bench.dlt.answers["list"] = '{"error": {"description": "license missing"}}'
    with pytest.raises(Refused, match="'list': license missing"):
        await bench.tagger.start()


async def test_an_uncalibrated_input_is_calibrated_once(autojump_clock):
    bench = Bench()
    codes = iter("1110")
    bench.scpi.answers["INPU3:HIRES:ERROR?"] = lambda: next(codes)
    await bench.tagger.start()
    assert bench.scpi.asked.count("DEVIce:SAMPling:RECAlibrate") == 1


async def test_an_input_that_cannot_be_calibrated_is_a_fault(autojump_clock):
    bench = Bench()
    bench.scpi.answers["INPU3:HIRES:ERROR?"] = "1"
    with pytest.raises(Fault, match="not calibrated after 30 s"):
        await bench.tagger.start()


async def test_a_bad_threshold_is_a_fault_that_names_input_and_code(autojump_clock):
    bench = Bench()
    bench.scpi.answers["INPU1:HIRES:ERROR?"] = "1002"
    with pytest.raises(Fault, match=r"input 1 reports error 1002.*-0\.4 V"):
        await bench.tagger.start()


async def test_low_resolution_needs_no_calibration(autojump_clock):
    bench = Bench(
        Id1000Settings(host=ADDRESS, inputs=(1, 3), streams=4241, resolution="lowres", stop="TSCO")
    )
    await bench.tagger.start()
    assert "DEVIce:RESolution LOWRES" in bench.scpi.asked
    assert "RAW3:STOP:LINK TSCO3" in bench.scpi.asked
    assert not [line for line in bench.scpi.asked if "HIRES:ERROR" in line]


async def test_a_silent_device_is_no_reply_in_two_seconds(autojump_clock):
    bench = Bench()
    bench.scpi.answers["*IDN?"] = "never"
    start_s = trio.current_time()
    with pytest.raises(NoReply, match=r"no reply to '\*IDN\?' within 2 s"):
        await bench.tagger.identity()
    assert trio.current_time() - start_s == pytest.approx(2.0)


async def test_identity_has_the_serial_number_and_the_whole_reply(autojump_clock):
    identity = await Bench().tagger.identity()
    assert identity.serial == "TC42"
    assert identity.model == "IDQ ID1000 Serial : TC42"


async def test_a_device_without_a_serial_number_is_another(autojump_clock):
    bench = Bench()
    bench.scpi.answers["*IDN?"] = "Thorlabs,PM100D,P0000001,2.4.0"
    with pytest.raises(BadReply, match=r"expected an ID1000.*PM100D"):
        await bench.tagger.identity()


async def test_out_of_turn_is_the_callers_fault(autojump_clock):
    bench = Bench()
    with pytest.raises(RuntimeError, match="not running"):
        await bench.tagger.read()
    with pytest.raises(RuntimeError, match="not running"):
        await bench.tagger.stop()
    await bench.tagger.start()
    for call in (bench.tagger.start, bench.tagger.settle, bench.tagger.identity):
        with pytest.raises(RuntimeError, match="is running"):
            await call()


async def test_a_free_port_is_chosen_for_a_service_on_this_host(autojump_clock):
    ports: list[str] = []
    bench = Bench()
    settings = Id1000Settings(host=ADDRESS, inputs=(1,))

    class Listed(Desk):
        async def ask(self, question: str) -> str:
            if question.startswith("start-stream"):
                ports.append(question.split()[-1])
                return '{"id": "x"}'
            return await super().ask(question)

    async def stream(port: int) -> object:
        await trio.lowlevel.checkpoint()
        ports.append(str(port))
        return bench.pipes[1]

    await IdqId1000(bench.scpi, Listed({"list": "[]"}), stream, settings).start()
    assert ports[0] == ports[1]
    assert 1024 <= int(ports[0]) <= 65535


@pytest.mark.parametrize(
    "reply",
    [
        '{"acquisitions_count":1,"errors":[],"inactivity":1.05,"timestamps_count":7}',
        '{"status":{"acquisitions_count":1,"errors":[],"inactivity":1.05,"timestamps_count":7}}',
    ],
)
async def test_a_status_may_be_wrapped_or_not(reply):
    status = await DataLink(Desk({"status --id a": reply})).status("a")
    assert status == StreamStatus(acquisitions_count=1, timestamps_count=7)


@pytest.mark.parametrize(("reply", "value"), [("0", 0), (" 12\n", 12), ("3000TB", 3000)])
async def test_numbers_may_carry_the_unit_of_the_time_base(reply, value):
    assert await Scpi(Desk({"X?": reply})).number("X?") == value


@given(reply=st.text(max_size=60))
def test_no_reply_of_the_data_link_breaks_us(reply):
    async def talk() -> None:
        link = DataLink(Desk({"list": reply, "status --id a": reply, "stop --id a": reply}))
        for call in (link.running(), link.status("a"), link.stop("a")):
            try:
                await call
            except InstrumentError:
                continue

    trio.run(talk)


@given(reply=st.text(max_size=20))
def test_no_reply_of_the_device_breaks_a_number(reply):
    async def talk() -> None:
        try:
            assert isinstance(await Scpi(Desk({"X?": reply})).number("X?"), int)
        except BadReply:
            return

    trio.run(talk)


@pytest.mark.parametrize("reply", ["9" * 5_000, "1" * 19, "\u0663"])
async def test_a_number_of_no_known_length_is_a_bad_reply(autojump_clock, reply):
    with pytest.raises(BadReply, match="not by a number"):
        await Scpi(Desk({"RAW1:ERRORS?": reply})).number("RAW1:ERRORS?")


@pytest.mark.parametrize("reply", ['{"error":{"x":' + "[" * 100_000, '{"x":' + "[" * 100_000])
async def test_json_that_is_nested_without_an_end_is_a_bad_reply(autojump_clock, reply):
    with pytest.raises(BadReply):
        await DataLink(Desk({"status --id x": reply})).status("x")
