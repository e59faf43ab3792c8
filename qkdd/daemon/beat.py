"""The relay's beat: whatever is done once a second is done at the same moment.

Tasks that wake together share a turn of the loop, one call of the store's thread and one commit.
"""

from drivers import beat

BEAT_S = 1.0


def beat_after(time_s: float, every_s: float = BEAT_S) -> float:
    """Return the first beat after a time of the loop's clock."""
    return beat.beat_after(time_s, every_s)


async def next_beat(every_s: float = BEAT_S) -> None:
    """Sleep until the next whole ``every_s`` of the loop's own clock, as the drivers do."""
    await beat.next_beat(every_s)
