"""Blocks that wait at the transmitter for the receiver's clicks."""

import pytest
import trio
import trio.testing

from qkdd.base.choices import ChoiceSource
from qkdd.base.ids import BlockNo
from qkdd.base.light import Intensities
from qkdd.base.secret import Secret
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.distil_alice import MAX_BLOCKS_WAITING, SentBlock, SentBlocks


def a_block(index: int) -> SentBlock:
    return SentBlock(index, ChoiceSource(Secret.from_bytes(bytes(32)), Intensities()))


async def test_a_block_that_has_been_given_up_is_refused_without_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where distillation is slow each such wait would make it slower."""
    sent = SentBlocks()
    for number in range(MAX_BLOCKS_WAITING + 1):
        sent.add(BlockNo(number), a_block(number))
    with pytest.raises(BlockGone):
        await sent.take(BlockNo(0))
    assert trio.current_time() == 0.0
    assert (await sent.take(BlockNo(1))).index == 1


async def test_a_block_that_has_not_been_sent_to_its_end_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sent = SentBlocks()
    sent.add(BlockNo(0), a_block(0))
    async with trio.open_nursery() as nursery:

        async def send_the_next() -> None:
            await trio.sleep(1.0)
            sent.add(BlockNo(1), a_block(1))

        nursery.start_soon(send_the_next)
        assert (await sent.take(BlockNo(1))).index == 1
    with pytest.raises(BlockGone):
        await sent.take(BlockNo(2))
