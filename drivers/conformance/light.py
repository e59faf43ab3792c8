"""What every laser and every attenuator must do."""

import math

import trio

from drivers.attenuator import Attenuator
from drivers.conformance.demands import (
    CALL_TIMEOUT_S,
    check_identity,
    check_survives_a_cut,
    demand,
    refuses,
)
from drivers.errors import Refused
from drivers.laser import Laser

ABSURD_MA = 1e6
ABSURD_DB = 1e3


async def check_laser(laser: Laser, *, current_ma: float) -> None:
    """Check a laser; it shines at ``current_ma`` for a moment."""
    try:
        with trio.fail_after(CALL_TIMEOUT_S):
            await check_identity(laser.identity)
            await laser.set_output(on=False)
            await laser.set_current_ma(current_ma)
            status = await laser.status()
            demand(not status.on, "setting a current switched it on")
            demand(abs(status.current_ma - current_ma) <= 0.01, f"{status} at {current_ma} mA")
            demand(math.isfinite(status.thermistor_ohm), f"no temperature: {status}")
            await refuses(laser.set_current_ma(-1.0), ValueError, "a negative current")
            await refuses(laser.set_current_ma(math.nan), ValueError, "a current of nan")
            await refuses(laser.set_current_ma(ABSURD_MA), Refused, f"{ABSURD_MA} mA")
            kept_ma = (await laser.status()).current_ma
            demand(abs(kept_ma - current_ma) <= 0.01, f"a refused current left {kept_ma} mA")
            await laser.set_output(on=True)
            status = await laser.status()
            demand(status.on, "switched on, but off")
            demand(not status.errors, f"errors while on: {status.errors}")
            await check_survives_a_cut(laser.identity)
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await laser.set_output(on=False)
            demand(not (await laser.status()).on, "switched off, but on")


async def check_attenuator(attenuator: Attenuator) -> None:
    """Check an attenuator, over 0 to 40 dB, mostly with its shutter closed."""
    try:
        with trio.fail_after(4 * CALL_TIMEOUT_S):
            await check_identity(attenuator.identity)
            await attenuator.set_shutter(open=False)
            for loss_db in (20.0, 0.0, 40.0, 12.345):
                await attenuator.set_loss_db(loss_db)
                reached_db = await attenuator.loss_db()
                demand(abs(reached_db - loss_db) < 0.01, f"{reached_db} dB instead of {loss_db}")
                demand(not await attenuator.shutter_open(), "setting a loss opened the shutter")
            await refuses(attenuator.set_loss_db(ABSURD_DB), Refused, f"{ABSURD_DB} dB")
            await refuses(attenuator.set_loss_db(math.nan), ValueError, "a loss of nan")
            kept_db = await attenuator.loss_db()
            demand(abs(kept_db - 12.345) < 0.01, f"a refused loss left {kept_db} dB")
            await attenuator.set_shutter(open=True)
            demand(await attenuator.shutter_open(), "opened, but closed")
            await check_survives_a_cut(attenuator.loss_db)
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await attenuator.set_shutter(open=False)
            demand(not await attenuator.shutter_open(), "closed, but open")
