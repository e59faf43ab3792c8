"""A relay whose tap sees a modulator off its point: no run, a reason at both ends, then light."""

from functools import partial
from pathlib import Path

import pytest

from drivers.sim.config import Attack
from drivers.sim.control import AttackOrder, ask
from qkdd.cli.demo.files import (
    ALICE,
    BOB,
    LASER_MA,
    SLOPE_MW_PER_MA,
    THRESHOLD_MA,
)
from qkdd.cli.ports import lasting_ports
from tests.whole.site import open_site
from tests.whole.stock import install_psk

SAID_S, KEY_S = 30.0, 40.0
TAP_W = 1e-5 * SLOPE_MW_PER_MA * (LASER_MA - THRESHOLD_MA)
"""A hundredth of the laser's light: the laboratory's default."""
PROOF = "\n[links.proof]\nmu_uncertainty = 0.01\n"
REASON = "the intensities at the tap: "


def with_meter(text: str, port: int) -> str:
    meter = f'power_meter = {{ model = "thorlabs-pm100", listen = "tcp:127.0.0.1:{port}" }}'
    return f"{text}{meter}\n"


def tap(port: int) -> str:
    return (
        f"{PROOF}"
        '\n[links.transmitter.tap]\nmodel = "thorlabs-pm100"\n'
        f'resource = "TCPIP::127.0.0.1::{port}::SOCKET"\npower_w = {TAP_W}\n'
    )


@pytest.mark.long
async def test_a_modulator_that_has_drifted_keeps_the_link_dark_until_it_is_set_anew(
    tmp_path: Path,
) -> None:
    (port,) = lasting_ports(1)
    lab = tmp_path / "lab" / "lab.toml"
    more = {ALICE: tap(port), BOB: PROOF}
    async with open_site(tmp_path, more=more, alter_lab=partial(with_meter, port=port)) as site:
        install_psk(site)
        ask(lab, AttackOrder(Attack(kind="intensity-drift", fraction=0.02)))
        await site.start()
        alice, bob = await site.wait(
            "a reason at both ends",
            lambda a, b: REASON in (a.reason or "") and f"says: {REASON}" in (b.reason or ""),
            SAID_S,
        )
        assert alice.state == "dark"
        assert "weak is 0.387" in (alice.reason or "")
        assert bob.state != "light"
        assert alice.tap_levels is not None
        assert alice.tap_levels["weak"] == pytest.approx(1.02 * 0.38, rel=1e-3)
        ask(lab, AttackOrder(None))
        alice, bob = await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, KEY_S)
        assert alice.tap_levels == pytest.approx(
            {"signal": 1.0, "weak": 0.38, "vacuum": 0.002}, rel=0.01
        )
        assert alice.tap_ratio == pytest.approx(1.0, abs=1e-3)
        assert alice.n_blocks_void == 0
