"""kill -9 of either relay, at moments nobody chose: no key twice, no two that differ."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB
from tests.whole.agreement import stores_agree
from tests.whole.applications import Applications
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk, lay_stock

LONGEST_LIFE_S = 0.8
NEXT_KEY_S = 20.0


async def kill_under_traffic(
    site: Site, apps: Applications, victims: Sequence[str], life_s: float
) -> None:
    """Kill while keys are fetched in both directions; return once they are fetched again."""
    async with apps.traffic():
        await next_delivery(apps)
        await trio.sleep(life_s)
        async with trio.open_nursery() as nursery:
            for victim in victims:
                nursery.start_soon(site.kill, victim)
        await site.start(*victims)
        await site.wait_up()
        await next_delivery(apps)


async def next_delivery(apps: Applications) -> None:
    with trio.fail_after(NEXT_KEY_S):
        await apps.delivered_more_than(len(apps.deliveries) + 1)


@pytest.mark.slow
async def test_kill_9_of_either_relay_or_both_delivers_no_key_twice_and_none_that_differ(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 512 * 1024)
        await site.start()
        await site.wait_up()
        for victims in ((ALICE,), (BOB,), (ALICE, BOB)):
            await kill_under_traffic(site, apps, victims, random.uniform(0, LONGEST_LIFE_S))
            account = await stores_agree(site)
            await apps.fetch_the_rest()
            apps.check()
        delivered = {one.key for one in apps.deliveries}
        assert account["delivered"] >= 8 * sum(map(len, delivered))


@pytest.mark.slow
async def test_kill_9_under_light_costs_the_block_in_work_and_no_agreement(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, Applications(site) as apps:
        install_psk(site)
        await site.start()
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, 40)
        victim = random.choice((ALICE, BOB))
        await kill_under_traffic(site, apps, (victim,), random.uniform(0, 2 * LONGEST_LIFE_S))
        await site.wait("light again", lambda a, b: a.state == b.state == "light", 30)
        await site.end_lab()
        await stores_agree(site)
        await apps.fetch_the_rest()
        apps.check()
