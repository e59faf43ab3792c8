"""Conversations with an 8156A."""

import pytest
import trio

from drivers.attenuator import Identity
from drivers.attenuator.agilent_8156a import Agilent8156A
from drivers.errors import BadReply, NoReply, Refused
from drivers.transports.scripted import expect

OK = (b"SYST:ERR?\n", b'0,"No error"\n')
IDN = (b"*IDN?\n", b"HEWLETT-PACKARD,HP8156A,3328G00123,1.02\n")


async def test_identity_is_the_idn_string(autojump_clock):
    with expect(IDN) as wire:
        identity = await Agilent8156A(wire).identity()
    assert identity == Identity(model="HP8156A", serial="3328G00123", firmware="1.02")


async def test_setting_waits_until_the_motor_has_arrived(autojump_clock):
    moving = (b":STAT:OPER:COND?\n", b"+2\n")
    with expect(
        (b":INP:ATT 12.346\n", b""),
        OK,
        moving,
        moving,
        (b":STAT:OPER:COND?\n", b"0\n"),
        (b":INP:ATT?\n", b"1.23460000E+001\n"),
    ) as wire:
        await Agilent8156A(wire).set_loss_db(12.3456)


async def test_other_bits_of_the_status_do_not_hold_it_up(autojump_clock):
    with expect(
        (b":INP:ATT 3.000\n", b""),
        OK,
        (b":STAT:OPER:COND?\n", b"8\n"),
        (b":INP:ATT?\n", b"3.000\n"),
    ) as wire:
        await Agilent8156A(wire).set_loss_db(3)


async def test_out_of_range_is_refused_with_every_entry_of_the_queue(autojump_clock):
    with (
        expect(
            (b":INP:ATT 90.000\n", b""),
            (b"SYST:ERR?\n", b'-222,"Data out of range"\n'),
            (b"SYST:ERR?\n", b'-113,"Undefined header"\n'),
            OK,
        ) as wire,
        pytest.raises(Refused, match=r"-222,.*-113,"),
    ):
        await Agilent8156A(wire).set_loss_db(90)


async def test_a_motor_that_never_arrives_is_no_reply(autojump_clock):
    class Stuck:
        """Settles never; everything else is fine."""

        def __init__(self) -> None:
            self.answer = b""

        async def send(self, data: bytes) -> None:
            self.answer += {b"SYST:ERR?\n": b'+0,"No error"\n', b":STAT:OPER:COND?\n": b"2\n"}.get(
                data, b""
            )

        async def receive_some(self, max_bytes: int = 65536) -> bytes:
            await trio.lowlevel.checkpoint()
            answer, self.answer = self.answer, b""
            return answer

        async def aclose(self) -> None: ...

    with pytest.raises(NoReply, match="still moving after 10 s"):
        await Agilent8156A(Stuck()).set_loss_db(1)
    assert trio.current_time() > 0


async def test_an_attenuator_that_stops_elsewhere_is_refused(autojump_clock):
    with (
        expect(
            (b":INP:ATT 5.000\n", b""),
            OK,
            (b":STAT:OPER:COND?\n", b"0\n"),
            (b":INP:ATT?\n", b"4.5\n"),
        ) as wire,
        pytest.raises(Refused, match=r"asked for 5\.000 dB, it is at 4\.500 dB"),
    ):
        await Agilent8156A(wire).set_loss_db(5)


@pytest.mark.parametrize(("open_", "word", "state"), [(True, b"ON", b"1"), (False, b"OFF", b"0")])
async def test_the_shutter_is_set_and_looked_at(autojump_clock, open_, word, state):
    with expect((b":OUTP " + word + b"\n", b""), OK, (b":OUTP?\n", state + b"\n")) as wire:
        await Agilent8156A(wire).set_shutter(open=open_)


async def test_a_shutter_that_stays_closed_is_refused(autojump_clock):
    with (
        expect((b":OUTP ON\n", b""), OK, (b":OUTP?\n", b"0\n")) as wire,
        pytest.raises(Refused, match="stays closed"),
    ):
        await Agilent8156A(wire).set_shutter(open=True)


@pytest.mark.parametrize("loss_db", [float("nan"), float("inf")])
async def test_an_impossible_loss_never_reaches_the_instrument(loss_db):
    with expect() as wire, pytest.raises(ValueError, match="attenuation"):
        await Agilent8156A(wire).set_loss_db(loss_db)


@pytest.mark.parametrize("garbage", [b"\n", b"twelve\n", b"nan\n", b"\xff\xfe\n"])
async def test_a_garbled_number_is_a_bad_reply_and_the_next_query_finds_its_step(
    autojump_clock, garbage
):
    with expect(
        (b":INP:ATT?\n", garbage),
        (b"\n", b""),
        IDN,
        (b":INP:ATT?\n", b"7.5\n"),
    ) as wire:
        attenuator = Agilent8156A(wire)
        with pytest.raises(BadReply):
            await attenuator.loss_db()
        assert await attenuator.loss_db() == 7.5


@pytest.mark.parametrize("late_by_s", [0.1, 0.45])
async def test_a_late_reply_is_never_taken_for_the_next_one(autojump_clock, late_by_s):
    with expect((b":INP:ATT?\n", b""), (b"\n", b""), IDN, (b":INP:ATT?\n", b"7.5\n")) as wire:
        attenuator = Agilent8156A(wire)
        with pytest.raises(NoReply, match=r"no reply to ':INP:ATT\?' within 2 s"):
            await attenuator.loss_db()

        async def speak_late() -> None:
            await trio.sleep(late_by_s)
            wire.say(b"1.0\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak_late)
            assert await attenuator.loss_db() == 7.5


async def test_a_late_identity_is_not_taken_for_the_marker_of_the_next(autojump_clock):
    with expect((b"*IDN?\n", b""), (b"\n", b""), IDN, (b":INP:ATT?\n", b"7.5\n")) as wire:
        attenuator = Agilent8156A(wire)
        with pytest.raises(NoReply):
            await attenuator.identity()

        async def speak_late() -> None:
            await trio.sleep(0.4)  # after the marker has been answered
            wire.say(IDN[1])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak_late)
            assert await attenuator.loss_db() == 7.5


async def test_a_cancelled_query_leaves_nothing_for_the_next(autojump_clock):
    with expect((b":INP:ATT?\n", b""), (b"\n", b""), IDN, (b":OUTP?\n", b"1\n")) as wire:
        attenuator = Agilent8156A(wire)
        with trio.move_on_after(0.1):
            await attenuator.loss_db()
        wire.say(b"0.0\n")
        assert await attenuator.shutter_open()


async def test_replies_in_pieces_are_one_reply(autojump_clock):
    with expect((b":INP:ATT?\n", (b"1", b"2.", b"5\r", b"\n"))) as wire:
        assert await Agilent8156A(wire).loss_db() == 12.5


async def test_two_tasks_never_interleave_set_and_error_query(autojump_clock):
    with expect(
        (b":OUTP OFF\n", b""),
        (b"SYST:ERR?\n", b""),
        (b":INP:ATT?\n", b"1.0\n"),
        (b":OUTP?\n", b"0\n"),
    ) as wire:
        attenuator = Agilent8156A(wire)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: attenuator.set_shutter(open=False))
            await trio.sleep(0.1)
            nursery.start_soon(attenuator.loss_db)
            await trio.sleep(0.1)
            wire.say(b'0,"No error"\n')
