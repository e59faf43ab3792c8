"""The inputs of an ID1000: level, edge, resolution and calibration.

Error codes of an input in high resolution: 0 fine, 1 wants calibration (the temperature drifted),
1001 to 1003 rate too high or threshold bad. How long a calibration takes is not documented.
"""

import trio

from drivers.errors import Fault
from drivers.timetagger.id1000_settings import Id1000Settings
from drivers.timetagger.id1000_talk import MODEL, Scpi

RECALIBRATE_TIMEOUT_S = 30.0
RECALIBRATE_POLL_S = 0.5
UNCALIBRATED = 1


async def set_inputs(scpi: Scpi, settings: Id1000Settings) -> None:
    """Set all the inputs in use, and see that they are calibrated: once is tried.

    Raises
    ------
    Fault
        If an input reports another error, or the calibration does not help.
    """
    await scpi.set(f"DEVIce:RESolution {settings.resolution.upper()}")
    for number in settings.inputs:
        block = f"INPU{number}"
        await scpi.set(
            f"{block}:ENAB ON",
            f"{block}:THRE {settings.threshold_v:g}V",
            f"{block}:EDGE {settings.edge.upper()}",
            f"{block}:COUP DC",
            f"{block}:SELE UNSHAPED",
        )
    if settings.resolution == "hires" and await _uncalibrated(scpi, settings):
        await _calibrate(scpi, settings)


async def _calibrate(scpi: Scpi, settings: Id1000Settings) -> None:
    await scpi.set("DEVIce:SAMPling:RECAlibrate")
    with trio.move_on_after(RECALIBRATE_TIMEOUT_S):
        while True:
            await trio.sleep(RECALIBRATE_POLL_S)
            if not await _uncalibrated(scpi, settings):
                return
    raise Fault(f"{MODEL}: not calibrated after {RECALIBRATE_TIMEOUT_S:g} s of trying")


async def _uncalibrated(scpi: Scpi, settings: Id1000Settings) -> bool:
    found = False
    for number in settings.inputs:
        code = await scpi.number(f"INPU{number}:HIRES:ERROR?")
        if code not in (0, UNCALIBRATED):
            raise Fault(
                f"{MODEL}: input {number} reports error {code}: rate too high or bad "
                f"threshold (set: {settings.threshold_v:g} V)"
            )
        found |= code == UNCALIBRATED
    return found
