"""A relay whose randomness has a noise source that fails: its link halts, and comes back."""

from pathlib import Path

import msgspec
import pytest

from drivers.sim.control import FaultOrder, ask
from qkdd.cli.demo.files import BOB
from qkdd.cli.demo.processes import ask_status
from qkdd.daemon.snapshot import LinkSnapshot, RelaySnapshot
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk

AT, NOISE = "noise-b", "noise"
UP_S, HALT_S = 40.0, 30.0


def with_noise(text: str) -> str:
    return text + f'\n[[noise]]\nmodel = "onerng"\nname = "{AT}"\nlisten = "pty:{AT}"\n'


def receiver(folder: Path) -> str:
    resource = f"serial:{folder / 'lab' / AT}"
    return f'\n[entropy.noise]\nmodel = "onerng"\nresource = "{resource}"\n'


async def entropy_failure(site: Site) -> str | None:
    answer = await ask_status(site.config(BOB).parent / "qkdd.sock")
    assert answer is not None
    return msgspec.json.decode(answer, type=RelaySnapshot).entropy_failure


async def halted(site: Site, reason: str) -> None:
    """Wait until the link is down for ``reason`` and its transmitter is dark."""
    _, bob = await site.wait(
        reason,
        lambda a, b: b.state == "down" and reason in (b.reason or "") and a.state != "light",
        HALT_S,
    )
    assert (bob.reason or "").startswith("entropy source onerng at serial:")
    assert reason in (await entropy_failure(site) or "")


async def shining(site: Site) -> tuple[LinkSnapshot, LinkSnapshot]:
    ends = await site.wait("light", lambda a, b: a.state == b.state == "light", UP_S)
    assert await entropy_failure(site) is None
    return ends


@pytest.mark.long
@pytest.mark.slow
async def test_a_noise_source_that_fails_halts_the_link_until_it_is_well(tmp_path: Path) -> None:
    more = {BOB: receiver(tmp_path)}
    lab = tmp_path / "lab" / "lab.toml"
    async with open_site(tmp_path, more=more, alter_lab=with_noise) as site:
        install_psk(site)
        await site.start()
        await shining(site)
        ask(lab, FaultOrder(AT, NOISE, "oscillating", 600.0))
        await halted(site, "equal samples in a row")
        ask(lab, FaultOrder(AT, NOISE, "stuck", 0.0))
        await shining(site)
        ask(lab, FaultOrder(AT, NOISE, "stuck", 600.0))
        await halted(site, "no noise for 5 s")
        ask(lab, FaultOrder(AT, NOISE, "stuck", 0.0))
        await shining(site)
        ask(lab, FaultOrder(AT, NOISE, "unplugged", 600.0))
        await halted(site, "cannot open")
        ask(lab, FaultOrder(AT, NOISE, "unplugged", 0.0))
        _, bob = await shining(site)
        blocks = bob.n_blocks
        await site.wait("key", lambda _a, b: b.n_blocks > blocks and b.stock_bits > 0, UP_S)
