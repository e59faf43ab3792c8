"""What must hold of the whole run: accounts, keys, logs, and what the processes took."""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import trio

from benchmarks.soak.bad_day import Scene
from benchmarks.soak.eyes import RELAYS, Sample
from drivers.sim.control import DarkOrder
from qkdd.base.audit_chain import ChainBroken, follow
from qkdd.cli.demo.files import LINK
from qkdd.config import load
from qkdd.daemon.audit import audit_path
from tests.whole.agreement import stores_agree
from tests.whole.memory_scan import traces

MOST_GROWTH = 1.1
"""Of calm memory: the run's last third over its first, a life's last quarter over its first.

A leak stays when the bad day is over. What a day takes while tags wait behind a stall does not,
and its highest value is one stall's, so it has a limit of its own."""
LEAST_RISE = 1.01
"""From each quarter of a life to the next if it leaks: bad days come in all four. What rises once
and stays is memory that a process has freed and keeps."""
MOST_PEAK_GROWTH = 1.5
"""Of the highest memory of the run's last third over that of the first: a queue without an end."""
WARM_S, LONG_LIFE_S = 120.0, 360.0
"""A process fills its buffers first; only one this old says something about growth in a life."""
MORE_FILES, MORE_THREADS = 3, 3
"""In calm moments: a worker thread or a connection more or less is by chance."""
SETTLE_S = 15.0
"""After the last bad day: trio lets an idle worker thread go after ten seconds."""
KEYS_LOOKED_FOR = 16
DARK_S, DARK_WITHIN_S = 3600.0, 20.0
"""The fibre is cut for good; the session goes on, and blocks that were sent are distilled."""
LAST_BLOCKS_S = 30.0
FORGET_WITHIN_S = 1.0


@dataclass
class Growth:
    """One process over the run, by thirds; all but ``peak_mb`` when calm."""

    name: str
    rss_mb: list[float]
    """The median."""
    peak_mb: list[float]
    life_mb: list[list[float]]
    """Of every long life, the longest first: the medians of its quarters."""
    n_files: list[int]
    n_threads: list[int]
    n_lives: int

    @property
    def failures(self) -> list[str]:
        found = []
        if self.rss_mb[2] > MOST_GROWTH * self.rss_mb[0]:
            found.append(f"{self.name}: memory {self.rss_mb[0]:.0f} -> {self.rss_mb[2]:.0f} MB")
        if self.peak_mb[2] > MOST_PEAK_GROWTH * self.peak_mb[0]:
            found.append(f"{self.name}: peaks {self.peak_mb[0]:.0f} -> {self.peak_mb[2]:.0f} MB")
        found += [
            f"{self.name}: memory {' -> '.join(f'{value:.0f}' for value in life)} MB in one life"
            for life in self.life_mb[
                :1
            ]  # a leak shows best in it; a quarter of a short life is a day
            if life[-1] > MOST_GROWTH * life[0]
            and all(late > LEAST_RISE * early for early, late in pairwise(life))
        ]
        if self.n_files[2] > self.n_files[0] + MORE_FILES:
            found.append(f"{self.name}: open files {self.n_files[0]} -> {self.n_files[2]}")
        if self.n_threads[2] > self.n_threads[0] + MORE_THREADS:
            found.append(f"{self.name}: threads {self.n_threads[0]} -> {self.n_threads[2]}")
        return found


@dataclass
class Verdict:
    """The end of the run."""

    account: dict[str, int] = field(default_factory=dict)
    n_keys: int = 0
    n_compared: int = 0
    growth: list[Growth] = field(default_factory=list)
    n_audit_records: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def growth_of(samples: Iterable[Sample], name: str, length_s: float) -> Growth:
    """Sort samples of a process into thirds of the run."""
    own = [sample for sample in samples if sample.name == name]
    thirds = [[one for one in own if int(3 * one.at_s / length_s) == n] for n in range(3)]
    calm = [[one for one in third if one.calm] for third in thirds]
    return Growth(
        name=name,
        rss_mb=[_median(third) for third in calm],
        peak_mb=[max((one.rss_mb for one in third), default=0.0) for third in thirds],
        life_mb=_lives(own),
        n_files=[max((one.n_files for one in third), default=0) for third in calm],
        n_threads=[max((one.n_threads for one in third), default=0) for third in calm],
        n_lives=len({one.pid for one in own}),
    )


