"""The way back from two bad days: a neighbour that hangs under light, a store that was restored."""

import shutil
import signal
from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB, LINK, SAE_A, SAE_B
from tests.whole.agreement import stores_agree
from tests.whole.applications import Applications
from tests.whole.site import UP, open_site
from tests.whole.stock import install_psk, lay_stock
from tests.whole.test_adversity import restore
from tests.whole.test_from_darkness import command

LIGHT_S, NOTICED_S, AGAIN_S = 60.0, 90.0, 60.0
SOON_S = 12.0
"""Ten seconds, and two for a machine that other work uses."""
NAMED = "the neighbour says nothing"
AGAIN_SOON_S, RELIT_S = 10.0, 30.0
"""For a key from stock, and for the light, which has to be found again."""


@pytest.mark.long
async def test_whoever_hangs_under_light_is_named_within_ten_seconds_and_comes_back_soon(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, Applications(site) as apps:
        install_psk(site)
        await site.start()
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, LIGHT_S)
        for hangs, other in ((BOB, ALICE), (ALICE, BOB)):
            process, own_log = site.children[hangs].process, site.children[hangs].log
            n_before = own_log.read_text().count(NAMED)
            process.send_signal(signal.SIGSTOP)
            try:
                said = f"{hangs} says nothing: "
                await site.wait_alone(
                    other, lambda link, said=said: said in (link.reason or ""), SOON_S
                )
            finally:
                process.send_signal(signal.SIGCONT)
            with trio.fail_after(AGAIN_SOON_S):
                await site.wait_up()
                await apps.refresh(SAE_A)
            await site.wait("light", lambda a, b: a.state == b.state == "light", RELIT_S)
            log = site.children[other].log.read_text()
            assert log.count(NAMED) == 1
            assert log.count("stores agree") == 1, "the session was dropped"
            assert own_log.read_text().count(NAMED) == n_before, "it was away itself"
        await site.end_lab()
        await stores_agree(site)
        apps.check()


@pytest.mark.long
async def test_a_neighbour_that_hangs_under_light_is_named_and_light_comes_back_with_it(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, Applications(site) as apps:
        install_psk(site)
        await site.start()
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, LIGHT_S)
        bob = site.children[BOB].process
        bob.send_signal(signal.SIGSTOP)
        try:
            alice = await site.wait_alone(ALICE, lambda a: a.state not in UP, NOTICED_S)
            assert "the peer has said nothing" in (alice.reason or ""), alice
        finally:
            bob.send_signal(signal.SIGCONT)
        await site.wait("light", lambda a, b: a.state == b.state == "light", AGAIN_S)
        for master in (SAE_A, SAE_B):
            await apps.refresh(master)
        await site.end_lab()
        await stores_agree(site)
        apps.check()


@pytest.mark.long
async def test_a_link_whose_store_was_restored_serves_again_once_it_is_re_keyed(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        image = tmp_path / "image"
        image.mkdir()
        for file in site.config(BOB).parent.glob("keys.sqlite*"):
            shutil.copy(file, image)
        await site.start()
        await site.wait_up()
        await apps.refresh(SAE_A, 8)
        assert await site.stop(BOB) == 0
        restore(site, BOB, image)
        await site.start(BOB)
        await site.wait_alone(ALICE, lambda a: "restored from an old" in (a.reason or ""), AGAIN_S)
        assert await site.stop(BOB) == 0
        await site.start(BOB)  # a restart changes nothing
        await site.wait_alone(ALICE, lambda a: "burned until re-keyed" in (a.reason or ""), AGAIN_S)
        await site.wait_alone(BOB, lambda b: b.state == "down", AGAIN_S)
        for relay in (ALICE, BOB):
            assert await site.stop(relay) == 0
        psk = tmp_path / "new.psk"
        command(site, ALICE, "psk", "make", str(psk))
        for relay, more in ((ALICE, ["--keep"]), (BOB, [])):
            command(site, relay, "psk", "install", "relay.toml", LINK, str(psk), "--rekey", *more)
        await site.start()
        await site.wait_up()
        account = await stores_agree(site)
        assert (account["stock"], account["delivered"]) == (0, 0)
        apps.check()
