"""Mailboxes sort what the peer says; the mail of a block knows which block it is about."""

import pytest
import trio

from qkdd.base.errors import LinkLost, PeerError
from qkdd.base.ids import BlockNo
from qkdd.daemon.block_mail import SILENCE_S, BlockGone, BlockMail
from qkdd.daemon.mailbox import QUEUE_MESSAGES, Mailbox, Sorter
from qkdd.sift.messages import Kept, TestErrors
from qkdd.station.messages import BlockVoid, RunLost, RunReady


def errors(block_no: int) -> TestErrors:
    return TestErrors(block_no=block_no, errors=(0, 0, 0))


async def test_each_listener_gets_its_types_in_order() -> None:
    runs, blocks = Mailbox(RunReady, RunLost), Mailbox(TestErrors)
    sorter = Sorter([runs, blocks])
    for message in (RunReady(run=1), errors(7), RunLost(run=1, reason="x"), errors(8)):
        await sorter.put(message)
    assert [await blocks.get(TestErrors) for _ in range(2)] == [errors(7), errors(8)]
    assert isinstance(await runs.any(), RunReady)
    assert (await runs.get(RunLost)).reason == "x"


async def test_what_nobody_awaits_is_the_peers_fault() -> None:
    with pytest.raises(PeerError, match="RunReady, which nobody here awaits"):
        await Sorter([Mailbox(RunLost)]).put(RunReady(run=1))


async def test_another_type_than_is_due_is_the_peers_fault() -> None:
    runs = Mailbox(RunReady, RunLost)
    await runs.put(RunReady(run=1))
    with pytest.raises(PeerError, match="RunReady where RunLost was due"):
        await runs.get(RunLost)


async def test_a_full_mailbox_makes_the_peer_wait_and_loses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    runs = Mailbox(RunReady)
    n_put = 0

    async def put() -> None:
        nonlocal n_put
        for number in range(3 * QUEUE_MESSAGES):
            await runs.put(RunReady(run=number))
            n_put += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        await trio.testing.wait_all_tasks_blocked()
        assert n_put == QUEUE_MESSAGES
        heard = [(await runs.get(RunReady)).run for _ in range(3 * QUEUE_MESSAGES)]
    assert heard == list(range(3 * QUEUE_MESSAGES))


async def test_late_words_about_earlier_blocks_are_passed_over() -> None:
    mailbox = Mailbox(TestErrors, BlockVoid)
    for message in (errors(5), BlockVoid(block_no=6, reason="x"), errors(7)):
        await mailbox.put(message)
    assert await BlockMail(mailbox, BlockNo(7)).get(TestErrors) == errors(7)


async def test_a_block_that_is_not_due_is_the_peers_fault() -> None:
    mailbox = Mailbox(TestErrors)
    await mailbox.put(errors(8))
    with pytest.raises(PeerError, match="block 8 while block 7 is in work"):
        await BlockMail(mailbox, BlockNo(7)).get(TestErrors)


async def test_a_block_that_the_peer_gives_up_is_gone() -> None:
    mailbox = Mailbox(BlockVoid)
    await mailbox.put(BlockVoid(block_no=7, reason="its light was cut"))
    with pytest.raises(BlockGone, match="its light was cut"):
        await BlockMail(mailbox, BlockNo(7)).get(TestErrors)


async def test_a_wrong_word_about_the_block_is_the_peers_fault() -> None:
    mailbox = Mailbox(TestErrors)
    await mailbox.put(errors(7))
    with pytest.raises(PeerError, match="TestErrors where Kept was due"):
        await BlockMail(mailbox, BlockNo(7)).get(Kept)


async def test_a_peer_that_says_nothing_more_about_a_block_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mailbox = Mailbox(TestErrors)
    await mailbox.put(errors(6))
    begin_s = trio.current_time()
    with pytest.raises(LinkLost, match="nothing about block 7"), trio.fail_after(2 * SILENCE_S):
        await BlockMail(mailbox, BlockNo(7)).get(TestErrors)
    assert trio.current_time() - begin_s == pytest.approx(SILENCE_S)
