"""Conversations with a CTL200, as its users recorded them: echo, one line, prompt."""

import pytest
import trio

from drivers.errors import BadReply, NoReply, Refused
from drivers.laser import Identity
from drivers.laser.koheron_ctl200 import KoheronCtl200
from drivers.transports.scripted import Gone, expect

GREETING = (
    (b"\r\n", b"\r\n>>"),
    (b"version\r\n", b"version\r\nV0.21\r\n>>"),
    (b"model\r\n", b"model\r\nCTL200-0-A-200\r\n>>"),
)

CLEARED = (b"errclr\r\n", b"errclr\r\n>>")


def says(command: str, value: str) -> tuple[bytes, bytes]:
    return (f"{command}\r\n".encode(), f"{command}\r\n{value}\r\n>>".encode())


async def test_identity_is_three_commands(autojump_clock):
    with expect(
        *GREETING, says("model", "CTL200-0-A-200"), says("serial", "0042"), says("version", "V0.21")
    ) as wire:
        identity = await KoheronCtl200(wire).identity()
    assert identity == Identity(model="CTL200-0-A-200", serial="0042", firmware="V0.21")


async def test_status_reads_eight_numbers_current_and_errors(autojump_clock):
    with expect(
        *GREETING,
        says("status", "1 1.832 0.120 0.400 9998.2 0.731 0.001 0.002"),
        says("ilaser", "236.000"),
        says("err", "0"),
    ) as wire:
        status = await KoheronCtl200(wire).status()
    assert status.on
    assert (status.current_ma, status.diode_v) == (236.0, 1.832)
    assert (status.monitor_ma, status.thermistor_ohm) == (0.731, 9998.2)
    assert status.errors == ()


async def test_error_bits_have_names_and_talk_errors_are_cleared_not_shown(autojump_clock):
    status_line = says("status", "0 0 0 0 1000000 0 0 0")
    with expect(
        *GREETING,
        status_line,
        says("ilaser", "0.000"),
        says("err", "88"),
        status_line,
        says("ilaser", "0.000"),
        says("err", "12"),
        (b"errclr\r\n", b"errclr\r\n>>"),
    ) as wire:
        laser = KoheronCtl200(wire)
        assert (await laser.status()).errors == ("laser over-temperature", "interlock triggered")
        assert (await laser.status()).errors == ()


async def test_current_is_set_and_read_back(autojump_clock):
    with expect(*GREETING, says("ilaser 150.000", "150.000")) as wire:
        await KoheronCtl200(wire).set_current_ma(150)


async def test_a_current_over_the_limit_is_refused_with_value_and_reason(autojump_clock):
    with (
        expect(
            *GREETING,
            says("ilaser 900.000", "236.000"),
            says("err", "20"),
            (b"errclr\r\n", b"errclr\r\n0\r\n>>"),
        ) as wire,
        pytest.raises(Refused, match=r"900\.000 mA.*236\.000 mA: invalid argument"),
    ):
        await KoheronCtl200(wire).set_current_ma(900)


@pytest.mark.parametrize("current_ma", [-1.0, float("nan"), float("inf")])
async def test_an_impossible_current_never_reaches_the_laser(current_ma):
    with expect() as wire, pytest.raises(ValueError, match="laser current"):
        await KoheronCtl200(wire).set_current_ma(current_ma)


async def test_an_open_interlock_is_refused_by_name(autojump_clock):
    with (
        expect(
            *GREETING,
            says("lason", "0"),
            CLEARED,
            says("lason 1", "0"),
            says("lason", "0"),
            says("err", "C0"),
        ) as wire,
        pytest.raises(Refused, match=r"stays off.*interlock is open, interlock triggered"),
    ):
        await KoheronCtl200(wire).set_output(on=True)


async def test_light_is_there_when_the_soft_start_is_over(autojump_clock):
    with expect(
        *GREETING,
        says("lason", "0"),
        CLEARED,
        says("lason 1", "1"),
        says("lason", "1"),
        says("ldelay", "2500"),
        says("lason", "1"),
    ) as wire:
        laser = KoheronCtl200(wire)
        await laser.set_output(on=True)
        assert trio.current_time() == pytest.approx(2.5 + 0.6)


async def test_an_interlock_that_opens_during_the_soft_start_is_refused(autojump_clock):
    with (
        expect(
            *GREETING,
            says("lason", "0"),
            CLEARED,
            says("lason 1", "1"),
            says("lason", "1"),
            says("ldelay", "10"),
            says("lason", "0"),
            says("err", "80"),
        ) as wire,
        pytest.raises(Refused, match="stays off: interlock triggered"),
    ):
        await KoheronCtl200(wire).set_output(on=True)


async def test_a_laser_that_is_on_need_not_start_softly(autojump_clock):
    with expect(
        *GREETING, says("lason", "1"), CLEARED, says("lason 1", "1"), says("lason", "1")
    ) as wire:
        await KoheronCtl200(wire).set_output(on=True)


async def test_output_goes_off(autojump_clock):
    with expect(*GREETING, says("lason 0", "0"), says("lason", "0")) as wire:
        await KoheronCtl200(wire).set_output(on=False)


