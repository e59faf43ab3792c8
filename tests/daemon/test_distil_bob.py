"""Bob's distiller: who watches the detectors is asked before anything of a block's errors is said,
and the monitors hear of all errors before it makes key."""

from typing import cast

import msgspec
import numpy as np
import pytest
import trio

from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.ids import BlockNo
from qkdd.base.light import Intensities, LightPlan
from qkdd.daemon.block_mail import BlockGone, BlockMail
from qkdd.daemon.distil import BlockDesk, DistilSettings, Ties, Work
from qkdd.daemon.distil_bob import BobDistiller, EndedBlock
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.session import BLOCK_MESSAGES
from qkdd.daemon.watchman import Watchman
from qkdd.reconcile.ends import alice_end
from qkdd.reconcile.messages import BlockVerdict
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.sift.block import SiftedBlock
from qkdd.sift.bob import BobSifter
from qkdd.watch.sight import Tally
from tests.daemon.desk_pair import LINK


class Watch:
    def __init__(self, reason: str | None) -> None:
        self.reason = reason
        self.asked: list[tuple[float, float]] = []

    async def vouch(self, start_s: float, end_s: float, /) -> str | None:
        self.asked.append((start_s, end_s))
        return self.reason


def distiller(watch: Watch | None) -> BobDistiller:
    return BobDistiller(cast("Ties", None), cast("Watchman", None), watch)


BLOCK = EndedBlock(0, BobSifter(BlockNo(7)), Tally(), 3.0, 5.0)


async def test_a_block_of_doubtful_detectors_is_gone_for_their_reason() -> None:
    watch = Watch("detectors: the bias is off")
    with pytest.raises(BlockGone, match="detectors: the bias is off"):
        await distiller(watch)._trust_detectors(BLOCK)
    assert watch.asked == [(3.0, 5.0)]


async def test_a_block_goes_on_if_all_was_well_or_nobody_watches() -> None:
    watch = Watch(None)
    await distiller(watch)._trust_detectors(BLOCK)
    assert watch.asked == [(3.0, 5.0)]
    await distiller(None)._trust_detectors(BLOCK)


class Ears:
    """A watchman who is not content with what he hears at last."""

    def __init__(self) -> None:
        self.heard: list[ByIntensity | None] = []

    def judge(self, _tally: Tally, counts: DecoyCounts, _index: int) -> None:
        self.heard.append(counts.key_errors)
        raise BlockGone("a monitor of the receiver spoke: double clicks")


async def test_monitors_hear_the_errors_of_the_key_basis_before_it_makes_key() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2, 70_000, dtype=np.uint8)
    wrong = rng.random(bits.size) < 0.01
    intensities = rng.choice(3, bits.size, p=(0.8, 0.19, 0.01)).astype(np.uint8)
    sent = np.bincount(intensities, minlength=3).tolist()
    counts = DecoyCounts(key=tuple(sent), test=(9_000, 900, 9), test_errors=(90, 9, 4))
    alice = alice_end(7, bits.copy(), intensities, 0.01, ReconcileSettings(), rng.bytes)
    mailbox, ears = Mailbox(*BLOCK_MESSAGES), Ears()

    async def answer(message: msgspec.Struct) -> None:
        assert not isinstance(message, BlockVerdict)  # then Alice would go on to make key
        for more in alice.receive(message):
            await mailbox.put(more)

    ties = Ties(
        DistilSettings(LINK, LightPlan(), Intensities(), ReconcileSettings(), ProofSettings()),
        cast("BlockDesk", None),
        answer,
        mailbox,
        lambda _: None,
        lambda _number, _reason: None,
        trio.to_thread.run_sync,
    )
    sifted = SiftedBlock(BlockNo(7), bits ^ wrong, intensities, counts)
    for syndromes in alice.start():
        await mailbox.put(syndromes)
    with pytest.raises(BlockGone, match="double clicks"):
        await BobDistiller(ties, cast("Watchman", ears))._reconcile(
            sifted, BLOCK, Work(BlockNo(7), 0, bits.size), BlockMail(mailbox, BlockNo(7))
        )
    assert ears.heard == [tuple(np.bincount(intensities[wrong], minlength=3).tolist())]
