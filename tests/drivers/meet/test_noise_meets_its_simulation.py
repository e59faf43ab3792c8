"""A source of noise meets its simulation, by other hands."""

import pytest
import trio

from drivers import catalogue, conformance
from drivers.errors import BadReply, NoReply
from drivers.sim.control import FaultOrder, ask
from tests.drivers.meet.simulated_lab import LINK, simulated_lab

FIRMWARES = (2, 3)
LAB = (
    "seed = 3\n"
    + LINK.format(name="tcp", tagger="tcp:127.0.0.1:0", dark_hz=0.0)
    + "".join(
        f'\n[[noise]]\nmodel = "onerng"\nname = "noise-{firmware}"\n'
        f'listen = "pty:noise-{firmware}"\nfirmware = {firmware}\n'
        for firmware in FIRMWARES
    )
)


async def read_on(source):
    while await source.read():
        pass


AT, NOISE = "noise-3", "noise"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with simulated_lab(folder, LAB) as resources:
        yield folder / "lab.toml", resources


@pytest.mark.parametrize("firmware", FIRMWARES)
async def test_a_source_conforms_and_gives_raw_noise(lab, firmware):
    _, resources = lab
    resource = resources[f"noise-{firmware}"][NOISE]
    async with catalogue.open_entropy_source("onerng", resource) as source:
        noise = await conformance.check_entropy_source(source)
        assert (await source.identity()).firmware == str(firmware)
    assert noise.count(0) < len(noise) / 64, "emptied places of its pool were taken for noise"


async def test_another_instrument_is_named_with_the_one_expected(lab):
    _, resources = lab
    with pytest.raises(BadReply, match=r"expected a OneRNG, but .* answers"):
        async with catalogue.open_entropy_source("onerng", resources["tcp"]["laser"]):
            pass


async def test_an_unplugged_source_is_gone_and_another_opening_finds_it_again(lab):
    path, resources = lab
    resource = resources[AT][NOISE]
    with trio.fail_after(10):
        async with catalogue.open_entropy_source("onerng", resource) as source:
            await source.start()
            ask(path, FaultOrder(AT, NOISE, "unplugged", 60.0))
            with pytest.raises(NoReply):
                await read_on(source)
        with pytest.raises(NoReply, match="cannot open"):
            async with catalogue.open_entropy_source("onerng", resource):
                pass
        ask(path, FaultOrder(AT, NOISE, "unplugged", 0.0))
        async with catalogue.open_entropy_source("onerng", resource) as source:
            await source.start()
            assert await source.read()


async def test_a_diode_that_is_stuck_is_silence_and_a_clock_is_one_value(lab):
    path, resources = lab
    async with catalogue.open_entropy_source("onerng", resources[AT][NOISE]) as source:
        await source.start()
        ask(path, FaultOrder(AT, NOISE, "oscillating", 600.0))
        with trio.fail_after(5):
            while len(set(await source.read())) > 1:
                pass
        ask(path, FaultOrder(AT, NOISE, "stuck", 600.0))
        with trio.fail_after(5):
            silent = False
            while not silent:
                with trio.move_on_after(0.3) as scope:
                    await source.read()
                silent = scope.cancelled_caught
        ask(path, FaultOrder(AT, NOISE, "stuck", 0.0))
        with trio.fail_after(5):
            assert await source.read()
