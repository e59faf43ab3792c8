"""Two relays over a network that corrupts, cuts, holds back and crawls: keys stay right."""

from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from qkdd.daemon.snapshot import LinkSnapshot
from qkdd.net.framing import HEADER
from tests.chaos.proxy import ChaosProxy
from tests.chaos.weather import CALM, Direction, Weather
from tests.whole.agreement import stores_agree
from tests.whole.applications import Applications, Refused
from tests.whole.bad_network import bad_network, thief_of_certificates
from tests.whole.site import UP, Site, open_site
from tests.whole.stock import lay_stock

AGAIN_S = 15.0
SHORTAGE = 503
STOCK_BYTES = 256 * 1024
CRAWL = Weather(bytes_per_s=100)
BLOCKED = Weather(blocked=True)


async def fetch(apps: Applications) -> None:
    """Fetch keys in both directions, also while the session may be about to break."""
    for master in (SAE_A, SAE_B):
        try:
            await apps.refresh(master, 2)
        except Refused as refusal:
            apps.failures[str(refusal)[:100]] += 1


async def until_spoilt(apps: Applications, direction: Direction, n_spoilt: int) -> None:
    """Give the network something to spoil."""
    with trio.fail_after(AGAIN_S):
        while direction.n_flipped + direction.n_truncated < n_spoilt:
            await fetch(apps)


async def all_is_well(site: Site, apps: Applications) -> None:
    await site.wait_up(AGAIN_S)
    for master in (SAE_A, SAE_B):
        await apps.refresh(master, 4)
    await stores_agree(site)
    await apps.fetch_the_rest()
    apps.check()


@pytest.mark.slow
async def test_corruption_truncation_and_resets_each_end_the_session_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, STOCK_BYTES)
        async with bad_network(site) as proxy:
            await site.start()
            await site.wait_up()
            for spoil in (
                proxy.forward.flip_next,
                proxy.backward.flip_next,
                proxy.forward.cut_next,
            ):
                n_connections = proxy.n_connections
                n_before = [one.n_flipped + one.n_truncated for one in directions(proxy)]
                spoil()
                with trio.fail_after(AGAIN_S):
                    while n_before == [
                        one.n_flipped + one.n_truncated for one in directions(proxy)
                    ]:
                        await fetch(apps)
                with trio.fail_after(AGAIN_S):
                    await proxy.connections(n_connections + 1)
                await site.wait_up(AGAIN_S)
            n_connections = proxy.n_connections
            assert proxy.reset() == 2
            with trio.fail_after(AGAIN_S):
                await proxy.connections(n_connections + 1)
            await all_is_well(site, apps)
            for relay in (ALICE, BOB):
                link = await site.link(relay)
                assert link is not None
                assert link.auth_bad_tags == 0, "TLS lets no flipped bit through to the tags"
                assert link.n_spoilt_records == 1, "who gets a flipped bit counts it, and no cut"
                assert "a record was changed on the way" in site.children[relay].log.read_text()


def directions(proxy: ChaosProxy) -> tuple[Direction, Direction]:
    return proxy.forward, proxy.backward


async def test_who_changes_bytes_inside_tls_is_noticed_each_time_and_the_third_stops_the_link(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, STOCK_BYTES)
        async with bad_network(site, thief=thief_of_certificates(site)) as proxy:
            await site.start()
            await site.wait_up()
            await apps.refresh(SAE_A, 4)
            for number in (1, 2, 3):
                await site.wait_up(AGAIN_S)
                n_connections = proxy.n_connections
                proxy.forward.flip_next(skip=lambda _piece: HEADER.size)
                await until_spoilt(apps, proxy.forward, number)
                await site.wait_alone(BOB, lambda b, n=number: b.auth_bad_tags == n, AGAIN_S)
                with trio.fail_after(AGAIN_S):  # or the next flip would hit the last words of this
                    await proxy.connections(n_connections + 1)
            bob = await site.wait_alone(BOB, stopped, AGAIN_S)
            alice = await site.link(ALICE)
            assert alice is not None
            assert alice.auth_bad_tags == 0
            assert bob.state == "down"
            with pytest.raises(Refused) as caught:
                await apps.new_keys(SAE_A)
            assert caught.value.status == SHORTAGE
            apps.check()


def stopped(link: LinkSnapshot) -> bool:
    return "3 frames failed authentication" in (link.reason or "")


async def test_bytes_held_back_cost_the_keys_asked_for_and_all_goes_on_when_they_come(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, STOCK_BYTES)
        async with bad_network(site) as proxy:
            await site.start()
            await site.wait_up()
            proxy.turn(BLOCKED, "backward")  # Bob holds the keys, and his word does not come
            with pytest.raises(Refused) as caught:
                await apps.new_keys(SAE_A)
            assert caught.value.status == SHORTAGE
            proxy.turn(CALM)
            await all_is_well(site, apps)
            assert proxy.n_connections == 1


async def test_a_neighbour_that_reads_slowly_keeps_no_other_work_waiting(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, STOCK_BYTES)
        async with bad_network(site) as proxy:
            await site.start()
            await site.wait_up()
            held = await apps.new_keys(SAE_B, 4)
            proxy.turn(CRAWL)
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(refused_or_not, apps)
                await trio.sleep(0.2)
                with trio.fail_after(2.0):
                    await apps.known_keys(SAE_A, held)
                    for relay in (ALICE, BOB):
                        link = await site.link(relay)
                        assert link is not None
                        assert link.state in UP
            proxy.turn(CALM)
            await all_is_well(site, apps)


async def refused_or_not(apps: Applications) -> None:
    try:
        await apps.new_keys(SAE_A, 8)
    except Refused as refusal:
        assert refusal.status == SHORTAGE
