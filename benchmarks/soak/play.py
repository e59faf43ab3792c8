"""Play one bad day: from its beginning to its end, then hold the recovery to its limit."""

import os
import time
from dataclasses import dataclass, field

import trio

from benchmarks.soak.bad_day import Kind, Scene, WentWrong
from benchmarks.soak.eyes import RELAYS
from benchmarks.soak.sent import first_after
from qkdd.cli.demo.files import ALICE, SAE_A, SAE_B
from qkdd.cli.demo.processes import Child, ProcessDied
from qkdd.daemon.supervise import reasons
from tests.whole.agreement import balances
from tests.whole.applications import NoAnswer, Refused
from tests.whole.site import UP
from tests.whole.stock import digests

REFRESH_EVERY_S = 0.5
PATIENCE_S = 120.0
"""How long a recovery that is too late is waited for, to say how late it was."""
AGREE_WITHIN_S = 5.0
POLL_S = 0.05
LOG_LINES = 12
SAYS_NO = (NoAnswer, Refused)
ENDS_A_DAY = (WentWrong, AssertionError, ProcessDied, OSError, trio.TooSlowError, *SAYS_NO)


@dataclass
class Day:
    """What became of one bad day."""

    kind: str
    limit_s: float
    began_s: float
    what: str = ""
    lasted_s: float = 0.0
    session_s: float | None = None
    light_s: float | None = None
    key_s: float | None = None
    """After the end of the bad day: session, light, and new light turned into a block's key and a
    key in the hands of both applications, in both directions. None: not within PATIENCE_S."""
    light_lost: bool = False
    load: float = 0.0
    """The machine's load average over a minute, at the end."""
    n_keys_at_one_end: int = 0
    failures: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)


async def play(scene: Scene, kind: Kind) -> Day:
    """Play it under traffic; then, for a moment without, compare the two stores."""
    eyes = scene.eyes
    day = Day(kind.name, kind.limit_s, eyes.now_s())
    scene.checks.clear()
    try:
        async with scene.apps.traffic(every_s=REFRESH_EVERY_S):
            eyes.calm, started_s = False, trio.current_time()
            day.what = await kind.act(scene)
            day.lasted_s = eyes.now_s() - day.began_s
            await recover(scene, day)
            day.light_lost = eyes.last_dark_s > started_s
            day.load = os.getloadavg()[0]
        eyes.calm = day.key_s is not None
        if day.key_s is None or day.key_s > kind.limit_s:
            late = "not at all" if day.key_s is None else f"after {day.key_s:.1f} s"
            day.failures.append(f"recovered {late}, limit {kind.limit_s:g} s; {standing(scene)}")
        if kind.keeps_light and day.light_lost:
            day.failures.append(f"lost its light, which needs no re-lock; {standing(scene)}")
        await compare(scene, day)
        day.failures += [wrong for check in scene.checks if (wrong := check())]
    except* ENDS_A_DAY as errors:
        day.failures += reasons(errors)
    if day.failures:
        day.logs = ends_of_logs(scene)
    return day


async def recover(scene: Scene, day: Day) -> None:
    """Wait for session, light and new key at both ends, and note when each came."""
    ended_s, ended_wall_s = trio.current_time(), time.time()
    eyes = scene.eyes
    seen = -1
    with trio.move_on_after(PATIENCE_S):
        while True:
            scene.site.all_live()
            await eyes.look()
            now_s = trio.current_time() - ended_s
            ends = [eyes.ends.get(relay) for relay in RELAYS]
            if day.session_s is None and all(end is not None and end.state in UP for end in ends):
                day.session_s = now_s
            if day.light_s is None and eyes.lit:
                day.light_s = now_s
            if eyes.lit and eyes.newest_key() > seen:
                seen = eyes.newest_key()
                if seen >= first_after(scene.site.children[ALICE].log, ended_wall_s):
                    break
            await trio.sleep(POLL_S)
        await fresh_key(scene)
        day.key_s = trio.current_time() - ended_s


async def fresh_key(scene: Scene) -> None:
    """Have both applications get a key of each other's, however often they must ask."""
    for master in (SAE_A, SAE_B):
        while True:
            try:
                await scene.apps.refresh(master)
            except SAYS_NO:
                await trio.sleep(POLL_S)
            else:
                break


async def compare(scene: Scene, day: Day) -> None:
    """Both stores equal but for pads under way; no key twice, none unequal."""
    await scene.apps.hang_up()
    if day.key_s is not None:
        with trio.fail_after(AGREE_WITHIN_S):
            while not stores_equal(scene):
                await trio.sleep(POLL_S)
                await scene.eyes.look()
    day.n_keys_at_one_end = await scene.apps.fetch_the_rest()
    scene.apps.check()


def stores_equal(scene: Scene) -> bool:
    accounts = [end.account for end in map(scene.eyes.ends.get, RELAYS) if end is not None]
    if len(accounts) < 2:
        return False
    assert all(balances(account) for account in accounts), accounts
    names = ("distilled", "pre_shared", "delivered", "relayed", "stock")
    alike = all(accounts[0][name] == accounts[1][name] for name in names)
    rows = [digests(scene.site, relay) for relay in RELAYS]
    return alike and rows[0] == rows[1]


def standing(scene: Scene) -> str:
    """Say how both ends are."""
    told = []
    for relay in RELAYS:
        end = scene.eyes.ends.get(relay)
        told.append(f"{relay}: " + ("no answer" if end is None else f"{end.state}, {end.reason}"))
    return "; ".join(told)


def ends_of_logs(scene: Scene) -> list[str]:
    children: list[Child] = [*scene.site.children.values()]
    children += [scene.site.lab] if scene.site.lab else []
    lines = []
    for child in children:
        lines_of_it = child.log.read_text(errors="replace").splitlines()
        tail = [line for line in lines_of_it if '"event":"key request"' not in line][-LOG_LINES:]
        lines += [f"{child.name}: {line[:300]}" for line in tail]
    return lines
