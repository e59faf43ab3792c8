"""Bob's end of distillation: each block that has ended, from clicks to committed key."""

import contextlib
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
import trio

from qkdd.amplify.messages import AmplifySeed
from qkdd.amplify.seed import SeedReceiver
from qkdd.base.bits import Bits
from qkdd.daemon.block_mail import BlockGone, BlockMail
from qkdd.daemon.distil import (
    Ties,
    Work,
    block_facts,
    bound_length,
    check_reconciled,
    hash_block,
)
from qkdd.daemon.watchman import Watchman
from qkdd.reconcile.ends import OF_ALICE, bob_end
from qkdd.sift.block import SiftedBlock
from qkdd.sift.bob import BobSifter
from qkdd.sift.messages import Kept
from qkdd.watch.sight import Tally

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EndedBlock:
    """A block whose last pulse has arrived; its clicks are closed."""

    index: int
    sifter: BobSifter
    tally: Tally
    began_s: float
    ended_s: float
    """By the loop's clock, when it was read."""


class Vouches(Protocol):
    """Who knows what the detectors were in a time."""

    async def vouch(self, start_s: float, end_s: float, /) -> str | None:
        """Wait until it is known; return why a block of this time must not make key, or None."""


def wipe_waiting(blocks: trio.MemoryReceiveChannel[EndedBlock]) -> None:
    """Wipe what nobody will distil any more: the session is over."""
    with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            blocks.receive_nowait().sifter.wipe()


class BobDistiller:
    """Takes ended blocks one by one; everything it needs comes in by argument."""

    def __init__(self, ties: Ties, watchman: Watchman, detectors: Vouches | None = None) -> None:
        self._ties = ties
        self._detectors = detectors
        self._watchman = watchman

    async def run(self, blocks: trio.MemoryReceiveChannel[EndedBlock]) -> None:
        """Distil until ``blocks`` ends. A block that fails is wiped, told to Alice, and gone."""
        async for block in blocks:
            try:
                await self._distil(block)
            except BlockGone as gone:
                await self._ties.give_up(block.sifter.block_no, gone)
            finally:
                block.sifter.wipe()

    async def _distil(self, block: EndedBlock) -> None:
        sifter = block.sifter
        work = Work(sifter.block_no, block.index, sifter.n_clicks)
        mail = BlockMail(self._ties.mailbox, work.block_no)
        await self._ties.send_each(sifter.announce())
        await self._ties.desk.begin_block()
        sifted = None
        while sifted is None:
            sifted = await self._ties.compute(sifter.receive, await mail.get(Kept))
        try:
            await self._trust_detectors(block)
            self._watchman.judge(block.tally, sifted.counts, block.index)
            await self._ties.send(sifter.errors())
            await self._reconcile(sifted, block, work, mail)
        finally:
            sifted.wipe()

    async def _trust_detectors(self, block: EndedBlock) -> None:
        """Raise BlockGone if the detectors were not all the time what the proof takes them for."""
        if self._detectors is None:
            return
        reason = await self._detectors.vouch(block.began_s, block.ended_s)
        if reason is not None:
            raise BlockGone(reason)

    async def _reconcile(
        self, sifted: SiftedBlock, block: EndedBlock, work: Work, mail: BlockMail
    ) -> None:
        settings, counts = self._ties.settings, sifted.counts
        machine = bob_end(
            work.block_no, sifted.key_bits, sifted.key_intensities, settings.reconcile
        )
        while machine.result is None:
            message = await mail.get(*OF_ALICE[settings.reconcile.method])
            answers = await self._ties.compute(machine.receive, message)
            if machine.result is not None and machine.result.ok:
                counts = replace(sifted.counts, key_errors=machine.result.key_errors)
                self._watchman.judge(block.tally, counts, block.index)  # while Alice still listens
            for answer in answers:
                await self._ties.send(answer)
        reconciled = machine.result
        check_reconciled(reconciled)
        length = await self._ties.compute(bound_length, counts, reconciled, settings, work)
        auth_bytes = 0
        if length.n_out:
            auth_bytes = await self._amplify(mail, work, reconciled.bits, length.n_out)
        self._ties.report(block_facts(work, counts, reconciled, length, settings, 16 * auth_bytes))

    async def _amplify(self, mail: BlockMail, work: Work, bits: Bits, n_out: int) -> int:
        seed = SeedReceiver(work.block_no, bits.size, n_out)
        while not seed.complete:
            seed.receive(await mail.get(AmplifySeed))
        key = await self._ties.compute(hash_block, bits, seed.seed, n_out)
        if not await self._ties.desk.commit_block(work, key, seed.auth_bytes):
            raise BlockGone("the peer did not commit it")
        return seed.auth_bytes
