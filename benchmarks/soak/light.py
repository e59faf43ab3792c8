"""Bad days of the light: dark, attacked, turned."""

import time
from functools import partial
from typing import get_args, get_type_hints

import trio

from benchmarks.soak.bad_day import Kind, Scene
from benchmarks.soak.sent import first_after, key_of
from drivers.sim.config import Attack
from drivers.sim.control import AttackOrder, DarkOrder, KickOrder
from qkdd.cli.demo.files import ALICE, LINK

ATTACK_S = 14.0
"""Two blocks at least are attacked from their first pulse to their last."""
STOPS_KEY: tuple[str, ...] = get_args(get_type_hints(Attack)["kind"])
"""All of them do, at full strength: docs/security.md, "Monitors of the receiver"."""
SMALL_KICK_RAD, LARGE_KICK_RAD = (0.1, 0.3), (0.8, 3.1)


async def dark(scene: Scene) -> str:
    seconds = scene.dice.uniform(1.0, 8.0)
    await scene.order(DarkOrder(LINK, seconds))
    await trio.sleep(seconds)
    return f"fibre cut for {seconds:.1f} s"


async def attack(scene: Scene, name: str) -> str:
    """Attack every pulse; no key may come of light that was attacked."""
    log = scene.site.children[ALICE].log
    await scene.order(AttackOrder(Attack(kind=name, fraction=1.0)))  # type: ignore[arg-type]
    begun_s = time.time()
    await trio.sleep(ATTACK_S)
    ended_s = time.time()
    await scene.order(AttackOrder(None))

    def no_key() -> str | None:
        made = key_of(log, first_after(log, begun_s) + 1, first_after(log, ended_s) - 1)
        return f"{made} bits of key were made of attacked light" if made else None

    scene.checks.append(no_key)
    return f"{name} on every pulse for {ATTACK_S:.0f} s"


def turn(scene: Scene, bounds_rad: tuple[float, float]) -> tuple[float, float, float]:
    axis = [scene.dice.gauss(0.0, 1.0) for _ in range(3)]
    size = scene.dice.uniform(*bounds_rad) / sum(x * x for x in axis) ** 0.5
    return (axis[0] * size, axis[1] * size, axis[2] * size)


async def kick(scene: Scene) -> str:
    """Somebody moves a patch cord a little for good: the polarisation is to be found again."""
    kicked = turn(scene, SMALL_KICK_RAD)
    await scene.order(KickOrder(LINK, kicked))
    return f"polarisation turned by {shown(kicked)} rad for good"


async def bend(scene: Scene) -> str:
    """Somebody bends a patch cord, and lets go."""
    bent = turn(scene, LARGE_KICK_RAD)
    await scene.order(KickOrder(LINK, bent))
    seconds = await scene.last(1.0, 5.0)
    await scene.order(KickOrder(LINK, (-bent[0], -bent[1], -bent[2])))
    return f"polarisation turned by {shown(bent)} rad, and back after {seconds:.1f} s"


def shown(turned: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{angle:.2f}" for angle in turned) + ")"


KINDS = (
    Kind("fibre-dark", dark),
    *(Kind(f"attack-{name}", partial(attack, name=name)) for name in STOPS_KEY),
    Kind("polarisation-kicked", kick),
    Kind("polarisation-bent", bend),
)
