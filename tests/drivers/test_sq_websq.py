"""Conversations with a WebSQ, in the words of its vendor's own client."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from drivers.alongside import alongside
from drivers.detector import DetectorCounts, DetectorStatus, Identity
from drivers.detector.sq_websq import SqWebSq, parse_resource
from drivers.errors import BadReply, InstrumentError, NoReply, Refused
from drivers.transports.scripted import Gone, ScriptedTransport, expect
from tests.drivers.websq_desk import asks, commands, props, tells, websq

STATUS = ((asks(), props()), (asks("BiasVoltage"), tells("BiasVoltage", [0.1, 1250.0])))


async def test_a_websq_is_known_by_its_number_of_detectors(autojump_clock):
    async with websq((asks(), props())) as (box, _, _):
        assert await box.identity() == Identity("WebSQ", "", "")


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None, True, [2]])
async def test_a_number_of_detectors_that_is_none_is_a_bad_reply(autojump_clock, number):
    async with websq((asks(), props(NumberOfDetectors=number))) as (box, _, _):
        with pytest.raises(BadReply, match="NumberOfDetectors is"):
            await box.identity()


async def test_status_is_glued_cut_and_mixed_with_what_was_not_asked(autojump_clock):
    told = tells("BiasCurrent", [1.0, 2.0]) + props(DetectorEnable=True)
    pieces = tuple(told[n : n + 7] for n in range(0, len(told), 7))
    async with websq((asks(), pieces), STATUS[1]) as (box, _, _):
        status = await box.status()
    assert status == DetectorStatus(
        enabled=True,
        bias_ua=(12.0, 8.5),
        bias_voltage=(0.1, 1250.0),
        trigger_mv=(23.0, 24.0),
        period_ms=100,
        errors=(),
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"BiasCurrent": [12.0]},
        {"BiasCurrent": [12.0, "8"]},
        {"BiasCurrent": 12.0},
        {"TriggerLevel": [1.0, float("nan")]},
        {"TriggerLevel": [1.0, 10**400]},
        {"DetectorEnable": "yes"},
        {"InptMeasurementPeriod": 0},
    ],
)
async def test_a_label_of_another_form_is_a_bad_reply(autojump_clock, changed):
    async with websq((asks(), props(**changed)), STATUS[1]) as (box, _, _):
        with pytest.raises(BadReply, match=next(iter(changed))):
            await box.status()


async def test_bias_currents_are_set_when_their_label_says_so(autojump_clock):
    async with websq(
        (asks(), props()),
        (commands("SetAllBiasCurrents", [10.0, 9.0], "BiasCurrent"), b""),
        (asks(), props()),
        (asks(), props(BiasCurrent=[10.0, 8.5])),
        (asks(), props(BiasCurrent=[10.02, 8.98])),
    ) as (box, _, _):
        await box.set_bias_ua((10, 9))


async def test_trigger_levels_and_period_and_bias_are_set(autojump_clock):
    async with websq(
        (asks(), props()),
        (commands("SetAllTriggerLevels", [20.0, 30.0], "TriggerLevel"), b""),
        (asks(), props(TriggerLevel=[20, 30])),
        (commands("SetMeasurementPeriod", 20, "InptMeasurementPeriod"), b""),
        (asks(), props(InptMeasurementPeriod=20.0)),
        (commands("DetectorEnable", True, "DetectorEnable"), b""),
        (asks(), props(DetectorEnable=True)),
    ) as (box, _, _):
        await box.set_trigger_mv((20.0, 30.0))
        await box.set_period_ms(20)
        await box.set_enabled(on=True)


async def test_an_error_refuses_a_setting_with_its_words(autojump_clock):
    async with websq(
        (asks(), props()),
        (
            commands("SetAllBiasCurrents", [500.0, 9.0], "BiasCurrent"),
            tells("BiasError", "500 uA exceeds the limit"),
        ),
        (asks(), props()),
    ) as (box, _, _):
        with pytest.raises(Refused, match=r"\[500\.0, 9\.0\], and is \[12\.0, 8\.5\].*exceeds"):
            await box.set_bias_ua((500.0, 9.0))


async def test_a_setting_that_is_ignored_in_silence_is_refused(autojump_clock):
    asked = [(asks(), props())] * 31
    async with websq((commands("DetectorEnable", True, "DetectorEnable"), b""), *asked) as (
        box,
        _,
        _,
    ):
        with pytest.raises(Refused, match=r"DetectorEnable is to be True.*no change within 3 s"):
            await box.set_enabled(on=True)


async def test_impossible_settings_never_reach_the_box(autojump_clock):
    async with websq((asks(), props())) as (box, _, _):
        for wrong in ((), (1.0,), (1.0, 2.0, 3.0)):
            with pytest.raises(ValueError, match=f"{len(wrong)} bias currents for 2 detectors"):
                await box.set_bias_ua(wrong)
        for bad in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match="a trigger level of"):
                await box.set_trigger_mv((1.0, bad))
        with pytest.raises(ValueError, match="a period of 9 ms"):
            await box.set_period_ms(9)


async def test_errors_are_told_once_and_old_ones_not_as_new(autojump_clock):
    old = tells("ErrorLog", {"value": "helium is low"})
    async with websq((asks(), props() + old), STATUS[1], (asks(), props() + old), STATUS[1]) as (
        box,
        control,
        _,
    ):
        control.say(tells("Error", "detector 2 latched") + tells("Error", "detector 2 latched"))
        control.say(tells("ErrorNothing", ""))
        assert (await box.status()).errors == (
            "Error: detector 2 latched",
            "Error: detector 2 latched",
            "ErrorLog: helium is low",
        )
        assert (await box.status()).errors == ()


async def test_counts_are_of_the_next_period_that_ends(autojump_clock):
    async with websq((asks(), props())) as (box, _, counts):
        counts.say(b"1763892000.0,1.0,2.0\n")
        await trio.testing.wait_all_tasks_blocked()

        async def speak() -> None:
            await trio.sleep(0.1)
            counts.say(b"1763892000.1,10")
            await trio.sleep(0.01)
            counts.say(b"00.0,0.0\n17")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            found = await box.counts()
    assert found == DetectorCounts(time_s=1763892000.1, period_ms=100, counts=(1000, 0))
    assert found.rates_hz == (10_000.0, 0.0)


async def test_lines_that_may_be_of_another_period_are_not_counted(autojump_clock):
    async with websq(
        (asks(), props()),
        (commands("SetMeasurementPeriod", 20, "InptMeasurementPeriod"), b""),
        (asks(), props(InptMeasurementPeriod=20)),
    ) as (box, _, counts):
        await box.identity()
        await box.set_period_ms(20)

        async def speak() -> None:
            for n in range(4):
                await trio.sleep(0.02)
                counts.say(b"%d,5,%d\n" % (n, n))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            assert await box.counts() == DetectorCounts(time_s=2.0, period_ms=20, counts=(5, 2))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "line",
    [b"", b"nonsense", b"1.0,2", b"1.0,2,3,4", b"1.0,nan,2", b"inf,1,2", b"1.0,-1,2", b"\xff,1,2"],
)
async def test_a_garbled_line_of_counts_is_a_bad_reply_and_the_next_is_read(autojump_clock, line):
    async with websq((asks(), props())) as (box, _, counts):

        async def speak() -> None:
            for one in (line, b"2.0,3,4"):
                await trio.sleep(0.1)
                counts.say(one + b"\r\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            with pytest.raises(BadReply, match="is no time and 2 counts"):
                await box.counts()
            assert (await box.counts()).counts == (3, 4)


async def test_counts_that_fail_to_come_are_no_reply(autojump_clock):
    async with websq((asks(), props())) as (box, _, _):
        with pytest.raises(NoReply, match=r"no counts within 2\.3 s"):
            await box.counts()


async def test_counts_that_break_off_leave_the_control_port_as_it_is(autojump_clock):
    async with websq((asks(), props()), *STATUS) as (box, _, counts):
        await box.identity()
        counts.unplug()
        for _ in range(2):
            with pytest.raises(NoReply, match="unplugged"):
                await box.counts()
        assert (await box.status()).bias_ua == (12.0, 8.5)


async def test_a_control_port_that_breaks_off_leaves_the_counts_as_they_are(autojump_clock):
    async with websq((asks(), props()), (asks(), Gone)) as (box, _, counts):
        await box.identity()
        for _ in range(2):
            with pytest.raises(NoReply, match="unplugged"):
                await box.status()
        with pytest.raises(NoReply, match="unplugged"):
            await box.set_enabled(on=False)

        async def speak() -> None:
            await trio.sleep(0.1)
            counts.say(b"1.0,2,3\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            assert (await box.counts()).counts == (2, 3)


async def test_silence_is_no_reply_after_asking_ten_times(autojump_clock):
    async with websq(*[(asks(), b"")] * 10) as (box, _, _):
        with pytest.raises(NoReply, match="NumberOfDetectors not told within 10 s"):
            await box.identity()
        assert trio.current_time() == pytest.approx(10.0)


async def test_a_late_answer_is_an_answer(autojump_clock):
    async with websq(*[(asks(), b"")] * 3) as (box, control, _), trio.open_nursery() as nursery:

        async def speak_late() -> None:
            await trio.sleep(2.5)
            control.say(props())

        nursery.start_soon(speak_late)
        await box.identity()


async def test_garbage_and_half_answers_are_a_bad_reply_and_the_next_is_read(autojump_clock):
    asked = [(asks(), props()[:-20] + b"\x17")] + [(asks(), b"")] * 9
    async with websq(*asked, *STATUS) as (box, _, _):
        with pytest.raises(BadReply, match=r"InptMeasurementPeriod not told .* which is no JSON"):
            await box.status()
        assert (await box.status()).period_ms == 100


@pytest.mark.parametrize("words", [b"HP8156A\r\n", b" >>", b"HTTP/1.1 400\r\n\r\n{}\x17"])
async def test_another_device_is_named_together_with_the_one_expected(autojump_clock, words):
    async with websq((asks(), words)) as (box, _, _):
        with pytest.raises(BadReply, match=r"expected a WebSQ, but b'.*' answers"):
            await box.identity()


async def test_a_device_that_echoes_what_it_does_not_understand_is_another_one(autojump_clock):
    echoes = (asks(), asks() + b"\r\nunknown command\r\n>>")
    async with websq(*[echoes] * 10) as (box, _, _):
        with pytest.raises(BadReply, match=r"expected a WebSQ, but b'.*labelProps.*' answers"):
            await box.identity()


async def test_a_cancelled_query_does_not_spoil_the_next(autojump_clock):
    async with websq((asks(), b""), *STATUS) as (box, control, _):
        with trio.move_on_after(0.1):
            await box.status()
        control.say(props(DetectorEnable=True))
        await trio.testing.wait_all_tasks_blocked()
        assert not (await box.status()).enabled


async def test_a_command_is_sent_whole_or_the_connection_given_up(autojump_clock):
    class Stuck(ScriptedTransport):
        async def send(self, data: bytes) -> None:
            await trio.sleep_forever()

    with expect() as counts:
        box = SqWebSq(Stuck(), counts)
        async with alongside(box.listen):
            with trio.move_on_after(0.1) as scope:
                with pytest.raises(NoReply, match="takes no command; reopen it"):
                    await box.set_enabled(on=False)
            assert trio.current_time() == 2.0
            with pytest.raises(NoReply, match="reopen it"):
                await box.status()
    assert scope.cancel_called


async def test_two_tasks_never_interleave_their_settings(autojump_clock):
    async with (
        websq(
            (commands("DetectorEnable", True, "DetectorEnable"), b""),
            (asks(), b""),
            (commands("SetMeasurementPeriod", 20, "InptMeasurementPeriod"), b""),
            (asks(), props(InptMeasurementPeriod=20)),
        ) as (box, control, _),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: box.set_enabled(on=True))
        await trio.sleep(0.1)
        nursery.start_soon(box.set_period_ms, 20)
        await trio.sleep(0.1)
        control.say(props(DetectorEnable=True))


async def test_the_temperature_is_the_last_of_the_cold_stage(autojump_clock):
    history = {"x": ["23-Nov-26 09:00:00.000"] * 2, "T": [2.6, 2.5], "T2": [40.0, 41.0]}
    label = "temperature_long_memory"
    async with websq((asks("TemperatureHistory"), tells(label, history))) as (box, _, _):
        assert await box.temperature_k() == 2.5


@pytest.mark.parametrize("history", [{}, {"T": []}, {"T": ["cold"]}, [2.5], 2.5, {"T": 2.5}])
async def test_a_history_of_another_form_is_a_bad_reply(autojump_clock, history):
    told = tells("temperature_long_memory", history)
    async with websq((asks("TemperatureHistory"), told)) as (box, _, _):
        with pytest.raises(BadReply, match="temperature"):
            await box.temperature_k()


SEARCH = (
    (asks(), props()),
    (commands("DarkCountsAutoIV", [100.0, 50.0]), b""),
    (commands("AutoCaliBiasCurrents", True), b""),
)


async def test_the_search_for_bias_currents_is_waited_out(autojump_clock):
    idle, busy = props(StartAutoIV=False), props(StartAutoIV=True)
    async with websq(
        *SEARCH,
        *[(asks(), idle)] * 3,  # it takes a moment to begin
        *[(asks(), busy)] * 20,
        (asks(), idle),
        (asks(), props(BiasCurrentAutoIV=[11.5, 9.25])),
    ) as (box, _, _):
        assert await box.find_bias_ua((100, 50)) == (11.5, 9.25)


async def test_a_search_that_is_cancelled_is_called_off(autojump_clock):
    async with websq(
        *SEARCH,
        *[(asks(), props(StartAutoIV=True))] * 4,
        (commands("AutoCaliBiasCurrents", False), b""),
    ) as (box, _, _):
        with trio.move_on_after(0.45):
            await box.find_bias_ua((100, 50))


@pytest.mark.parametrize(
    ("resource", "ports"),
    [
        ("tcp://192.0.2.1", ("tcp://192.0.2.1:12000", "tcp://192.0.2.1:12345")),
        ("tcp://box:1?counts=2", ("tcp://box:1", "tcp://box:2")),
        ("tcp://[::1]:1", ("tcp://[::1]:1", "tcp://[::1]:12345")),
    ],
)
def test_a_resource_names_both_ports(resource, ports):
    assert parse_resource(resource) == ports


@pytest.mark.parametrize(
    "resource", ["serial:/dev/x", "tcp://", "tcp://a?counts=x", "tcp://a?count=1", "tcp://a/b", "a"]
)
def test_a_resource_of_another_form_is_refused(resource):
    with pytest.raises(ValueError, match=r"."):
        parse_resource(resource)


@given(st.binary(max_size=64).filter(lambda data: b"NumberOfDetectors" not in data))
def test_no_bytes_raise_anything_but_an_instrument_error(data):
    """Whatever is told, on either port, the driver ends, and ends in its own words."""

    class Babbler(ScriptedTransport):
        async def send(self, sent: bytes) -> None:
            await trio.lowlevel.checkpoint()
            self.say(data)

    async def talk() -> None:
        control, counts = Babbler(), Babbler()
        await counts.send(b"")
        box = SqWebSq(control, counts)
        async with alongside(box.listen):
            try:
                await box.identity()
            except InstrumentError:
                return
        raise AssertionError(f"{data!r} was taken for a WebSQ")

    trio.run(talk, clock=trio.testing.MockClock(autojump_threshold=0))
