"""Conversations with an EPC, as its users recorded them: one line, then Done."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, InstrumentError, NoReply, Refused
from drivers.polarization import Identity
from drivers.polarization.ozoptics_epc import OzOpticsEpc
from drivers.transports.scripted import Gone, ScriptedTransport, expect

VOLTAGES = "Voltage(mV): CH1 +2200 CH2 +5000 CH3 -1000 CH4 -4000"


def says(command: str, line: str) -> tuple[bytes, bytes]:
    return (f"{command}\r\n".encode(), f"{line}\r\nDone\r\n".encode())


GREETING = ((b"\r\n", b"Error!\r\n"), says("M?", "Work Mode: DC"), says("V?", VOLTAGES))


async def test_an_epc_is_known_by_the_form_of_its_answers(autojump_clock):
    with expect(*GREETING, says("V?", VOLTAGES)) as wire:
        assert await OzOpticsEpc(wire).identity() == Identity("EPC", "", "")


@pytest.mark.parametrize(
    ("mode", "scrambling"), [("DC", False), ("AC(Sine)", True), ("AC(Triangle)", True)]
)
async def test_status_has_mode_voltages_and_limits(autojump_clock, mode, scrambling):
    with expect(*GREETING, says("M?", f"Work Mode: {mode}"), says("V?", VOLTAGES)) as wire:
        status = await OzOpticsEpc(wire).status()
    assert status.scrambling is scrambling
    assert status.voltages_mv == (2200, 5000, -1000, -4000)
    assert (status.lowest_mv, status.highest_mv) == (-5000, 5000)


async def test_all_voltages_are_set_in_order(autojump_clock):
    with expect(
        *GREETING,
        says("V1,0", "Set CH1 DC Voltage at: 0mV"),
        says("V2,-5000", "Set CH2 DC Voltage at: -5000mV"),
        says("V3,2500", "Set CH3 DC Voltage at: 2500mV"),
        says("V4,5000", "Set CH4 DC Voltage at: 5000mV"),
    ) as wire:
        await OzOpticsEpc(wire).set_voltages_mv((0, -5000, 2500, 5000))


async def test_an_echo_is_no_answer(autojump_clock):
    with expect(
        *GREETING, (b"V3,2500\r\n", b"V3,2500\r\nSet CH3 DC Voltage at: 2500mV\r\nDone\r\n")
    ) as wire:
        await OzOpticsEpc(wire).set_voltage_mv(3, 2500)


@pytest.mark.parametrize("voltage_mv", [5001, -5001, 10**9])
async def test_a_voltage_out_of_range_never_reaches_the_squeezers(voltage_mv):
    with expect() as wire:
        epc = OzOpticsEpc(wire)
        with pytest.raises(Refused, match=rf"{voltage_mv} mV on channel 4 .* -5000 to 5000 mV"):
            await epc.set_voltages_mv((0, 0, 0, voltage_mv))
        with pytest.raises(Refused, match=f"{voltage_mv} mV"):
            await epc.set_voltage_mv(4, voltage_mv)


async def test_channels_and_voltages_that_it_does_not_have_are_the_callers_fault():
    with expect() as wire:
        epc = OzOpticsEpc(wire)
        for channel in (0, 5, -1):
            with pytest.raises(ValueError, match=f"channel {channel}"):
                await epc.set_voltage_mv(channel, 0)
        for voltages_mv in ((), (0, 0, 0), (0, 0, 0, 0, 0)):
            with pytest.raises(ValueError, match="voltages for the 4 channels"):
                await epc.set_voltages_mv(voltages_mv)


async def test_an_error_is_refused_with_its_words_and_leaves_us_in_step(autojump_clock):
    with expect(
        *GREETING,
        (b"V1,100\r\n", b"Unknown command\r\nError!\r\n"),
        says("V1,200", "Set CH1 DC Voltage at: 200mV"),
    ) as wire:
        epc = OzOpticsEpc(wire)
        with pytest.raises(Refused, match=r"'V1,100' refused: Unknown command Error!"):
            await epc.set_voltage_mv(1, 100)
        await epc.set_voltage_mv(1, 200)


async def test_a_voltage_that_was_not_taken_is_refused_with_both(autojump_clock):
    with (
        expect(*GREETING, says("V2,4000", "Set CH2 DC Voltage at: 3500mV")) as wire,
        pytest.raises(Refused, match=r"4000 mV on channel 2, it took 3500 mV"),
    ):
        await OzOpticsEpc(wire).set_voltage_mv(2, 4000)


@pytest.mark.parametrize(("on", "mode"), [(True, "AC"), (False, "DC")])
async def test_scrambling_goes_on_and_off(autojump_clock, on, mode):
    with expect(
        *GREETING, says(f"M{mode}", f"Set To {mode} Mode"), says("M?", f"Work Mode: {mode}(Sine)")
    ) as wire:
        await OzOpticsEpc(wire).set_scrambling(on)


async def test_a_mode_that_stays_is_refused(autojump_clock):
    with (
        expect(*GREETING, says("MAC", "Set To AC Mode"), says("M?", "Work Mode: DC")) as wire,
        pytest.raises(Refused, match="told MAC, it holds on"),
    ):
        await OzOpticsEpc(wire).set_scrambling(on=True)


@pytest.mark.parametrize("late_by_s", [0.05, 0.5])
async def test_a_late_answer_is_never_taken_for_the_next_one(autojump_clock, late_by_s):
    """Late while the driver drains, and late after it asked again."""
    other = "Voltage(mV): CH1 +0000 CH2 +0000 CH3 +0000 CH4 +0000"
    with expect(
        *GREETING,
        says("V?", VOLTAGES),
        (b"V?\r\n", b""),
        (b"\r\n", b""),
        *GREETING[1:],
        says("M?", "Work Mode: DC"),
        says("V?", VOLTAGES),
    ) as wire:
        epc = OzOpticsEpc(wire)
        await epc.identity()
        with pytest.raises(NoReply, match=r"'V\?' not answered within 1 s"):
            await epc.identity()

        async def speak_late() -> None:
            await trio.sleep(late_by_s)
            wire.say(f"{other}\r\nDone\r\n".encode())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak_late)
            assert (await epc.status()).voltages_mv == (2200, 5000, -1000, -4000)


async def test_an_answer_cut_by_a_cancel_is_not_mistaken_later(autojump_clock):
    with expect(
        *GREETING,
        (b"V1,100\r\n", b"Set CH1 DC Vol"),
        (b"\r\n", b""),
        *GREETING[1:],
        says("V1,200", "Set CH1 DC Voltage at: 200mV"),
    ) as wire:
        epc = OzOpticsEpc(wire)
        with trio.move_on_after(1.2) as scope:
            await epc.set_voltage_mv(1, 100)
        assert scope.cancelled_caught
        wire.say(b"tage at: 100mV\r\nDone\r\n")
        await epc.set_voltage_mv(1, 200)


async def test_pieces_do_not_matter(autojump_clock):
    whole = f"{VOLTAGES}\r\nDone\r\n".encode()
    pieces = tuple(whole[n : n + 1] for n in range(len(whole)))
    with expect(*GREETING, (b"V?\r\n", pieces)) as wire:
        await OzOpticsEpc(wire).identity()


async def test_half_an_answer_is_no_reply(autojump_clock):
    with expect(*GREETING, (b"V?\r\n", b"Voltage(mV): CH1 +22")) as wire, pytest.raises(NoReply):
        await OzOpticsEpc(wire).identity()


@pytest.mark.parametrize(
    "garbage",
    [
        b"Voltage(mV): CH1 +2200 CH2 +5000 CH3 -1000\r\nDone\r\n",
        b"Voltage(mV): CH1 +1 CH1 +1 CH1 +1 CH1 +1\r\nDone\r\n",
        b"Voltage(mV): CH1 two CH2 +1 CH3 +1 CH4 +1\r\nDone\r\n",
        b"Voltage(mV): CH1 +1 CH2 +1 CH3 +1 CH4 +123456\r\nDone\r\n",
        b"Voltage(mV): CH1 +1 CH2 +1 CH3 +1 CH4 +" + 4_000 * b"9" + b"\r\nDone\r\n",
        b"Work Mode: DC\r\nDone\r\n",
        b"Done\r\n",
        b"\xff\xfe\r\nDone\r\n",
        VOLTAGES.encode() + b"\r\n" + VOLTAGES.encode() + b"\r\nDone\r\n",
        VOLTAGES.encode() + b"\r\n",
    ],
)
async def test_a_garbled_answer_is_a_bad_reply(autojump_clock, garbage):
    with expect(*GREETING, (b"V?\r\n", garbage)) as wire, pytest.raises(BadReply):
        await OzOpticsEpc(wire).identity()


async def test_endless_garbage_ends_in_a_bad_reply(autojump_clock):
    with (
        expect(*GREETING, (b"V?\r\n", b"\xff" * 5000)) as wire,
        pytest.raises(BadReply, match="over 4096 bytes"),
    ):
        await OzOpticsEpc(wire).identity()


async def test_another_device_is_named_together_with_the_one_expected(autojump_clock):
    with (
        expect((b"\r\n", b""), (b"M?\r\n", b"ERROR: command unknown\r\n")) as wire,
        pytest.raises(BadReply, match=r"expected an EPC, but \['ERROR: command unknown'\] answers"),
    ):
        await OzOpticsEpc(wire).identity()


async def test_an_epc_that_is_gone_says_so_at_once(autojump_clock):
    with expect((b"\r\n", Gone)) as wire, pytest.raises(NoReply, match="unplugged"):
        await OzOpticsEpc(wire).identity()


async def test_two_tasks_never_interleave_their_commands(autojump_clock):
    with expect(
        *GREETING, (b"V1,100\r\n", b""), says("V2,200", "Set CH2 DC Voltage at: 200mV")
    ) as wire:
        epc = OzOpticsEpc(wire)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(epc.set_voltage_mv, 1, 100)
            await trio.sleep(1.0)
            nursery.start_soon(epc.set_voltage_mv, 2, 200)
            await trio.sleep(0.1)
            wire.say(b"Set CH1 DC Voltage at: 100mV\r\nDone\r\n")


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_an_instrument_error(data):
    """Whatever is answered to each command, the driver ends, and ends in its own words."""

    class Babbler(ScriptedTransport):
        async def send(self, sent: bytes) -> None:
            await trio.lowlevel.checkpoint()
            if sent != b"\r\n":
                self.say(data)

    async def talk() -> None:
        try:
            await OzOpticsEpc(Babbler()).identity()
        except InstrumentError:
            return
        raise AssertionError(f"{data!r} was taken for voltages")

    trio.run(talk, clock=trio.testing.MockClock(autojump_threshold=0))
