"""Relays that hang, disks that go back in time, instruments that are unplugged and come back."""

import shutil
import signal
from pathlib import Path

import pytest

from qkdd.cli.demo.files import ALICE, BOB, LINK, SAE_A, SAE_B
from qkdd.cli.demo.processes import start_lab
from tests.whole.agreement import stores_agree
from tests.whole.applications import Applications, Refused
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk, lay_stock

SHORTAGE = 503
RELIGHT_S = 60.0


async def refused(apps: Applications, master: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await apps.new_keys(master)
    return caught.value


async def test_a_peer_that_hangs_costs_the_keys_asked_for_and_nothing_is_delivered_twice(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        await site.start()
        await site.wait_up()
        await apps.refresh(SAE_A)
        bob = site.children[BOB].process
        bob.send_signal(signal.SIGSTOP)
        try:
            refusal = await refused(apps, SAE_A)
        finally:
            bob.send_signal(signal.SIGCONT)
        assert refusal.status == SHORTAGE
        await site.wait_up()
        for master in (SAE_A, SAE_B):
            await apps.refresh(master, 8)
        account = await stores_agree(site)
        assert account["delivered"] == 8 * 32 * 17
        assert await apps.fetch_the_rest() == 0
        apps.check()


def restore(site: Site, relay: str, image: Path) -> None:
    folder = site.config(relay).parent
    for file in folder.glob("keys.sqlite*"):
        file.unlink()
    for file in image.glob("keys.sqlite*"):
        shutil.copy(file, folder)


async def test_a_store_restored_from_an_old_image_delivers_nothing_and_both_ends_say_why(
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
        await apps.refresh(SAE_B, 8)
        assert await site.stop(BOB) == 0
        restore(site, BOB, image)
        await site.start(BOB)
        await site.wait_alone(
            ALICE, lambda a: a.state == "down" and "restored from an old" in (a.reason or ""), 20
        )
        await site.wait_alone(BOB, lambda b: b.state == "down" and bool(b.reason), 20)
        await apps.hang_up()
        for master in (SAE_A, SAE_B):
            assert (await refused(apps, master)).status == SHORTAGE
        apps.check()


@pytest.mark.slow
async def test_instruments_that_vanish_and_come_back_are_found_again(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        install_psk(site)
        await site.start()
        await site.wait("light", lambda a, b: a.state == b.state == "light", 30)
        on_the_same_ports(site)
        await site.end_lab()
        alice, bob = await site.wait("both dark", lambda a, b: a.state == b.state == "dark", 20)
        assert alice.reason
        assert bob.reason
        site.lab, links = await start_lab(tmp_path / "lab" / "lab.toml")
        assert links[LINK] == site.resources
        await site.wait("light again", lambda a, b: a.state == b.state == "light", RELIGHT_S)
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, RELIGHT_S)
        await site.end_lab()
        await stores_agree(site)


def on_the_same_ports(site: Site) -> None:
    """Have the laboratory listen where it listens now when it is started again."""
    path = site.folder / "lab" / "lab.toml"
    text = path.read_text()
    ports = {
        name: resource.removesuffix("::SOCKET").replace("::", ":").rpartition(":")[2]
        for name, resource in site.resources.items()
    }
    counts = f'model = "sq-websq", counts = "tcp:127.0.0.1:{ports["counts"]}"'
    text = text.replace('model = "sq-websq"', counts)
    for name in ("attenuator", "encoder", "tagger", "detector"):
        before, mark, after = text.partition(f"{name} = {{")
        text = before + mark + after.replace("tcp:127.0.0.1:0", f"tcp:127.0.0.1:{ports[name]}", 1)
    path.write_text(text)
