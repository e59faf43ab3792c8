"""A lane whose ends keep what they must in real key stores, through deaths and old images."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.relay.chain import Chain, a_lane
from tests.relay.lanes import TIMES as CALM
from tests.relay.store_disk import StoreDisk
from tests.relay.test_lane_faults import N_LINKS, TIMES, LaneKeysAreEqualOrVoid


def chain_on_stores(folder: Path, n_links: int, times=TIMES) -> Chain:
    lane = a_lane(n_links)
    disks = StoreDisk(folder / "first.db", lane), StoreDisk(folder / "last.db", lane)
    chain = Chain(lane, times, disks)
    chain.connect_all()
    chain.pass_time(0)
    return chain


class OnStores(LaneKeysAreEqualOrVoid):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.chain = chain_on_stores(Path(self.folder.name), N_LINKS)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            for disk in self.chain.disks.values():
                disk.close()
            self.folder.cleanup()


@pytest.mark.parametrize("n_examples", [12])
def test_ends_on_real_stores_never_differ_whatever_dies(n_examples) -> None:
    run_state_machine_as_test(
        OnStores,
        settings=settings(
            max_examples=n_examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("node", [0, 2])
def test_an_end_restored_from_an_old_image_makes_no_key_that_the_other_lacks(
    tmp_path: Path, node: int
) -> None:
    """Its pads are out of step with the other end's, so that nothing becomes READY any more."""
    chain = chain_on_stores(tmp_path, 2, CALM)
    chain.light(16)
    chain.deliver_all()
    image = chain.disks[node].image()
    for _ in range(2):
        chain.light(16)
        chain.deliver_all()
    assert len(chain.first.ready) == len(chain.last.ready) == 48
    chain.disks[node].restore(image)
    chain.crash(node)
    chain.come_to_rest()
    chain.light(16)
    chain.come_to_rest()
    assert len(chain.disks[node].ready) == 16
    assert len(chain.disks[2 - node].ready) == 48
    assert all(chain.first.ready[n] == chain.last.ready[n] for n in chain.disks[node].ready)
    for disk in chain.disks.values():
        disk.close()
