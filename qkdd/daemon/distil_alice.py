"""Alice's end of distillation: she answers Bob's clicks from the seeds of blocks sent."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from qkdd.amplify.seed import seed_messages
from qkdd.base.bits import Bits
from qkdd.base.choices import ChoiceSource
from qkdd.base.counts import DecoyCounts
from qkdd.base.entropy import Entropy
from qkdd.base.ids import BlockNo
from qkdd.daemon.block_mail import BlockGone, BlockMail
from qkdd.daemon.distil import (
    Ties,
    Work,
    block_facts,
    bound_length,
    check_reconciled,
    hash_block,
)
from qkdd.daemon.snapshot import BlockFacts
from qkdd.reconcile.ends import OF_BOB, alice_end
from qkdd.sift.alice import AliceSifter
from qkdd.sift.block import SiftedBlock
from qkdd.sift.messages import Clicks, TestErrors
from qkdd.station.messages import BlockVoid

log = structlog.get_logger(__name__)

MAX_BLOCKS_WAITING = 4
END_OF_BLOCK_TIMEOUT_S = 3.0
MAX_AUTH_SHARE = 16
"""At most 1/16 of a block goes to the authentication of each direction."""


@dataclass(frozen=True, slots=True)
class SentBlock:
    """A block whose last pulse has left."""

    index: int
    choices: ChoiceSource
    doubt: str | None = None
    """Why its light was not as agreed: then it makes no key."""


class SentBlocks:
    """Blocks that wait for Bob's clicks, oldest first; the seeds of the rest are wiped."""

    def __init__(self) -> None:
        self.newest = BlockNo(-1)
        self._blocks: dict[BlockNo, SentBlock] = {}
        self._changed = trio.Event()

    def add(self, block_no: BlockNo, block: SentBlock) -> None:
        self._blocks[block_no] = block
        self.newest = max(self.newest, block_no)
        while len(self._blocks) > MAX_BLOCKS_WAITING:
            self._blocks.pop(next(iter(self._blocks))).choices.wipe()
        self._changed.set()
        self._changed = trio.Event()

    async def take(self, block_no: BlockNo) -> SentBlock:
        """Hand out a block once; Bob may hear of its end a moment before we ask our encoder.

        Raises
        ------
        BlockGone
            If it does not come: its light was cut off, or it waited too long. At once if a later
            one has come.
        """
        with trio.move_on_after(END_OF_BLOCK_TIMEOUT_S):
            while block_no not in self._blocks and block_no > self.newest:
                await self._changed.wait()
        block = self._blocks.pop(block_no, None)
        if block is None:
            raise BlockGone(f"block {block_no} was not sent to its end, or has been given up")
        return block

    def wipe(self) -> None:
        for block in self._blocks.values():
            block.choices.wipe()
        self._blocks.clear()


class AliceDistiller:
    """Follows Bob, block by block."""

    def __init__(
        self, ties: Ties, *, entropy: Entropy, auth_wanted: Callable[[], Awaitable[int]]
    ) -> None:
        self._ties = ties
        self._entropy = entropy
        self._auth_wanted = auth_wanted
        self._last: BlockFacts | None = None
        self._finished = BlockNo(-1)
        self._progress = trio.Event()

    async def run(self, sent: SentBlocks) -> None:
        """Answer for ever; a block that fails is told to Bob and gone."""
        done = BlockNo(-1)
        while True:
            first = await self._ties.mailbox.any()
            block_no = BlockNo(getattr(first, "block_no", -1))
            if block_no <= done or isinstance(first, BlockVoid):
                continue  # the rest of a block that has been given up
            if not isinstance(first, Clicks):
                continue
            done = block_no
            try:
                await self._distil(await sent.take(block_no), block_no, first)
            except BlockGone as gone:
                await self._ties.give_up(block_no, gone)
            self._finished = block_no
            self._progress.set()
            self._progress = trio.Event()

    async def finished(self, block_no: BlockNo) -> None:
        """Wait until this block has its key, or has been given up."""
        while self._finished < block_no:
            await self._progress.wait()

    async def _distil(self, block: SentBlock, block_no: BlockNo, first: Clicks) -> None:
        try:
            if block.doubt is not None:
                raise BlockGone(block.doubt)  # before anything of it is said
            await self._ties.desk.begin_block()
        except BaseException:
            block.choices.wipe()
            raise
        mail = BlockMail(self._ties.mailbox, block_no)
        sifted = await self._sift(block, block_no, first, mail)
        try:
            await self._reconcile(sifted, Work(block_no, block.index, first.n_clicks), mail)
        finally:
            sifted.wipe()

    async def _reconcile(self, sifted: SiftedBlock, work: Work, mail: BlockMail) -> None:
        settings, counts = self._ties.settings, sifted.counts
        qber, limit = self._expected_qber(counts), settings.reconcile.max_qber
        if qber > limit:
            raise BlockGone(
                f"QBER {counts.qber_test:.4f} in the test basis is over {limit:g}: no key can "
                "come of it, and nothing of it is disclosed"
            )
        machine = alice_end(
            work.block_no,
            sifted.key_bits,
            sifted.key_intensities,
            qber,
            settings.reconcile,
            self._entropy,
        )
        await self._ties.send_each(machine.start())
        while machine.result is None:
            message = await mail.get(*OF_BOB[settings.reconcile.method])
            for answer in await self._ties.compute(machine.receive, message):
                await self._ties.send(answer)
        reconciled = machine.result
        check_reconciled(reconciled)
        length = await self._ties.compute(bound_length, counts, reconciled, settings, work)
        auth_bytes = 0
        if length.n_out:
            auth_bytes = await self._amplify(mail, work, reconciled.bits, length.n_out)
        self._last = block_facts(work, counts, reconciled, length, settings, 16 * auth_bytes)
        self._ties.report(self._last)

    async def _sift(
        self, block: SentBlock, block_no: BlockNo, first: Clicks, mail: BlockMail
    ) -> SiftedBlock:
        machine = AliceSifter(block_no, block.choices, self._ties.settings.plan, block.index)
        try:
            await self._ties.compute(machine.receive, first)
            while not machine.complete:
                await self._ties.compute(machine.receive, await mail.get(Clicks))
            for kept in machine.reply():  # all of it is there: to fetch it off the loop costs more
                await self._ties.send(kept)
            return await self._ties.compute(machine.sifted, await mail.get(TestErrors))
        finally:
            machine.wipe()

    def _expected_qber(self, counts: DecoyCounts) -> float:
        """Estimate the key basis' QBER from public data, to choose a code.

        The last block's own QBER is the better estimate while the test basis has not moved by
        more than five standard deviations since.
        """
        now = (sum(counts.test_errors) + 1) / (counts.n_test + 2)
        last = self._last
        if last is None or not last.qber_key or last.qber_test is None:
            return now
        sigma = (now * (1 - now) * 2 / max(counts.n_test, 1)) ** 0.5
        return last.qber_key if abs(now - last.qber_test) < 5 * sigma else now

    async def _amplify(self, mail: BlockMail, work: Work, bits: Bits, n_out: int) -> int:
        auth_bytes = min(await self._auth_wanted(), n_out // 8 // MAX_AUTH_SHARE)
        seed = bytearray(self._entropy(-(-(bits.size - 1) // 8)))
        await self._ties.send_each(
            seed_messages(work.block_no, seed, n_out=n_out, auth_bytes=auth_bytes),
        )
        key = await self._ties.compute(hash_block, bits, seed, n_out)
        if not await self._ties.desk.commit_block(work, key, auth_bytes):
            raise BlockGone("the peer did not commit it")
        return auth_bytes
