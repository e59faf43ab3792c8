"""Every block counts before its fate is decided; at the limit of the year none is begun."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from qkdd.amplify.settings import ProofSettings
from qkdd.base.choices import SEED_BYTES, ChoiceSource
from qkdd.base.ids import BlockNo
from qkdd.base.light import Intensities, LightPlan
from qkdd.base.secret import Secret
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.distil import DistilSettings, Ties, Work
from qkdd.daemon.distil_alice import AliceDistiller, SentBlock, SentBlocks
from qkdd.daemon.distil_bob import BobDistiller, EndedBlock
from qkdd.daemon.epsilon import CountedBlocks, EpsilonLimit, this_year
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.session import BLOCK_MESSAGES
from qkdd.daemon.status import LinkStatus
from qkdd.daemon.watchman import Watchman
from qkdd.frames.settings import FrameSettings
from qkdd.keys.epsilon_book import EpsilonYear
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.sift.bob import BobSifter
from qkdd.sift.messages import Clicks
from qkdd.station.messages import BlockVoid
from qkdd.watch.settings import WatchSettings
from qkdd.watch.sight import Tally
from tests.daemon.desk_pair import LINK, desk_pair

PROOF = ProofSettings(eps_sec=1e-12, eps_cor=1e-15)
SETTINGS = DistilSettings(LINK, LightPlan(), Intensities(), ReconcileSettings(), PROOF)


class Committed:
    """Takes every block."""

    def __init__(self) -> None:
        self.blocks: list[int] = []

    async def commit_block(self, work: Work, key: Secret, auth_bytes: int) -> bool:
        self.blocks.append(work.block_no)
        key.wipe()
        return True


class Link:
    """One end's blocks: what is said to it, what it says, and what it has counted."""

    def __init__(self) -> None:
        self.told: list[EpsilonYear] = []
        self.said: list[msgspec.Struct] = []
        self.voids: dict[int, str] = {}
        self.heard = Mailbox(*BLOCK_MESSAGES)

    async def send(self, *messages: msgspec.Struct) -> None:
        await trio.lowlevel.checkpoint()
        self.said += messages

    def void(self, block_no: int, reason: str) -> None:
        self.voids[block_no] = reason


@asynccontextmanager
async def limited(
    folder: Path, limit: float, inner: Committed, link: Link
) -> AsyncIterator[CountedBlocks]:
    async with desk_pair(folder) as pair:
        epsilon = EpsilonLimit(LINK, PROOF, limit, pair.alice.service, link.told.append)
        await epsilon.look()
        yield CountedBlocks(epsilon, inner)
        await EpsilonLimit(LINK, PROOF, 1.0, pair.alice.service, link.told.append).look()


async def test_blocks_are_counted_before_they_are_key_and_none_is_begun_at_the_limit(
    tmp_path: Path,
) -> None:
    link, inner = Link(), Committed()
    async with limited(tmp_path, 2.5e-12, inner, link) as desk:
        for number in (1, 2):
            await desk.begin_block()
            assert await desk.commit_block(Work(BlockNo(number), 0, 0), Secret(32), 0)
        for _ in range(2):
            with pytest.raises(BlockGone, match=r"epsilon of the year is spent.*2\.5e-12"):
                await desk.begin_block()
    assert inner.blocks == [1, 2]
    assert [one.n_blocks for one in link.told] == [0, 1, 2, 2]
    assert link.told[-1].year == this_year()
    assert link.told[-1].total == pytest.approx(2 * 1.001e-12)


async def test_blocks_of_which_nothing_comes_count_and_beyond_the_limit_alice_says_nothing(
    tmp_path: Path,
) -> None:
    link, inner, sent = Link(), Committed(), SentBlocks()
    seeds = [Secret(SEED_BYTES) for _ in range(3)]
    async with limited(tmp_path, 2.5e-12, inner, link) as desk:
        ties = Ties(
            SETTINGS,
            desk,
            link.send,
            link.heard,
            lambda _: None,
            link.void,
            trio.to_thread.run_sync,
        )

        async def wanted() -> int:
            raise AssertionError("no block gets so far")

        alice = AliceDistiller(ties, entropy=bytes, auth_wanted=wanted)
        for number, seed in enumerate(seeds):
            sent.add(BlockNo(number), SentBlock(0, ChoiceSource(seed, Intensities())))
            await link.heard.put(Clicks(block_no=number, chunk=0, n_clicks=0, gaps=b"", bases=b""))
            await link.heard.put(BlockVoid(block_no=number, reason="no light"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.run, sent)
            with trio.fail_after(5):
                await alice.finished(BlockNo(2))
            nursery.cancel_scope.cancel()
    assert link.told[-1].n_blocks == 2
    assert [voided.split(":")[0] for voided in link.voids.values()] == [
        "given up by the peer",
        "given up by the peer",
        "epsilon of the year is spent",
    ]
    of_last = [one for one in link.said if getattr(one, "block_no", None) == BlockNo(2)]
    assert [type(one) for one in of_last] == [BlockVoid]
    assert all(seed.wiped for seed in seeds)
    assert not inner.blocks


async def test_bob_counts_a_block_before_alice_has_answered_his_clicks(tmp_path: Path) -> None:
    link, inner = Link(), Committed()
    status = LinkStatus(name=LINK, peer="alice", role="receiver")
    plan, intensities = SETTINGS.plan, SETTINGS.intensities
    watchman = Watchman(plan, intensities, FrameSettings(), WatchSettings(), status, max_qber=0.11)
    async with limited(tmp_path, 1.5e-12, inner, link) as desk:
        ties = Ties(
            SETTINGS,
            desk,
            link.send,
            link.heard,
            lambda _: None,
            link.void,
            trio.to_thread.run_sync,
        )
        send, ended = trio.open_memory_channel[EndedBlock](2)
        for number in range(2):
            sifter = BobSifter(BlockNo(number))
            sifter.close()
            send.send_nowait(EndedBlock(0, sifter, Tally(), 0.0, 2.0))
        send.close()
        await link.heard.put(BlockVoid(block_no=0, reason="no light"))
        with trio.fail_after(5):
            await BobDistiller(ties, watchman).run(ended)
    assert link.told[-1].n_blocks == 1
    assert [voided.split(":")[0] for voided in link.voids.values()] == [
        "given up by the peer",
        "epsilon of the year is spent",
    ]
