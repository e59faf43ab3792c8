"""The relay's beat: whatever is done once a second is done at the same moment.

Tasks that wake together share a turn of the loop, one call of the store's thread and one commit.
"""

import math

import trio

BEAT_S = 1.0


async def next_beat() -> None:
    """Sleep until the next whole second of the loop's own clock, which no two relays share."""
    await trio.sleep_until(BEAT_S * (math.floor(trio.current_time() / BEAT_S) + 1))
