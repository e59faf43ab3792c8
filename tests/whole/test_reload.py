"""Operators change certificates and lists under running relays: sessions and light go on."""

import datetime
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from qkdd.base.audit_chain import Record, follow
from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from qkdd.config import load
from qkdd.daemon.audit import audit_path
from qkdd.net.pki import Authority
from tests.whole.applications import Applications, NoAnswer, Refused
from tests.whole.site import Site, open_site
from tests.whole.stock import lay_stock

NOW = datetime.datetime.now(datetime.UTC)
AGAIN_S = 15.0


def reload(site: Site, relay: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "qkdd.cli", "reload", str(site.config(relay))],
        capture_output=True,
        text=True,
        timeout=30,
    )


def authority(site: Site) -> Authority:
    return Authority.open_or_create(site.folder / "pki", now=NOW, days=30)


def replace(site: Site, relay: str, old: str, new: str) -> None:
    path = site.config(relay)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def sessions(site: Site, relay: str) -> int:
    """Count the sessions that a relay has had, by its log."""
    return site.children[relay].log.read_text().count("stores agree")


async def test_a_reload_takes_certificates_list_and_saes_and_a_bad_one_changes_nothing(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        await site.start()
        await site.wait_up()
        await apps.refresh(SAE_A)
        ours = authority(site)

        expired = ours.issue_node(BOB, now=NOW - datetime.timedelta(days=40), days=30)
        done = await trio.to_thread.run_sync(reload, site, BOB)
        assert (done.returncode, "is valid from" in done.stderr) == (1, True), done
        assert expired.certificate.exists()
        await apps.refresh(SAE_A)
        ours.issue_node(BOB, now=NOW, days=30)
        replace(site, BOB, 'path = "keys.sqlite"', 'path = "other.sqlite"')
        done = await trio.to_thread.run_sync(reload, site, BOB)
        assert "only a restart can change store.path" in done.stderr
        replace(site, BOB, 'path = "other.sqlite"', 'path = "keys.sqlite"')

        ours.revoke([site.folder / "pki" / f"{SAE_B}.pem"], now=NOW, days=30)
        replace(site, BOB, 'ca = "../pki/ca.pem"', 'ca = "../pki/ca.pem"\ncrl = "../pki/ca.crl"')
        held = await apps.new_keys(SAE_A)
        done = await trio.to_thread.run_sync(reload, site, BOB)
        assert (done.returncode, "1 revoked" in done.stdout) == (0, True), done
        with pytest.raises(NoAnswer):
            await apps.known_keys(SAE_B, held)
        assert await apps.new_keys(SAE_A)
        assert sessions(site, ALICE) == sessions(site, BOB) == 1
        apps.check()


async def test_a_revoked_neighbour_is_hung_up_on_and_comes_back_with_another_certificate(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        await site.start()
        await site.wait_up()
        ours = authority(site)
        ours.revoke([site.folder / "pki" / f"{ALICE}.pem"], now=NOW, days=30)
        replace(site, BOB, 'ca = "../pki/ca.pem"', 'ca = "../pki/ca.pem"\ncrl = "../pki/ca.crl"')
        os.kill(site.children[BOB].process.pid, signal.SIGHUP)
        bob = await site.wait_alone(BOB, lambda b: b.state == "down", AGAIN_S)
        assert f"CN={ALICE} is revoked" in (bob.reason or "")
        with pytest.raises(Refused):
            await apps.new_keys(SAE_A)
        ours.issue_node(ALICE, now=NOW, days=30)
        assert (await trio.to_thread.run_sync(reload, site, ALICE)).returncode == 0
        await site.wait_up(AGAIN_S)
        await apps.refresh(SAE_A)
        apps.check()


async def test_an_expired_certificate_keeps_the_link_down_and_says_so_until_it_is_renewed(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        ours = authority(site)
        ours.issue_node(BOB, now=NOW - datetime.timedelta(days=40), days=30)
        await site.start()
        await site.wait_alone(ALICE, lambda a: "expired" in (a.reason or ""), AGAIN_S)
        ours.issue_node(BOB, now=NOW, days=30)
        assert (await trio.to_thread.run_sync(reload, site, BOB)).returncode == 0
        await site.wait_up(AGAIN_S)
        await apps.refresh(SAE_A)
        apps.check()


async def test_a_day_of_a_relay_is_in_its_audit_log_and_the_chain_holds(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site:
        lay_stock(site, 64 * 1024)
        await site.start()
        await site.wait_up()
        authority(site).issue_node(BOB, now=NOW - datetime.timedelta(days=40), days=30)
        assert (await trio.to_thread.run_sync(reload, site, BOB)).returncode == 1
        assert await site.stop(ALICE) == 0
        await site.wait_alone(BOB, lambda b: b.state == "down", AGAIN_S)
        assert await site.stop(BOB) == 0
        with audit_path(load(site.config(BOB)).store.path).open("rb") as file:
            events = [msgspec.json.decode(line, type=Record) for line in file]
        follow(msgspec.json.encode(one) + b"\n" for one in events)
        assert [one.event for one in events] == [
            "start",
            "session",
            "alarm",
            "session ended",
            "stop",
        ]
        assert events[1].fields["peer"] == ALICE
        assert events[2].fields["what"] == "reload refused: all stays as it was"
