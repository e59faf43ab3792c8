"""The operator's commands against relays that run and relays that do not."""

import json
import subprocess
import sys
from pathlib import Path

from qkdd.cli.demo.files import ALICE, BOB, SAE_A
from tests.whole.applications import Applications
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk, lay_stock


def qkdd(site: Site, relay: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "qkdd.cli", *arguments],
        cwd=site.config(relay).parent,
        capture_output=True,
        text=True,
        timeout=30,
    )


async def test_check_names_every_mistake_of_a_configuration(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site:
        config = site.config(BOB)
        assert qkdd(site, BOB, "check", "relay.toml").returncode == 0
        right = config.read_text()
        wrong = (
            right.replace('master_key = "master.key"', "master_key = 7\nkey_size_bits = 3")
            .replace('role = "receiver"', 'role = "eavesdropper"')
            .replace("ramp_frames = [20]", "ramp_frames = [20]\npulse_rate = 1")
        )
        config.write_text(wrong)
        done = qkdd(site, BOB, "check", "relay.toml")
        assert done.returncode == 1
        for place in (
            "store.master_key",
            "store.key_size_bits",
            "links[0].role",
            "links[0].light.pulse_rate",
        ):
            assert place in done.stdout, done.stdout
        assert "4 mistakes" in done.stderr
        started = qkdd(site, BOB, "run", "relay.toml")
        assert started.returncode == 1
        assert "links[0].light.pulse_rate" in started.stderr
        assert "Traceback" not in started.stderr
        config.write_text(right)
        (config.parent / "master.key").unlink()
        done = qkdd(site, BOB, "check", "relay.toml")
        assert done.returncode == 1
        assert "store.master_key: no such file" in done.stdout


async def test_status_and_digest_of_a_relay_that_does_not_run(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site:
        for arguments in (["status", "relay.toml"], ["store", "digest", "relay.toml"]):
            done = qkdd(site, ALICE, *arguments)
            assert done.returncode == 1
            assert done.stderr.startswith("Error: ")
            assert "Traceback" not in done.stderr
            assert done.stdout == ""
        assert "no relay answers" in qkdd(site, ALICE, "status", "relay.toml").stderr
        install_psk(site)
        done = qkdd(site, ALICE, "store", "digest", "relay.toml", "--json")
        assert (done.returncode, json.loads(done.stdout)) == (0, [])
        assert qkdd(site, ALICE, "status", "no-such.toml").returncode == 1


async def test_relays_serve_key_from_stock_while_their_instruments_are_nowhere(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        await site.start()
        await site.wait("both say so", lambda a, b: a.state == b.state == "dark", 20)
        await apps.refresh(SAE_A, 16)
        apps.check()
        said = qkdd(site, ALICE, "status", "relay.toml")
        assert said.returncode == 0
        assert "link a-b to relay-b (transmitter): dark - " in said.stdout
        done = qkdd(site, ALICE, "run", "relay.toml")
        assert done.returncode == 1
        assert "another process" in done.stderr
        for relay in (ALICE, BOB):
            assert await site.stop(relay) == 0
            assert not (site.config(relay).parent / "qkdd.sock").exists()
