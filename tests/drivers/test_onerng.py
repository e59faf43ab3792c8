"""Conversations with a OneRNG, from its documentation."""

import contextlib

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from drivers.entropy.onerng import NOISE_TIMEOUT_S, OneRng
from drivers.errors import BadReply, InstrumentError, NoReply
from drivers.identity import Identity
from drivers.transports.scripted import Gone, ScriptedTransport, expect

ASK = b"cmd4\ncmdw\ncmdv\ncmdO\n"
START = b"cmd1\ncmdw\ncmdO\n"


async def test_it_is_known_by_its_version(autojump_clock):
    with expect(
        (b"cmdo\n", b""), (ASK, (b"\r\nVer", b"sion 3\r", b"\n")), (b"cmdo\n", b"")
    ) as wire:
        assert await OneRng(wire).identity() == Identity("OneRNG", "", "3")


async def test_noise_that_was_on_its_way_is_no_version(autojump_clock):
    noise = (b"\x01\xfe" * 40, b"\x77" * 64)
    with expect((b"cmdo\n", noise), (ASK, b"\r\nVersion 2\r\n"), (b"cmdo\n", b"")) as wire:
        assert (await OneRng(wire).identity()).firmware == "2"


async def test_packets_of_an_emptied_pool_behind_the_version_do_not_hide_it(autojump_clock):
    """They come without an end, and all at once where the host is slow."""
    answer = b"\r\nVersion 3\r\n" + bytes(5_000)
    with expect((b"cmdo\n", b""), (ASK, answer), (b"cmdo\n", b"")) as wire:
        assert (await OneRng(wire).identity()).firmware == "3"


async def test_another_device_is_refused(autojump_clock):
    script = ((b"cmdo\n", b""), (ASK, b"ERROR 2\r\n"), (b"cmdo\n", b""))
    with expect(*script) as wire, pytest.raises(BadReply, match=r"a OneRNG, but .*ERROR 2"):
        await OneRng(wire).identity()


async def test_silence_is_no_reply(autojump_clock):
    script = ((b"cmdo\n", b""), (ASK, b""), (b"cmdo\n", b""))
    with expect(*script) as wire, pytest.raises(NoReply, match="no reply to b'cmdv"):
        await OneRng(wire).identity()


async def test_it_sends_raw_noise_until_it_is_stopped(autojump_clock):
    with expect(
        (b"cmdo\n", b""), (START, (b"\x5a" * 64, b"\xa5" * 64)), (b"cmdo\n", b"rest")
    ) as wire:
        source = OneRng(wire)
        await source.start()
        assert await source.read() == b"\x5a" * 64
        assert await source.read() == b"\xa5" * 64
        await source.stop()


async def test_a_source_that_stops_sending_is_told_with_its_cure(autojump_clock):
    with expect((b"cmdo\n", b""), (START, b"")) as wire:
        source = OneRng(wire)
        await source.start()
        before_s = trio.current_time()
        with pytest.raises(NoReply, match=r"no noise for 5 s; .*replace it"):
            await source.read()
        assert trio.current_time() - before_s == NOISE_TIMEOUT_S


async def test_a_source_that_is_unplugged_is_gone(autojump_clock):
    with expect((b"cmdo\n", b""), (START, Gone)) as wire:
        source = OneRng(wire)
        await source.start()
        with pytest.raises(NoReply):
            await source.read()


@given(st.binary(max_size=200))
def test_no_answer_breaks_the_driver(answer: bytes) -> None:
    async def ask() -> None:
        wire = ScriptedTransport((b"cmdo\n", b""), (ASK, answer), (b"cmdo\n", b""))
        with contextlib.suppress(InstrumentError):
            await OneRng(wire).identity()

    trio.run(ask, clock=trio.testing.MockClock(autojump_threshold=0))
