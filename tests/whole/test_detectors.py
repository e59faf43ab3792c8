"""A receiver that watches its detectors: what ends the light by its name, and what comes back."""

from pathlib import Path

import pytest

from drivers.sim.config import Attack
from drivers.sim.control import AttackOrder, FaultOrder, Order, ask
from qkdd.cli.demo.files import LINK
from qkdd.daemon.snapshot import LinkSnapshot
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk

SOON_S = 60.0
BLINDED = Attack(kind="blinding-careful", fraction=0.05)


async def shining(site: Site) -> LinkSnapshot:
    """Wait for a block with key of a run that goes on."""
    _, bob = await site.wait("light", lambda a, b: a.state == b.state == "light", SOON_S)
    blocks = bob.n_blocks
    _, bob = await site.wait(
        "key",
        lambda _a, b: (
            b.state == "light"
            and b.n_blocks > blocks
            and b.last_block is not None
            and b.last_block.n_secret_bits > 0
        ),
        SOON_S,
    )
    assert bob.detectors is not None
    assert (bob.detectors.state, bob.detectors.reason) == ("well", None)
    return bob


async def darkens(site: Site, lab: Path, order: Order, reason: str) -> LinkSnapshot:
    """Give an order; wait until both ends are dark, and this end says this for its reason."""
    before = await shining(site)
    assert before.detectors is not None
    ask(lab, order)
    n_before = before.detectors.n_troubles
    _, bob = await site.wait(
        reason,
        lambda a, b: (
            a.state != "light"
            and b.state != "light"
            and reason in (b.reason or "")
            and b.detectors is not None
            and b.detectors.n_troubles > n_before
        ),
        SOON_S,
    )
    assert bob.n_blocks_void > before.n_blocks_void
    return bob


@pytest.mark.long
@pytest.mark.slow
async def test_light_ends_when_a_detector_is_not_what_it_was_and_comes_back(
    tmp_path: Path,
) -> None:
    lab = tmp_path / "lab" / "lab.toml"
    async with open_site(tmp_path) as site:
        install_psk(site)
        await site.start()
        await shining(site)
        order: Order = FaultOrder(LINK, "detector", "latch", 600.0)
        await darkens(site, lab, order, "key basis, bit 0: latched")
        order = FaultOrder(LINK, "counts", "unplugged", 3.0)
        await darkens(site, lab, order, "nobody watches them")
        await darkens(site, lab, AttackOrder(BLINDED), "latched, or blinded")
        ask(lab, AttackOrder(None))
        order = FaultOrder(LINK, "detector", "deaf", 5.0)
        bob = await darkens(site, lab, order, "detectors: key basis, bit 0")
        bob = await shining(site)
        assert bob.detectors is not None
        assert bob.detectors.n_restored >= 3
        assert min(bob.detectors.tagged_hz) > 100
        assert site.children["relay-b"].process.poll() is None