async def test_nul_bytes_and_pieces_do_not_matter(autojump_clock):
    with expect(
        *GREETING, (b"ilaser 5.000\r\n", (b"\0ila", b"ser 5.0\x0000\r", b"\n5.000\r\n\0>", b">"))
    ) as wire:
        await KoheronCtl200(wire).set_current_ma(5)


async def test_what_an_earlier_owner_left_behind_is_thrown_away(autojump_clock):
    with expect(*GREETING, says("ilaser 5.000", "5.000")) as wire:
        wire.say(b"ser 7\r\n7.000\r\n>>")
        await KoheronCtl200(wire).set_current_ma(5)


@pytest.mark.parametrize("late_by_s", [0.05, 0.5])
async def test_a_late_reply_is_never_taken_for_the_next_one(autojump_clock, late_by_s):
    """Late while the driver drains, and late after it asked again."""
    with expect(
        *GREETING,
        (b"ilaser 5.000\r\n", b""),
        *GREETING,
        says("ilaser 5.000", "5.000"),
    ) as wire:
        laser = KoheronCtl200(wire)
        with pytest.raises(NoReply, match="not answered within 1 s"):
            await laser.set_current_ma(5)

        async def speak_late() -> None:
            await trio.sleep(late_by_s)
            wire.say(b"ilaser 5.000\r\n4.000\r\n>>")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak_late)
            await laser.set_current_ma(5)


async def test_a_reply_cut_by_a_cancel_is_not_mistaken_later(autojump_clock):
    with expect(*GREETING, (b"lason\r\n", b""), *GREETING, says("err", "0")) as wire:
        laser = KoheronCtl200(wire)
        with trio.move_on_after(1.0) as scope:
            await laser._ask("lason")
        assert scope.cancelled_caught
        wire.say(b"lason\r\n1\r\n>>")
        assert await laser._errors() == ()


async def test_half_a_reply_is_no_reply(autojump_clock):
    with (
        expect(*GREETING, (b"ilaser 5.000\r\n", b"ilaser 5.000\r\n5.0")) as wire,
        pytest.raises(NoReply),
    ):
        await KoheronCtl200(wire).set_current_ma(5)


async def test_unplugging_in_mid_reply_is_no_reply(autojump_clock):
    with expect(*GREETING, (b"model\r\n", b"model\r\nCTL")) as wire:
        laser = KoheronCtl200(wire)
        async with trio.open_nursery() as nursery:

            async def unplug() -> None:
                await trio.sleep(1.0)
                wire.unplug()

            nursery.start_soon(unplug)
            with pytest.raises(NoReply, match="unplugged"):
                await laser.identity()


async def test_a_laser_that_is_gone_says_so_at_once():
    with expect((b"\r\n", Gone)) as wire, pytest.raises(NoReply, match="unplugged"):
        await KoheronCtl200(wire).identity()


@pytest.mark.parametrize(
    "garbage", ["", "nonsense", "1 2 3", "1 2 3 4 5 6 7 eight", "7 0 0 0 0 0 0 0"]
)
async def test_a_garbled_status_is_a_bad_reply(autojump_clock, garbage):
    with expect(*GREETING, says("status", garbage)) as wire, pytest.raises(BadReply):
        await KoheronCtl200(wire).status()


async def test_endless_garbage_ends_in_a_bad_reply(autojump_clock):
    with (
        expect(*GREETING, (b"model\r\n", b"\xff" * 5000)) as wire,
        pytest.raises(BadReply, match="over 4096 bytes"),
    ):
        await KoheronCtl200(wire).identity()


async def test_two_tasks_never_interleave_their_commands(autojump_clock):
    with expect(
        *GREETING, says("lason 0", "0"), says("ilaser 5.000", "5.000"), says("lason", "0")
    ) as w:
        laser = KoheronCtl200(w)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: laser.set_output(on=False))
            await trio.sleep(0.1)
            nursery.start_soon(laser.set_current_ma, 5.0)


@pytest.mark.parametrize("taken", ["nan", "inf", "1e999", "twenty"])
async def test_a_current_that_is_no_number_is_not_taken_for_the_one_that_was_set(
    autojump_clock, taken
):
    with (
        expect(*GREETING, says("ilaser 20.000", taken)) as wire,
        pytest.raises(BadReply, match="no number"),
    ):
        await KoheronCtl200(wire).set_current_ma(20)


@pytest.mark.parametrize("delay", ["-1", "nan", "1e9", "inf"])
async def test_a_soft_start_that_no_device_has_is_not_waited_for(autojump_clock, delay):
    with (
        expect(
            *GREETING,
            says("lason", "0"),
            (b"errclr\r\n", b"errclr\r\n0\r\n>>"),
            says("lason 1", "1"),
            says("lason", "1"),
            says("ldelay", delay),
        ) as wire,
        pytest.raises(BadReply),
    ):
        await KoheronCtl200(wire).set_output(True)


@pytest.mark.parametrize("word", ["-1", "f" * 4_000, "1_0", ""])
async def test_an_error_word_that_is_none_is_not_read_bit_by_bit(autojump_clock, word):
    fields = "1 1.8 0.1 0.4 9998.2 0.7 0.001 0.002"
    with (
        expect(
            *GREETING, says("status", fields), says("ilaser", "20.000"), says("err", word)
        ) as wire,
        pytest.raises(BadReply),
    ):
        await KoheronCtl200(wire).status()
