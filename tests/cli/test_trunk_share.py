"""Many relays leave the laboratories their time, and each other's light its turn."""

import os
from pathlib import Path

import pytest

from qkdd.cli.demo.processes import start
from qkdd.cli.trunk.share import FEW, MAX_NICE, WEIGHT_PER_NICE, relay_nice
from qkdd.daemon.quiet_worker import STEPS_BACK


@pytest.mark.parametrize(("n_relays", "n_labs"), [(2, 1), (4, 2), (32, 1), (32, 2), (1000, 1)])
def test_many_relays_weigh_no_more_than_the_laboratories(n_relays: int, n_labs: int) -> None:
    nice = relay_nice(n_relays, n_labs)
    assert 0 <= nice <= MAX_NICE
    if n_relays > FEW * n_labs and nice < MAX_NICE:
        assert n_relays * WEIGHT_PER_NICE**-nice <= n_labs * 1.0001


def test_the_nicest_relay_leaves_its_distillation_room_to_step_back() -> None:
    assert MAX_NICE + STEPS_BACK <= 19


@pytest.mark.parametrize("own_session", [True, False])
async def test_no_child_shares_our_process_group(tmp_path: Path, own_session: bool) -> None:
    child = await start(
        "child", ["-c", "import signal; signal.pause()"], tmp_path, own_session=own_session
    )
    pid = child.process.pid
    try:
        assert os.getpgid(pid) == pid
        assert os.getsid(pid) == (pid if own_session else os.getsid(0))
    finally:
        await child.stop()
