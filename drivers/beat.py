"""The loop's beat: what is done again and again is done at the same moments, woken by one timer.

A task that sleeps in trio is woken by a cancellation, which costs several times what it costs to be
unparked by another task. Whoever waits first for a beat sleeps for all.
"""

import math

import trio

_lots: trio.lowlevel.RunVar[dict[float, trio.lowlevel.ParkingLot]] = trio.lowlevel.RunVar("beats")


def beat_after(time_s: float, every_s: float) -> float:
    """Return the first whole ``every_s`` after a time of the loop's clock."""
    return every_s * (math.floor(time_s / every_s) + 1)


async def next_beat(every_s: float) -> None:
    """Sleep until the next whole ``every_s`` of the loop's clock, which no two processes share.

    All who wait for the same moment are woken in the same turn of the loop.
    """
    at_s = beat_after(trio.current_time(), every_s)
    lots = _of_this_loop()
    while (lot := lots.get(at_s)) is not None:
        await lot.park()
        if trio.current_time() >= at_s:
            return
        # whoever slept for us was cancelled
    lots[at_s] = lot = trio.lowlevel.ParkingLot()
    try:
        await trio.sleep_until(at_s)
    finally:
        del lots[at_s]
        others = lot.unpark_all()
    if others:
        await trio.lowlevel.cancel_shielded_checkpoint()


def _of_this_loop() -> dict[float, trio.lowlevel.ParkingLot]:
    try:
        return _lots.get()
    except LookupError:
        lots: dict[float, trio.lowlevel.ParkingLot] = {}
        _lots.set(lots)
        return lots
