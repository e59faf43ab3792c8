"""The watchman: a block that a monitor doubts is gone before its errors are said."""

import numpy as np
import pytest

from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensities, LightPlan
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.status import LinkStatus
from qkdd.daemon.watchman import Watchman
from qkdd.frames.settings import FrameSettings
from qkdd.watch.settings import WatchSettings
from qkdd.watch.sight import Tally

HONEST = DecoyCounts(
    key=(1_114_500, 189_500, 220),
    test=(40_500, 6_900, 9),
    test_errors=(423, 74, 1),
    key_errors=(11_640, 2_030, 110),
)
"""The sifted counts of block 0 (2 s) of the simulated demonstration at 50 km, rounded."""
N_KEY = 1_552_000


def watchman(status: LinkStatus) -> Watchman:
    return Watchman(
        LightPlan(), Intensities(), FrameSettings(), WatchSettings(), status, max_qber=0.11
    )


def tally(ones: int) -> Tally:
    """The same block's clicks, ``ones`` of those in the key basis at detector 1."""
    gathered = Tally()
    clicks = np.repeat(np.arange(4, dtype=np.uint8), [N_KEY - ones, ones, 148_000, 148_000])
    gathered.add(clicks, n_double=866, n_cross=2_854, n_out_of_gate=463, n_dead=37_700)
    return gathered


def test_a_block_like_any_other_goes_on() -> None:
    status = LinkStatus(name="a-b", peer="a", role="receiver")
    watchman(status).judge(tally(N_KEY // 2), HONEST, 0)
    assert (status.n_alarms, status.alarm) == (0, None)


def test_a_detector_that_lags_behind_costs_the_block_and_the_peer_hears_no_number() -> None:
    status = LinkStatus(name="a-b", peer="a", role="receiver")
    with pytest.raises(BlockGone) as gone:
        watchman(status).judge(tally(730_000), HONEST, 0)
    assert str(gone.value) == "a monitor of the receiver spoke: share of ones in the key basis"
    assert status.n_alarms == 1
    assert status.alarm is not None
    assert "0.470361, expected 0.5 within 0.01" in status.alarm


def test_errors_that_forbid_a_key_are_the_simpler_reason() -> None:
    status = LinkStatus(name="a-b", peer="a", role="receiver")
    noisy = DecoyCounts(key=HONEST.key, test=HONEST.test, test_errors=(5_500, 900, 4))
    with pytest.raises(BlockGone, match=r"^QBER 0\.135\d in the test basis is over 0\.11, and"):
        watchman(status).judge(tally(730_000), noisy, 0)
    assert status.n_alarms == 1
