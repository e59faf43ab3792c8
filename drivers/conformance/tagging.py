"""What every time tagger must do."""

import numpy as np
import trio

from drivers.conformance.demands import CALL_TIMEOUT_S, CUT_AFTER_S, check_identity, demand, refuses
from drivers.tags import TagBlock
from drivers.timetagger import TimeTagger

READ_TIMEOUT_S = 3.0


async def check_time_tagger(tagger: TimeTagger, *, seconds: float = 1.0) -> TagBlock:
    """Check a time tagger, lit or dark; returns all the tags of its last acquisition."""
    await check_identity(tagger.identity)
    with trio.fail_after(2 * (seconds + CALL_TIMEOUT_S)):
        await _acquire(tagger, seconds=0.1)
        return await _acquire(tagger, seconds=seconds)


async def _acquire(tagger: TimeTagger, *, seconds: float) -> TagBlock:
    blocks: list[TagBlock] = []
    await tagger.start()
    try:
        await refuses(tagger.start(), RuntimeError, "a second start")
        start_s = trio.current_time()
        while trio.current_time() - start_s < seconds:
            with trio.move_on_after(CUT_AFTER_S):
                blocks.append(await tagger.read())
            with trio.fail_after(READ_TIMEOUT_S):  # dark or not, time goes on
                blocks.append(await tagger.read())
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            blocks.append(await tagger.stop())
    return _check_blocks(blocks)


def _check_blocks(blocks: list[TagBlock]) -> TagBlock:
    until_ps = -1
    for block in blocks:
        times_ps = block.times_ps
        demand(times_ps.size == block.channels.size, "not one channel for each time")
        demand(bool(np.all(np.diff(times_ps) >= 0)), "times fall inside a block")
        if times_ps.size:
            demand(int(times_ps[0]) >= until_ps, "times fall from one block to the next")
            demand(int(times_ps[-1]) <= block.until_ps, "a tag behind the block's own end")
            demand(int(block.channels.min()) >= 1, "channels count from 1")
        demand(block.until_ps >= until_ps, "until_ps falls")
        until_ps = block.until_ps
    return TagBlock(
        times_ps=np.concatenate([block.times_ps for block in blocks]),
        channels=np.concatenate([block.channels for block in blocks]),
        until_ps=until_ps,
        lost=any(block.lost for block in blocks),
    )
