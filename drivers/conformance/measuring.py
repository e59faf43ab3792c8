"""What every power meter must do."""

import math

import trio

from drivers.conformance.demands import (
    CALL_TIMEOUT_S,
    check_identity,
    check_survives_a_cut,
    demand,
    refuses,
)
from drivers.errors import Refused
from drivers.powermeter import PowerMeter

ABSURD_NM = 1e6
ABSURD_W = 1e6
N_AVERAGES = 10


async def check_power_meter(meter: PowerMeter, *, wavelength_nm: float) -> float:
    """Check a power meter, lit or dark; returns its last reading in watts.

    It ends at ``wavelength_nm``, with its range automatic, and with `N_AVERAGES` averages.
    """
    with trio.fail_after(2 * CALL_TIMEOUT_S):
        await check_identity(meter.identity)
        await meter.set_range_w(None)
        await _check_wavelength(meter, wavelength_nm)
        await _check_range(meter)
        await meter.set_averages(N_AVERAGES)
        demand((await meter.status()).n_averages == N_AVERAGES, f"not {N_AVERAGES} averages")
        await refuses(meter.set_averages(0), ValueError, "no sample at all")
        await check_survives_a_cut(meter.identity)
        with trio.move_on_after(0.001):
            await meter.power_w()
        status = await meter.status()
        demand(abs(status.wavelength_nm - wavelength_nm) <= 1, f"after a cut measurement: {status}")
        power_w = await meter.power_w()
        demand(math.isfinite(power_w), f"a power of {power_w} W")
        demand(not status.errors, f"errors: {status.errors}")
        return power_w


async def _check_wavelength(meter: PowerMeter, wavelength_nm: float) -> None:
    for one_nm in (wavelength_nm + 10, wavelength_nm):
        await meter.set_wavelength_nm(one_nm)
        status = await meter.status()
        demand(abs(status.wavelength_nm - one_nm) <= 1, f"{status} instead of {one_nm} nm")
    await refuses(meter.set_wavelength_nm(math.nan), ValueError, "a wavelength of nan")
    await refuses(meter.set_wavelength_nm(-1.0), ValueError, "a negative wavelength")
    await refuses(meter.set_wavelength_nm(ABSURD_NM), Refused, f"{ABSURD_NM} nm")
    status = await meter.status()
    demand(bool(status.sensor), f"no sensor: {status}")


async def _check_range(meter: PowerMeter) -> None:
    status = await meter.status()
    demand(status.auto_range, f"told to choose its range, but {status}")
    await meter.set_range_w(status.range_w)
    fixed = await meter.status()
    demand(not fixed.auto_range, f"told its range, but {fixed}")
    demand(fixed.range_w >= status.range_w * 0.999, f"{fixed} does not hold {status.range_w} W")
    await refuses(meter.set_range_w(ABSURD_W), Refused, f"a range of {ABSURD_W} W")
    await refuses(meter.set_range_w(-1.0), ValueError, "a negative range")
    await meter.set_range_w(None)
