"""A relay with a polarisation controller, in a laboratory whose fibre turns."""

from pathlib import Path

import pytest

from drivers.catalogue import open_polarization_controller
from qkdd.cli.demo.files import BOB
from tests.whole.site import open_site
from tests.whole.stock import install_psk

FIRST_KEY_S = 40.0
FOUND_S = 90.0
ALIGNED_S = 400.0


def with_controller(text: str) -> str:
    """Give the laboratory a controller, and its fibre a drift."""
    fibre = "[links.fibre]\n"
    assert fibre in text
    text = text.replace(fibre, f"{fibre}polarization_drift = 0.003\n")
    return text + 'polarization = { model = "ozoptics-epc", listen = "pty:epc" }\n'


def of_unknown_turn(text: str) -> str:
    return with_controller(text).replace(
        "[links.fibre]\n", '[links.fibre]\npolarization_start = "unknown"\n'
    )


def receiver(folder: Path) -> str:
    """Return what the receiver's configuration says of the controller."""
    return (
        '\n[links.receiver.polarization]\nmodel = "ozoptics-epc"\n'
        f'resource = "{resource(folder)}"\nhalf_wave_mv = 2000\n'
    )


def resource(folder: Path) -> str:
    return f"serial:{folder / 'lab' / 'epc'}"


@pytest.mark.long
@pytest.mark.slow
async def test_errors_of_a_turned_fibre_are_brought_down_while_key_flows(tmp_path: Path) -> None:
    more = {BOB: receiver(tmp_path)}
    async with open_site(tmp_path, more=more, alter_lab=with_controller) as site:
        async with open_polarization_controller("ozoptics-epc", resource(tmp_path)) as controller:
            await controller.set_voltages_mv((0, 0, 0, 450))  # 0.7 rad: 12 % errors
        install_psk(site)
        await site.start()
        _, bob = await site.wait(
            "errors seen", lambda _a, b: (b.qber_calibration_key or 0) > 0.08, FIRST_KEY_S
        )
        assert bob.polarization is not None
        _, bob = await site.wait(
            "errors gone",
            lambda _a, b: (
                b.polarization is not None
                and b.polarization.state == "holding"
                and b.polarization.n_steps > 2
                and (b.qber_calibration_key or 1) < 0.03
            ),
            FOUND_S,
        )
        blocks = bob.n_blocks
        await site.wait(
            "key of good light",
            lambda _a, b: (
                b.n_blocks > blocks + 1
                and b.last_block is not None
                and b.last_block.n_secret_bits > 0
                and (b.last_block.qber_key or 1) < 0.03
            ),
            FIRST_KEY_S,
        )


@pytest.mark.long
@pytest.mark.slow
async def test_light_of_an_unknown_polarisation_becomes_key(tmp_path: Path) -> None:
    more = {BOB: receiver(tmp_path)}
    async with open_site(tmp_path, more=more, alter_lab=of_unknown_turn) as site:
        install_psk(site)
        await site.start()
        await site.wait(
            "a turned run", lambda _a, b: (b.reason or "").startswith("aligning"), FIRST_KEY_S
        )
        _, bob = await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, ALIGNED_S)
        assert bob.polarization is not None
        assert bob.polarization.n_steps >= 1
