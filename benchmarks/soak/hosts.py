"""Bad days of a relay's host: its disk, its clock."""

import errno

from benchmarks.soak.bad_day import Kind, Scene, WentWrong

STORE = "keys.sqlite"
"""In the names of the store, of what sqlite lays beside it, and of the audit log."""


async def disk_full(scene: Scene) -> str:
    """There is room again after a while, and nobody needs to do anything."""
    relay = scene.relay()
    scene.hosts[relay].writing_fails(errno.ENOSPC, STORE)
    try:
        seconds = await scene.last(2.0, 8.0)
    finally:
        scene.hosts[relay].recovers()
    return f"disk of {relay} full for {seconds:.1f} s"


async def mended_by_restart(scene: Scene, relay: str) -> None:
    """The store has stopped; somebody finds the cause, and starts the relay again."""
    await scene.last(2.0, 5.0)
    scene.hosts[relay].recovers()
    status = await scene.site.stop(relay)
    if status != 0:
        raise WentWrong(f"{relay} ended with status {status} at SIGTERM after a disk error")
    await scene.site.start(relay)


async def sync_fails(scene: Scene) -> str:
    relay = scene.relay()
    scene.hosts[relay].syncing_fails(STORE)
    await mended_by_restart(scene, relay)
    return f"fsync of {relay} failed; restarted"


async def read_only(scene: Scene) -> str:
    relay = scene.relay()
    scene.hosts[relay].writing_fails(errno.EROFS, STORE)
    await mended_by_restart(scene, relay)
    return f"disk of {relay} read-only; restarted"


async def clock_steps(scene: Scene) -> str:
    relay, ahead_s = scene.relay(), scene.dice.choice((3600, -3600))
    scene.hosts[relay].clock_is_ahead(ahead_s)
    try:
        seconds = await scene.last(3.0, 8.0)
    finally:
        scene.hosts[relay].recovers()
    return f"wall clock of {relay} {ahead_s:+d} s for {seconds:.1f} s"


KINDS = (
    Kind("disk-full", disk_full),
    Kind("fsync-error", sync_fails),
    Kind("disk-read-only", read_only),
    Kind("clock-step", clock_steps, keeps_light=True),
)
