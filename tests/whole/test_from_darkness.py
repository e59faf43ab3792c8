"""The whole river: light that nobody has measured yet, then equal keys in two applications."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from qkdd.cli.demo.files import ALICE, BOB, LINK, SAE_A, SAE_B
from tests.whole.agreement import balances, stores_agree
from tests.whole.applications import Applications
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk

FIRST_KEY_S = 40.0


def command(site: Site, relay: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "qkdd.cli", *arguments],
        cwd=site.config(relay).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
async def test_two_relays_go_from_darkness_to_equal_keys_and_equal_accounts(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, Applications(site) as apps:
        psk = tmp_path / "link.psk"
        command(site, ALICE, "psk", "make", str(psk))
        for relay, more in ((ALICE, ["--keep"]), (BOB, [])):
            command(site, relay, "psk", "install", "relay.toml", LINK, str(psk), *more)
        assert not psk.exists()
        await site.start()
        alice, bob = await site.wait(
            "key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, FIRST_KEY_S
        )
        assert alice.last_block is not None
        assert bob.last_block is not None
        assert 0.005 < (alice.last_block.qber_key or 0) < 0.02
        for master in (SAE_A, SAE_B, SAE_A):
            await apps.refresh(master)
        apps.check()
        assert len(apps.deliveries) == 6
        await site.end_lab()
        await stores_agree(site)
        rows = [
            json.loads(command(site, relay, "store", "digest", "relay.toml", "--json"))
            for relay in (ALICE, BOB)
        ]
        assert rows[0] == rows[1] != []
        for relay in (ALICE, BOB):
            snapshot = json.loads(command(site, relay, "status", "relay.toml", "--json"))
            assert balances(snapshot["links"][0]["account"])


@pytest.mark.slow
async def test_intercept_resend_of_half_the_pulses_leaves_no_key_and_status_says_why(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, attack=("intercept-resend", 0.5)) as site:
        install_psk(site)
        await site.start()
        alice, bob = await site.wait(
            "a block given up",
            lambda a, b: min(a.n_blocks_void, b.n_blocks_void) > 0,
            within_s=FIRST_KEY_S,
        )
        for end in (alice, bob):
            assert end.stock_bits == 0
            assert end.account["distilled"] == 0
            assert end.reason is not None
            assert "QBER" in end.reason, end.reason
