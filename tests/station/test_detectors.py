"""The watch over the detectors, on a simulated controller by its own driver."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trio

from drivers.catalogue import open_detector
from drivers.errors import InstrumentError
from drivers.sim.config import Attack
from drivers.sim.control import AttackOrder, FaultOrder, ask
from drivers.tags import TagBlock
from qkdd.daemon.supervise import supervise
from qkdd.station.detectors import (
    LOST,
    NOT_LOOKED_AT,
    STARTING,
    TROUBLE,
    WELL,
    DetectorFacts,
    DetectorKeeper,
)
from qkdd.station.settings import DetectorSettings
from tests.drivers.meet.simulated_lab import LINK, simulated_lab

MODEL = "sq-websq"
BIAS_UA = (17.0, 17.0, 17.0, 17.0)
LAB = (
    "seed = 11\n"
    + LINK.format(name="tcp", tagger="tcp:127.0.0.1:0", dark_hz=1000.0)
    + f'\ndetector = {{ model = "{MODEL}", listen = "tcp:127.0.0.1:0" }}\n'
)
SOON_S = 20.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("lab")
    with simulated_lab(folder, LAB) as resources:
        places = resources["tcp"]
        counts = places["counts"].rpartition(":")[2]
        yield folder / "lab.toml", f"{places['detector']}?counts={counts}"


class Desk:
    """A keeper under supervision, and what it tells."""

    def __init__(self, resource: str, *, set_bias: bool = True) -> None:
        self.told: list[DetectorFacts] = []
        self.keeper = DetectorKeeper(
            DetectorSettings(
                model=MODEL,
                resource=resource,
                bias_ua=BIAS_UA,
                set_bias=set_bias,
                max_voltage=3.0,
                lowest_hz=100.0,
            ),
            (1, 2, 3, 4),
            tell=self._tell,
        )
        self._news = trio.Event()

    def _tell(self, facts: DetectorFacts) -> None:
        self.told.append(facts)
        self._news.set()
        self._news = trio.Event()

    async def run(self) -> None:
        await supervise(
            "detectors",
            self.keeper.run,
            restart_on=(InstrumentError,),
            failed=self.keeper.failed,
        )

    async def state(self, state: str, reason: str = "") -> DetectorFacts:
        """Wait until this state, for this reason, is told."""
        with trio.fail_after(SOON_S):
            while True:
                last = self.told[-1] if self.told else None
                if last is not None and last.state == state and reason in (last.reason or ""):
                    return last
                await self._news.wait()


def order(lab: Path, fault: str, seconds: float, instrument: str = "detector") -> None:
    ask(lab, FaultOrder("tcp", instrument, fault, seconds))  # type: ignore[arg-type]  # as decoded


async def test_bias_is_set_latched_wires_are_freed_and_blocks_of_the_time_are_void(
    lab: tuple[Path, str],
) -> None:
    path, resource = lab
    desk = Desk(resource)
    keeper = desk.keeper
    assert keeper.trouble == NOT_LOOKED_AT
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        well = await desk.state(WELL)
        assert keeper.trouble is None
        assert (well.enabled, well.bias_ua) == (True, BIAS_UA)
        assert min(well.rates_hz) > 500.0
        assert well.temperature_k == pytest.approx(2.5, abs=0.1)
        good_s = trio.current_time()
        assert await keeper.vouch(good_s, good_s) is None
        before_s = trio.current_time()
        order(path, "latch", 60.0)
        latched = await desk.state(TROUBLE, "key basis, bit 0: latched")
        assert (latched.n_troubles, keeper.trouble) == (1, latched.reason)
        assert await keeper.vouch(before_s, trio.current_time()) == latched.reason
        freed = await desk.state(WELL)
        assert freed.n_restored == well.n_restored + 1
        assert await keeper.vouch(good_s, trio.current_time()) == keeper.last_trouble
        again_s = trio.current_time()
        assert await keeper.vouch(again_s, again_s) is None
        assert await keeper.vouch(good_s, good_s) is None
        nursery.cancel_scope.cancel()
    assert desk.told[0].state in (STARTING, TROUBLE)


async def test_without_leave_to_set_anything_it_only_looks(lab: tuple[Path, str]) -> None:
    path, resource = lab
    async with open_detector(MODEL, resource) as box:
        await box.set_bias_ua(BIAS_UA)
        await box.set_enabled(on=True)
        await box.set_period_ms(200)
    desk = Desk(resource, set_bias=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await desk.state(WELL)
        order(path, "disabled", 60.0)
        off = await desk.state(TROUBLE, "the bias is off")
        assert (off.n_restored, off.enabled) == (0, False)
        nursery.cancel_scope.cancel()
    async with open_detector(MODEL, resource) as box:
        assert not (await box.status()).enabled


async def test_a_controller_that_is_gone_is_named_and_found_again(lab: tuple[Path, str]) -> None:
    path, resource = lab
    desk = Desk(resource)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await desk.state(WELL)
        for place in ("counts", "detector"):
            order(path, "unplugged", 600.0, place)
            lost = await desk.state(LOST, "nobody watches them")
            assert desk.keeper.trouble == lost.reason
            order(path, "unplugged", 0.0, place)
            await desk.state(WELL)
        nursery.cancel_scope.cancel()


async def test_bright_light_that_blinds_shows_in_the_voltage(lab: tuple[Path, str]) -> None:
    path, resource = lab
    desk = Desk(resource)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await desk.state(WELL)
        ask(path, AttackOrder(Attack(kind="blinding-careful", fraction=0.05)))
        await desk.state(TROUBLE, "latched, or blinded")
        ask(path, AttackOrder(None))
        await desk.state(WELL)
        nursery.cancel_scope.cancel()


@pytest.mark.long
@pytest.mark.slow
async def test_counts_that_the_time_tagger_does_not_have_are_trouble(lab: tuple[Path, str]) -> None:
    _, resource = lab
    desk = Desk(resource)

    async def tags() -> None:
        """A tagger whose first input sees half of what the wire counts."""
        rng = np.random.Generator(np.random.Philox(1))
        desk.keeper.tagger_begins()
        start_s = trio.current_time()
        until_ps = 0
        while True:
            await trio.sleep(0.05)
            now_ps = round((trio.current_time() - start_s) * 1e12)
            means = np.array([500.0, 1000.0, 1000.0, 1000.0]) * (now_ps - until_ps) * 1e-12
            channels = np.repeat(np.arange(1, 5, dtype=np.uint8), rng.poisson(means))
            until_ps = now_ps
            desk.keeper.tagged(TagBlock(np.full(channels.size, now_ps), channels, now_ps))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        nursery.start_soon(tags)
        await desk.state(WELL)
        uneven = await desk.state(TROUBLE, "the controller counts")
        assert "key basis, bit 0" in (uneven.reason or "")
        assert uneven.n_restored <= 1, "no bias cures it"
        nursery.cancel_scope.cancel()


async def test_a_controller_that_is_not_there_lets_no_run_begin() -> None:
    desk = Desk("tcp://127.0.0.1:1?counts=1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        lost = await desk.state(LOST)
        assert (lost.enabled, lost.temperature_k, lost.rates_hz) == (None, None, ())
        assert await desk.keeper.vouch(-math.inf, 0.0) == lost.reason
        nursery.cancel_scope.cancel()
