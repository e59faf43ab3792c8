"""The ID1000's driver and its simulation, written from the same sheet by different hands, meet."""

import os
import re

import numpy as np
import pytest
import trio

from drivers import catalogue, conformance
from drivers.errors import NoReply
from drivers.tags import TagBlock
from drivers.timetagger import TimeTagger
from tests.drivers.meet.simulated_lab import BOARD_KEY, LINK, Resources, simulated_lab

LINKS = {
    "lit": (1000.0, ""),
    "dim": (2.0, ""),
    "empty": (2.0, ", message_of_empty_record = true"),
    "pieces": (20_000.0, ", buffer_stamps = 1000"),
    "much": (3e6, ", overflow_is_fatal = false"),
}


def lab_text(*names: str) -> str:
    text = "seed = 7\n"
    for name in names:
        dark_hz, options = LINKS[name]
        link = LINK.format(name=name, tagger="tcp:127.0.0.1:0", dark_hz=dark_hz)
        link = re.sub("pty:[a-z-]+", f"pty:laser-{name}", link)
        text += link.replace('"s15-tdc1"', '"idq-id1000"').replace(
            ", fifo_words = 65536", f', datalink = "tcp:127.0.0.1:0"{options}'
        )
    return text


def resource(lab: Resources, name: str) -> str:
    service = lab[name]["datalink"].removeprefix("zmq://")
    return f"{lab[name]['tagger']}?dlt={service}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    text = lab_text("lit", "dim", "empty", "pieces")
    with simulated_lab(tmp_path_factory.mktemp("lab"), text) as resources:
        yield resources


@pytest.mark.parametrize("name", ["dim", "empty", "pieces"])
async def test_it_conforms_and_counts_right(lab, name):
    """In the dark, with a message of an empty record or none, and with many messages of one."""
    async with catalogue.open_time_tagger("idq-id1000", resource(lab, name)) as tagger:
        tags = await conformance.check_time_tagger(tagger, seconds=0.5)
    assert not tags.lost
    seconds = tags.until_ps * 1e-12
    assert 0.2 <= seconds < 5
    expected = 4 * LINKS[name][0] * seconds
    assert abs(tags.times_ps.size - expected) <= 6 * np.sqrt(expected)
    if name == "pieces":
        check_that_tags_are_even(tags)


def check_that_tags_are_even(tags: TagBlock) -> None:
    """A record put in another's place would leave a hole of 0.2 s, or fill one twice."""
    for channel in (1, 2, 3, 4):
        times = tags.times_ps[tags.channels == channel]
        counts = np.histogram(times, np.arange(0, tags.until_ps - 10**11, 10**11))[0]
        assert counts.size >= 3
        assert np.all(np.abs(counts - 2000) <= 6 * np.sqrt(2000))


async def test_more_events_than_it_can_send_are_lost_and_said_so(tmp_path):
    with simulated_lab(tmp_path, lab_text("much")) as lab:
        async with catalogue.open_time_tagger("idq-id1000", resource(lab, "much")) as tagger:
            await tagger.start()
            lost = [(await tagger.read()).lost for _ in range(8)]
            lost.append((await tagger.stop()).lost)
    assert any(lost)


async def test_light_reaches_it_on_a_grid_finer_than_two_nanoseconds(lab):
    """Pulses of 1 MHz, seen by a clock that is 12 ppm off: one way or the other they line up."""
    async with (
        catalogue.open_laser("koheron-ctl200", lab["lit"]["laser"]) as laser,
        catalogue.open_attenuator("agilent-8156a", lab["lit"]["attenuator"]) as attenuator,
        catalogue.open_encoder("qmse-1", lab["lit"]["encoder"], BOARD_KEY, os.urandom) as encoder,
        catalogue.open_time_tagger("idq-id1000", resource(lab, "lit")) as tagger,
    ):
        await laser.set_current_ma(20.0)
        await attenuator.set_loss_db(40.0)
        await attenuator.set_shutter(open=True)
        await laser.set_output(on=True)
        await encoder.stop()
        await encoder.configure(conformance.SMALL_PLAN)
        await encoder.load_seed(None, bytes(32))
        await encoder.load_seed(0, os.urandom(32))
        await tagger.start()
        await encoder.start(1)
        blocks = []
        for _ in range(2):
            await encoder.status()
            blocks.append(await tagger.read())
        await encoder.stop()
        await laser.set_output(on=False)
        await tagger.stop()
    times = blocks[-1].times_ps
    assert times.size > 10_000
    assert np.unique(times % 2000).size > 100
    periods_ps = [1e6 * (1 + ppm * 1e-6) for ppm in (-12, 12)]
    order = [abs(np.exp(2j * np.pi * (times - times[0]) / period).mean()) for period in periods_ps]
    assert max(order) > 0.9
    assert min(order) < 0.3


async def test_the_lab_dying_is_no_reply(tmp_path):
    with simulated_lab(tmp_path, lab_text("lit")) as lab:
        opened = catalogue.open_time_tagger("idq-id1000", resource(lab, "lit"))
        tagger = await opened.__aenter__()
        await tagger.start()
        await tagger.read()
    with trio.fail_after(8), pytest.raises(NoReply):
        await read_for_ever(tagger)
    await opened.__aexit__(None, None, None)


async def read_for_ever(tagger: TimeTagger) -> None:
    while True:
        await tagger.read()
