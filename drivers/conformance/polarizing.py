"""What every polarisation controller must do."""

import trio

from drivers.conformance.demands import (
    CALL_TIMEOUT_S,
    check_identity,
    check_survives_a_cut,
    demand,
    refuses,
)
from drivers.errors import Refused
from drivers.polarization import PolarizationController, PolarizationStatus


async def check_polarization_controller(controller: PolarizationController) -> None:
    """Check a controller over its whole range; voltages and mode end as they were found."""
    with trio.fail_after(CALL_TIMEOUT_S):
        await check_identity(controller.identity)
        found = await controller.status()
    try:
        with trio.fail_after(2 * CALL_TIMEOUT_S):
            await controller.set_scrambling(on=False)
            demand(not (await controller.status()).scrambling, "held, but scrambling")
            await _check_voltages(controller, found)
            await controller.set_scrambling(on=True)
            demand((await controller.status()).scrambling, "scrambling, but held")
            await check_survives_a_cut(controller.status)
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await controller.set_voltages_mv(found.voltages_mv)
            await controller.set_scrambling(found.scrambling)
            last = await controller.status()
            demand(last == found, f"restored {last} instead of {found}")


async def _check_voltages(controller: PolarizationController, found: PolarizationStatus) -> None:
    n_channels = len(found.voltages_mv)
    demand(n_channels > 0, f"no channels: {found}")
    voltages_mv = [found.lowest_mv + 10 * channel for channel in range(n_channels)]
    await controller.set_voltages_mv(voltages_mv)
    for channel, voltage_mv in [(n_channels, found.highest_mv), (1, found.lowest_mv), (1, 1)]:
        await controller.set_voltage_mv(channel, voltage_mv)
        voltages_mv[channel - 1] = voltage_mv
        reached = await controller.status()
        demand(list(reached.voltages_mv) == voltages_mv, f"{reached}, not {voltages_mv}")
    for absurd_mv in (found.highest_mv + 1, found.lowest_mv - 1):
        await refuses(controller.set_voltage_mv(1, absurd_mv), Refused, f"{absurd_mv} mV")
        some_mv = [0] * (n_channels - 1) + [absurd_mv]
        await refuses(controller.set_voltages_mv(some_mv), Refused, f"{some_mv} mV")
    for channel in (0, n_channels + 1):
        await refuses(controller.set_voltage_mv(channel, 0), ValueError, f"channel {channel}")
    await refuses(controller.set_voltages_mv(voltages_mv[1:]), ValueError, "a voltage too few")
    kept = await controller.status()
    demand(list(kept.voltages_mv) == voltages_mv, f"a refused voltage left {kept}")
