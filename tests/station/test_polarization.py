"""The feedback loop's task, on a simulated polarisation controller by its own driver."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import trio
import trio.testing

from drivers.catalogue import open_polarization_controller
from drivers.errors import InstrumentError
from qkdd.daemon.supervise import supervise
from qkdd.station.holder import HASTY_SAMPLE_S
from qkdd.station.polarization import (
    FAILED,
    HOLDING,
    SEEKING,
    PolarizationFacts,
    PolarizationKeeper,
)
from qkdd.station.settings import PolarizationSettings
from qkdd.station.squeezers import Squeezers
from tests.drivers.meet.simulated_lab import LINK, simulated_lab

MODEL = "ozoptics-epc"
SQUEEZERS = Squeezers(-5_000, 5_000, 2_000.0)
FRAME_S = 0.25
FRAMES_PER_SAMPLE = round(HASTY_SAMPLE_S / FRAME_S)
LAB = (
    "seed = 11\n"
    + LINK.format(name="tcp", tagger="tcp:127.0.0.1:0", dark_hz=0.0)
    + f'\npolarization = {{ model = "{MODEL}", listen = "pty:epc" }}\n'
)


@pytest.fixture(scope="module")
def resource(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with simulated_lab(tmp_path_factory.mktemp("lab"), LAB) as resources:
        yield resources["tcp"]["polarization"]


class Desk:
    """A keeper, what it tells, and a tagger's reads for it."""

    def __init__(self, resource: str) -> None:
        self.told: list[PolarizationFacts] = []
        self.keeper = PolarizationKeeper(
            PolarizationSettings(model=MODEL, resource=resource, half_wave_mv=2000.0),
            frame_s=FRAME_S,
            tell=self._tell,
        )
        self._news = trio.Event()

    def _tell(self, facts: PolarizationFacts) -> None:
        self.told.append(facts)
        self._news.set()
        self._news = trio.Event()

    async def hear(self, n_told: int) -> None:
        with trio.fail_after(15):
            while len(self.told) < n_told:
                await self._news.wait()

    async def sample(self, matched: tuple[int, int], errors: tuple[int, int]) -> None:
        """Let frames come until the keeper has taken a sample and told of it."""
        n_told = len(self.told)
        with trio.fail_after(15):
            while len(self.told) == n_told:
                self.keeper.tags_read()
                self.keeper.measured(matched, errors)
                await trio.sleep(0.01)


async def test_voltages_follow_the_errors_and_stay_at_the_best_when_it_ends(resource: str) -> None:
    desk = Desk(resource)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.keeper.run)
        await desk.hear(1)
        begin = desk.told[0]
        assert begin.state == HOLDING
        # the sphere is turned back first, then forth: fewer errors there, beyond chance
        await desk.sample((10_000, 1_000), (400, 10))
        await desk.sample((10_000, 1_000), (100, 10))
        nursery.cancel_scope.cancel()
    last = desk.told[-1]
    assert last.n_steps == 1
    begin_mv, last_mv = np.array(begin.voltages_mv), np.array(last.voltages_mv)
    direction = np.array(SQUEEZERS.directions(begin.voltages_mv)[0])
    moved_mv = float((last_mv - begin_mv) @ direction / (direction @ direction))
    assert moved_mv > 0.0
    assert np.allclose(last_mv - begin_mv, moved_mv * direction, atol=1.0)  # whole millivolts
    async with open_polarization_controller(MODEL, resource) as controller:
        assert (await controller.status()).voltages_mv == last.voltages_mv


async def test_what_was_read_while_a_voltage_changed_is_not_counted(resource: str) -> None:
    desk = Desk(resource)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.keeper.run)
        await desk.hear(1)
        await trio.testing.wait_all_tasks_blocked()
        desk.keeper.tags_read()  # was under way
        for _ in range(10 * FRAMES_PER_SAMPLE):
            desk.keeper.measured((1_000, 1_000), (500, 500))
        desk.keeper.tags_read()
        desk.keeper.measured((1_000, 1_000), (500, 500))  # may have begun before it settled
        for _ in range(FRAMES_PER_SAMPLE - 1):
            desk.keeper.measured((1_000, 1_000), (0, 0))
        await trio.testing.wait_all_tasks_blocked()
        assert len(desk.told) == 1
        desk.keeper.measured((1_000, 1_000), (0, 0))
        await desk.hear(2)
        await desk.sample((1_000, 1_000), (0, 0))
        assert [facts.state for facts in desk.told] == [HOLDING] * 3
        nursery.cancel_scope.cancel()


async def test_a_search_whose_controller_is_gone_is_none(resource: str) -> None:
    desk = Desk(resource)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.keeper.run)
        await desk.hear(1)
        for _ in range(2):
            await desk.sample((1_000, 1_000), (400, 400))
        assert desk.keeper.seeking
        assert desk.told[-1].state == SEEKING
        nursery.cancel_scope.cancel()
    desk.keeper.failed("it is gone")
    assert not desk.keeper.seeking


async def test_a_controller_that_is_not_there_is_told_of_and_tried_again(tmp_path: Path) -> None:
    desk = Desk(f"serial:{tmp_path / 'unplugged'}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: supervise(
                "polarization",
                desk.keeper.run,
                restart_on=(InstrumentError,),
                failed=desk.keeper.failed,
            )
        )
        await desk.hear(2)
        nursery.cancel_scope.cancel()
    assert {facts.state for facts in desk.told} == {FAILED}
    assert "unplugged" in (desk.told[0].reason or "")
    desk.keeper.measured((1_000, 1_000), (500, 500))  # the light goes on, and nobody minds


def test_a_controller_without_a_driver_is_refused_with_those_that_have_one() -> None:
    table = {"model": "epc-9000", "resource": "serial:/dev/ttyUSB0", "half_wave_mv": 2000.0}
    with pytest.raises(msgspec.ValidationError, match="known: ozoptics-epc"):
        msgspec.convert(table, PolarizationSettings)