def _median(samples: list[Sample]) -> float:
    return statistics.median([one.rss_mb for one in samples]) if samples else 0.0


def _lives(samples: list[Sample]) -> list[list[float]]:
    found: list[tuple[float, list[float]]] = []
    for pid in dict.fromkeys(one.pid for one in samples):
        life = [one for one in samples if one.pid == pid]
        warm_s, length_s = life[0].at_s + WARM_S, life[-1].at_s - life[0].at_s
        if length_s < LONG_LIFE_S:
            continue
        quarter_s = (length_s - WARM_S + 1e-9) / 4
        calm = [one for one in life if one.calm and one.at_s >= warm_s]
        quarters = [[o for o in calm if int((o.at_s - warm_s) / quarter_s) == n] for n in range(4)]
        if all(quarters):
            found.append((length_s, [_median(quarter) for quarter in quarters]))
    return [life for _, life in sorted(found, key=lambda one: -one[0])]


async def judge(scene: Scene) -> Verdict:
    """End the light, and look at all that is left."""
    verdict = Verdict()
    apps, eyes = scene.apps, scene.eyes
    length_s = eyes.now_s() + 1e-9
    samples = list(eyes.samples)
    names = dict.fromkeys(sample.name for sample in samples)
    verdict.growth = [growth_of(samples, name, length_s) for name in names]
    verdict.failures += [text for growth in verdict.growth for text in growth.failures]
    verdict.failures += await traces_left(scene)
    await scene.order(DarkOrder(LINK, DARK_S))
    try:
        await scene.site.wait("dark", lambda a, b: "light" not in (a.state, b.state), DARK_WITHIN_S)
        verdict.account = await stores_agree(scene.site, LAST_BLOCKS_S)
        await apps.hang_up()
        await apps.fetch_the_rest()
        apps.check()
    except AssertionError as error:
        verdict.failures.append(str(error))
    verdict.n_keys = len(apps.deliveries)
    per_id = Counter(one.key_id for one in apps.deliveries)
    verdict.n_compared = sum(count == 2 for count in per_id.values())
    verdict.refused = dict(apps.failures.most_common())
    for relay in RELAYS:
        status = await scene.site.stop(relay)
        if status != 0:
            verdict.failures.append(f"{relay} ended with status {status} at SIGTERM")
        verdict.n_audit_records[relay] = audit_records(scene, relay, verdict.failures)
    verdict.failures += tracebacks(scene.site.folder)
    return verdict


async def traces_left(scene: Scene) -> list[str]:
    """Look for keys that were delivered a second ago in the memory of both relays."""
    keys = [one.key for one in scene.apps.deliveries[-KEYS_LOOKED_FOR:]]
    await trio.sleep(FORGET_WITHIN_S)
    found = []
    for relay, child in scene.site.children.items():
        places = await trio.to_thread.run_sync(traces, child.process.pid, dict.fromkeys(keys))
        found += [f"{relay} still holds a delivered key: {place}" for place in places]
    return found


def audit_records(scene: Scene, relay: str, failures: list[str]) -> int:
    """Follow the audit log; return how many records it has."""
    path = audit_path(load(scene.site.config(relay), files=False).store.path)
    try:
        with path.open("rb") as file:
            follow(file)
    except (ChainBroken, OSError) as error:
        failures.append(f"audit log of {relay}: {error}")
    return path.read_bytes().count(b"\n")


def tracebacks(folder: Path) -> list[str]:
    return [
        f"{path.name} holds {n} tracebacks"
        for path in folder.rglob("*.log")
        if (n := path.read_text(errors="replace").count("Traceback (most recent call last)"))
    ]
