"""The relay's beat: whatever is done once a second is done at the same moment.

Tasks that wake together share a turn of the loop, one call of the store's thread and one commit.
"""

import math

import trio

BEAT_S = 1.0


def beat_after(time_s: float, every_s: float = BEAT_S) -> float:
    """Return the first beat after a time of the loop's clock."""
    return every_s * (math.floor(time_s / every_s) + 1)


async def next_beat(every_s: float = BEAT_S) -> None:
    """Sleep until the next whole ``every_s`` of the loop's own clock, which no two relays share."""
    await trio.sleep_until(beat_after(trio.current_time(), every_s))
