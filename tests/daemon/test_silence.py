"""A neighbour that says nothing is named; one that is excused is not, and our own delay neither."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from qkdd.base.errors import LinkLost
from qkdd.daemon.block_mail import SILENCE_S
from qkdd.daemon.silence import SILENT_S, Silence, within
from qkdd.daemon.status import LinkStatus, in_one_line


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Silence, LinkStatus]]:
    status = LinkStatus(name="a-b", peer="relay-b", role="transmitter")
    silence = Silence(status)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(silence.run)
        await trio.testing.wait_all_tasks_blocked()
        yield silence, status
        nursery.cancel_scope.cancel()
    assert status.silence is None


async def test_who_owes_nothing_may_be_silent_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with watched() as (silence, status):
        await trio.sleep(10_000.0)
        silence.expect("a word")
        await trio.sleep(SILENT_S)
        silence.settle("a word")
        await trio.sleep(10_000.0)
        assert status.silence is None


async def test_a_word_that_is_due_is_named_within_a_beat_of_its_time_and_before_other_reasons(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with watched() as (silence, status):
        status.enter("dark", "no light")
        silence.expect("a word")
        await trio.sleep(SILENT_S)
        assert status.why == "no light"
        await trio.sleep(1.1)
        said = f"relay-b says nothing: a word is due for over {SILENT_S:g} s"
        assert status.why == f"{said}; no light"
        assert in_one_line([status]) == f"a-b dark ({said}; no light)"
        silence.heard()
        assert status.why == "no light"
        await trio.sleep(SILENT_S + 2.0)
        assert status.silence == said
        silence.expect("a word")  # it is not due afresh
        assert status.silence == said
        silence.settle("a word")
        assert status.silence is None


async def test_any_word_counts_and_each_has_its_own_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with watched() as (silence, status):
        silence.expect("a rare word", 100.0)
        silence.expect("a word")
        for _ in range(10):
            await trio.sleep(SILENT_S - 1.0)
            silence.heard()
        silence.settle("a word")
        await trio.sleep(99.0)
        assert status.silence is None
        await trio.sleep(3.0)
        assert "a rare word is due for over 100 s" in str(status.silence)


async def test_a_neighbour_that_can_have_no_reason_is_given_up_after_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With no block in work nobody else would end the session of a relay that hangs."""
    status = LinkStatus(name="a-b", peer="relay-b", role="transmitter")
    silence = Silence(status)
    silence.expect("a run", patient=True)
    with trio.move_on_after(10 * SILENCE_S) as scope:
        await silence.run()
    assert scope.cancelled_caught
    began_s = trio.current_time()
    silence.expect("a report")
    with pytest.raises(LinkLost, match="the peer has said nothing for 60 s, and a report is due"):
        await silence.run()
    assert SILENCE_S < trio.current_time() - began_s < SILENCE_S + 2.0


async def test_a_host_that_was_away_itself_blames_nobody(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with watched() as (silence, status):
        silence.expect("a word")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(60.0)
        await trio.testing.wait_all_tasks_blocked()
        assert status.silence is None
        for _ in range(int(SILENT_S) + 2):
            mock_clock.jump(1.0)
            await trio.testing.wait_all_tasks_blocked()
        assert status.silence is not None


async def test_what_takes_too_long_says_what_and_how_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with within(1.0, "session"):
        await trio.sleep(0.9)
    said = "no session within 1 s: the neighbour hangs"
    with pytest.raises(LinkLost, match=said), within(1.0, "session"):
        await trio.sleep(2.0)
