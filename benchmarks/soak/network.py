"""Bad days of the network between the relays, by the proxy that joins them."""

from typing import Literal

import trio

from benchmarks.soak.bad_day import Kind, Scene, WentWrong
from tests.chaos.weather import CALM, Direction, Weather

SPOILT_WITHIN_S = 5.0
"""Requests and a block every four seconds give both directions something to carry."""
SHORT_HOLD_S, LONG_HOLD_S = (0.5, 3.0), (11.0, 15.0)


def direction(scene: Scene) -> Direction:
    return scene.dice.choice((scene.proxy.forward, scene.proxy.backward))


async def hold_back(scene: Scene, bounds_s: tuple[float, float]) -> str:
    """Bytes wait in the network, of both directions or of one."""
    ways: tuple[Literal["forward", "backward"] | None, ...] = (None, "forward", "backward")
    only = scene.dice.choice(ways)
    scene.proxy.turn(Weather(blocked=True), only)
    try:
        seconds = await scene.last(*bounds_s)
    finally:
        scene.proxy.turn(CALM)
    return f"{only or 'both directions'} held back for {seconds:.1f} s"


async def short_partition(scene: Scene) -> str:
    return await hold_back(scene, SHORT_HOLD_S)


async def long_partition(scene: Scene) -> str:
    return await hold_back(scene, LONG_HOLD_S)


async def reset(scene: Scene) -> str:
    return f"{scene.proxy.reset()} sockets reset"


async def corrupt(scene: Scene) -> str:
    return await spoil(scene, direction(scene), cut=False)


async def truncate(scene: Scene) -> str:
    return await spoil(scene, direction(scene), cut=True)


async def spoil(scene: Scene, which: Direction, *, cut: bool) -> str:
    before = which.n_flipped + which.n_truncated
    (which.cut_next if cut else which.flip_next)()
    with trio.move_on_after(SPOILT_WITHIN_S):
        while which.n_flipped + which.n_truncated == before:  # noqa: ASYNC110 it tells nobody
            await trio.sleep(0.02)
        return "a piece was cut off" if cut else "a bit was wrong"
    raise WentWrong(f"nothing was said for {SPOILT_WITHIN_S:g} s that could be spoilt")


async def weather(scene: Scene, bad: Weather) -> str:
    scene.proxy.turn(bad)
    try:
        seconds = await scene.last(4.0, 10.0)
    finally:
        scene.proxy.turn(CALM)
    return f"{bad} for {seconds:.1f} s"


async def delay(scene: Scene) -> str:
    late_s = scene.dice.uniform(0.05, 0.5)
    return await weather(scene, Weather(delay_s=late_s, jitter_s=late_s / 2))


async def slow(scene: Scene) -> str:
    return await weather(scene, Weather(bytes_per_s=scene.dice.uniform(100, 20_000)))


KINDS = (
    Kind("partition-short", short_partition, keeps_light=True),
    Kind("partition-long", long_partition),
    Kind("connection-reset", reset),
    Kind("corruption", corrupt),
    Kind("truncation", truncate),
    Kind("delay", delay, keeps_light=True),
    Kind("slow-reader", slow),
)
