"""Disks that fill and fail, clocks that step, authentication key that ends: what a relay does."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB, LINK, SAE_A, SAE_B
from tests.chaos.bad_host import BadHost, why_not
from tests.whole.agreement import stores_agree
from tests.whole.applications import Applications, Refused
from tests.whole.site import Site, open_site, run_command
from tests.whole.stock import install_psk, lay_stock
from tests.whole.test_from_darkness import command

SHORTAGE = 503
AGAIN_S = 20.0
STORE = "keys.sqlite"


def bad_host(site: Site, relay: str) -> BadHost:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    host = BadHost.build(site.folder / "host")
    site.launch[relay] = lambda config: host.python(*run_command(config))
    return host


async def refused(apps: Applications, master: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await apps.new_keys(master)
    return caught.value


async def all_is_well(site: Site, apps: Applications) -> None:
    await site.wait_up(AGAIN_S)
    for master in (SAE_A, SAE_B):
        await apps.refresh(master, 4)
    await stores_agree(site)
    await apps.fetch_the_rest()
    apps.check()


async def served_again(site: Site, apps: Applications) -> None:
    """A write that failed before there was room may end the session only now, for a moment."""
    with trio.fail_after(AGAIN_S):
        while True:
            await site.wait_up(AGAIN_S)
            try:
                await apps.new_keys(SAE_A)
            except Refused as refusal:
                assert refusal.status == SHORTAGE
            else:
                return


async def ask_for_more_than_is_cut_ahead(apps: Applications, master: str) -> None:
    """At most 128 keys of 256 bits lie at both ends already: docs/decisions/0044."""
    for _ in range(129):
        await apps.new_keys(master)


async def test_a_full_disk_stops_key_and_gives_it_again_by_itself_when_there_is_room(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        host = bad_host(site, ALICE)
        await site.start()
        await all_is_well(site, apps)
        host.writing_fails(errno.ENOSPC, STORE)
        refusal = await refused(apps, SAE_A)
        assert refusal.status == SHORTAGE
        assert "full" in str(refusal)
        with pytest.raises(Refused):
            await ask_for_more_than_is_cut_ahead(apps, SAE_B)
        host.recovers()
        await served_again(site, apps)
        await all_is_well(site, apps)
        assert site.children[ALICE].process.poll() is None


@pytest.mark.parametrize(
    "fail",
    [
        lambda host: host.syncing_fails(STORE),
        lambda host: host.writing_fails(errno.EROFS, STORE),
    ],
    ids=["sync", "read-only"],
)
async def test_a_disk_that_fails_stops_the_store_until_a_restart_and_nothing_is_given_twice(
    tmp_path: Path, fail: Callable[[BadHost], None]
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        host = bad_host(site, ALICE)
        await site.start()
        await all_is_well(site, apps)
        fail(host)
        assert (await refused(apps, SAE_A)).status == SHORTAGE
        await site.wait_alone(
            ALICE, lambda a: a.state == "down" and "stopped after:" in (a.reason or ""), AGAIN_S
        )
        host.recovers()
        assert (await refused(apps, SAE_A)).status == SHORTAGE, "not before somebody has looked"
        await site.stop(ALICE)
        await apps.hang_up()
        await site.start(ALICE)
        await all_is_well(site, apps)


async def test_a_wall_clock_that_steps_an_hour_either_way_costs_no_key(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        host = bad_host(site, ALICE)
        await site.start()
        await site.wait_up()
        for seconds in (3600, -3600, 0):
            host.clock_is_ahead(seconds)
            for master in (SAE_A, SAE_B):
                await apps.refresh(master, 4)
        host.recovers()
        await all_is_well(site, apps)
        assert not apps.failures
        assert site.children[ALICE].log.read_text().count("stores agree") == 1


@pytest.mark.slow
async def test_authentication_key_near_its_end_stops_delivery_and_past_it_the_link_until_re_keyed(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        install_psk(site)
        for relay in (ALICE, BOB):
            config = site.config(relay)
            key, limits = 'master_key = "master.key"', "auth_floor_bytes = 20000"
            limits += "\nauth_stride_bytes = 16384"
            config.write_text(config.read_text().replace(key, f"{key}\n{limits}"))
        await site.start()
        alice, _ = await site.wait_up()
        assert alice.auth_left_bits > 8 * 2 * 20_000
        await site.kill(ALICE)  # its death burns what was marked ahead
        await site.start(ALICE)
        await site.wait_up(AGAIN_S)
        refusal = await refused(apps, SAE_A)
        assert refusal.status == SHORTAGE
        assert "the floor is 20000" in str(refusal)
        await site.kill(ALICE)
        await site.start(ALICE)
        alice = await site.wait_alone(
            ALICE, lambda a: "authentication key left" in (a.reason or ""), AGAIN_S
        )
        assert alice.state == "down"
        for relay in (ALICE, BOB):
            assert await site.stop(relay) == 0
        psk = site.folder / "new.psk"
        command(site, ALICE, "psk", "make", str(psk))
        for relay, more in ((ALICE, ["--keep"]), (BOB, [])):
            command(site, relay, "psk", "install", "relay.toml", LINK, str(psk), "--rekey", *more)
        await site.start()
        await site.wait_up(AGAIN_S)
        await stores_agree(site)
