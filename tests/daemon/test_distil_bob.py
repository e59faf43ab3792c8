"""Bob's distiller asks who watches the detectors, before anything of a block's errors is said."""

from typing import cast

import pytest

from qkdd.base.ids import BlockNo
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.distil import Ties
from qkdd.daemon.distil_bob import BobDistiller, EndedBlock
from qkdd.daemon.watchman import Watchman
from qkdd.sift.bob import BobSifter
from qkdd.watch.sight import Tally


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
