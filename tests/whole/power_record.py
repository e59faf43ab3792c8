"""Two relays under traffic on recorded disks, and every key that reached an application."""

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from tests.chaos.power_log import Entry, marks_before, read_log
from tests.chaos.recorded_disk import Marker, Recorder, recorded
from tests.whole.agreement import stores_agree
from tests.whole.applications import Applications, Delivered
from tests.whole.marked_relay import command
from tests.whole.power_cut import (
    LETTERS,
    Cut,
    Findings,
    Seen,
    examine,
    site_after,
    some_cuts,
)
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk, lay_stock

ENOUGH_BITS = 32_768
READY = b"ready"
"""The mark from which on the power may be cut: what an operator laid there is on the disk."""


class MarkedApplications(Applications):
    """Each key that comes is marked in the log, at once."""

    def __init__(self, site: Site, marker: Marker) -> None:
        super().__init__(site)
        self._marker = marker

    async def _ask(self, sae: str, target: str, body: str) -> list[str]:
        ids = await super()._ask(sae, target, body)
        keys = self.of(sae)
        for key_id in ids:
            self._marker.mark(f"key {sae} {key_id} {keys[key_id].hex()}".encode())
        return ids


@dataclass(frozen=True, slots=True)
class Recording:
    """All that is needed to cut the power at any moment of it."""

    site: Site
    bases: dict[str, bytes]
    entries: list[Entry]

    @property
    def first(self) -> int:
        return next(at for at, one in enumerate(self.entries) if one.data == READY)

    async def revive(self, folder: Path, cut: Cut) -> None:
        """Start real relays on what a cut has left: they agree, and give fresh keys only."""
        seen = Seen.of(marks_before(self.entries, cut.place))
        with site_after(self.site, folder, self.bases, self.entries, cut) as (site, _):
            async with Applications(site) as apps:
                apps.deliveries += [Delivered(*who, key) for who, key in seen.keys.items()]
                try:
                    await site.start()
                    alice, _ = await site.wait_up()
                    if alice.stock_bits > ENOUGH_BITS:  # else the power failed before the first key
                        for master in (SAE_A, SAE_B):
                            await apps.refresh(master, 4)
                    await stores_agree(site)
                    await apps.fetch_the_rest()
                    apps.check()
                finally:
                    for name in tuple(site.children):
                        await site.kill(name)

    def examine(self, folder: Path, number: int, dice: random.Random) -> Findings:
        """Cut the power ``number`` times, and look at what is left."""
        findings = Findings()
        for cut in some_cuts(self.entries, self.first, number, dice):
            seen = Seen.of(marks_before(self.entries, cut.place))
            with site_after(self.site, folder, self.bases, self.entries, cut) as (site, n_repaired):
                findings.n_repaired += n_repaired
                examine(site, seen, cut, findings)
        return findings


@asynccontextmanager
async def disks_of(folder: Path) -> AsyncIterator[Recorder]:
    """Recorded disks under the folders of both relays."""
    spool = folder / "recorder"
    spool.mkdir()
    disks = []
    for letter, name in LETTERS.items():
        (folder / name).mkdir()
        disks.append((letter, folder / name))
    with recorded(spool, disks) as recorder:
        yield recorder


async def record(folder: Path, seconds: float, *, lit: bool, sync: bool = True) -> Recording:
    """Record relays under traffic: from stock, or (``lit``) while blocks are distilled as well."""
    async with disks_of(folder) as recorder:
        marker = Marker(recorder.marks)
        async with open_site(folder, lit=lit) as site, MarkedApplications(site, marker) as apps:
            for letter, name in LETTERS.items():
                site.launch[name] = lambda config, letter=letter: command(
                    letter, recorder.marks, config, sync=sync
                )
            if lit:
                install_psk(site)
            else:
                lay_stock(site, 256 * 1024)
            os.sync()
            marker.mark(READY)
            await site.start(ALICE, BOB)
            await site.wait_up()
            if lit:
                await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, 60)
            async with apps.traffic():
                await trio.sleep(seconds)
            assert len(apps.deliveries) > 10 * seconds, apps.failures
            for name in LETTERS.values():
                await site.kill(name)
        marker.close()
    return Recording(site, recorder.bases, read_log(recorder.log))
