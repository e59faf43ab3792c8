"""A daemon cannot tell that its light is simulated: all it has are resource strings."""

import os
import re
from pathlib import Path

import pytest

from qkdd.cli.demo.files import ALICE, BOB
from tests.whole.memory_scan import contains
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk

KM, SEED, FRACTION = 41.7531, 987_654_321_123, 0.000_123_457
SECRETS_OF_THE_LAB = [
    text.encode() for text in (str(KM), str(SEED), repr(FRACTION), "intercept", "lab.toml")
]
LISTENING = "0A"
OF_THE_TERMINAL = ("LINES", "COLUMNS")
"""Set by the readline library behind Python's back."""


def open_files(pid: int) -> list[str]:
    return [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()]


def far_ports(pid: int) -> set[int]:
    """Ports on loopback to which this process has connected, or from which it was."""
    inodes = {name[8:-1] for name in open_files(pid) if name.startswith("socket:[")}
    ports = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and fields[3] != LISTENING:
            ports |= {int(address.rpartition(":")[2], 16) for address in fields[1:3]}
    return ports


def ports_of(site: Site) -> set[int]:
    """Every port that the relays' own configurations name."""
    texts = [site.config(relay).read_text() for relay in (ALICE, BOB)]
    return {int(number) for text in texts for number in re.findall(r"(?<=[:=])\d{4,5}\b", text)}


@pytest.mark.slow
async def test_a_daemon_has_nothing_of_the_lab_but_resource_strings(tmp_path: Path) -> None:
    attack = ("intercept-resend", FRACTION)
    async with open_site(tmp_path, km=KM, seed=SEED, attack=attack) as site:
        install_psk(site)
        await site.start()
        await site.wait("light", lambda a, b: a.state == b.state == "light", 30)
        lab = tmp_path / "lab"
        tty = os.readlink(lab / "laser")
        assert site.lab is not None
        lab_pid = site.lab.process.pid
        for relay in (ALICE, BOB):
            pid = site.children[relay].process.pid
            no_secret_of_the_lab_is_said(site, relay, pid)
            ours, theirs = set(open_files(pid)), set(open_files(lab_pid))
            assert not [name for name in ours if name.startswith(str(lab))]
            shared = {name for name in ours & theirs if name.startswith("/")} - {"/dev/null"}
            assert shared <= {tty}, shared
            named = ports_of(site)
            stray = [port for port in far_ports(pid) if port not in named]
            assert len(stray) == len(far_ports(pid) & named), "each talk has one end that is named"
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "drivers/kernels/native/tdc1" in maps or relay == ALICE
            assert "drivers/kernels/native/clicks" not in maps
            assert "drivers/kernels/native/expand" not in maps
            assert not contains(pid, b"/drivers/sim/")
        assert contains(lab_pid, b"/drivers/sim/")
        assert "drivers/kernels/native/clicks" in Path(f"/proc/{lab_pid}/maps").read_text()


def no_secret_of_the_lab_is_said(site: Site, relay: str, pid: int) -> None:
    folder = site.config(relay).parent
    places = [Path(f"/proc/{pid}/{name}") for name in ("cmdline", "environ")]
    places += [path for path in folder.iterdir() if path.is_file()]
    for place in places:
        text = place.read_bytes()
        assert not [secret for secret in SECRETS_OF_THE_LAB if secret in text], place
    mine = dict(os.environ)
    for pair in Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0"):
        name, _, value = pair.decode().partition("=")
        assert mine.get(name) == value or name in OF_THE_TERMINAL, (
            f"{name} was added for the daemon"
        )
    resources = set(site.resources.values())
    said = folder.joinpath("relay.toml").read_text()
    for line in said.splitlines():
        if str(site.folder / "lab") in line:
            assert any(resource in line for resource in resources), line
