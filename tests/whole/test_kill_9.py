"""kill -9 of either relay, at moments nobody chose: no key twice, no two that differ."""

import random
from functools import partial
from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from tests.whole.agreement import stores_agree
from tests.whole.applications import Applications, NoAnswer, Refused
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk, lay_stock

LONGEST_LIFE_S = 0.8
FIRST_KEY_TIMEOUT_S = 40.0


async def fetch_for_ever(apps: Applications, master: str, *, number: int) -> None:
    while True:
        try:
            await apps.refresh(master, number)
        except (NoAnswer, Refused):
            await trio.sleep(0.02)


async def kill_while_fetching(site: Site, apps: Applications, victim: str, life_s: float) -> None:
    before = len(apps.deliveries)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(fetch_for_ever, apps, SAE_A, number=1))
        nursery.start_soon(partial(fetch_for_ever, apps, SAE_B, number=3))
        with trio.fail_after(FIRST_KEY_TIMEOUT_S):
            await apps.delivered_more_than(before)
        await trio.sleep(life_s)
        await site.kill(victim)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_kill_9_of_either_relay_delivers_no_key_twice_and_none_that_differ(
    tmp_path: Path,
) -> None:
    dice = random.Random()
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 512 * 1024)
        await site.start()
        await site.wait_up()
        for victim in (ALICE, BOB, ALICE, BOB):
            await kill_while_fetching(site, apps, victim, dice.uniform(0, LONGEST_LIFE_S))
            await site.start(victim)
            await site.wait_up()
            await stores_agree(site)
            await apps.fetch_the_rest()
            apps.check()
        account = await stores_agree(site)
        assert account["delivered"] >= 8 * sum(map(len, apps.of(SAE_A).values()))


@pytest.mark.slow
async def test_kill_9_under_light_costs_the_block_in_work_and_no_agreement(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, Applications(site) as apps:
        install_psk(site)
        await site.start()
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, 40)
        victim = random.choice((ALICE, BOB))
        await kill_while_fetching(site, apps, victim, random.uniform(0, 2 * LONGEST_LIFE_S))
        await site.start(victim)
        await site.wait("light again", lambda a, b: a.state == b.state == "light", 30)
        await site.end_lab()
        await stores_agree(site)
        await apps.fetch_the_rest()
        apps.check()
