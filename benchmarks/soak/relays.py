"""Bad days of processes: killed, hanging, reloaded."""

import datetime
import re
import signal
import subprocess
import sys

import trio

from benchmarks.soak.bad_day import Kind, Scene, WentWrong
from benchmarks.soak.eyes import RELAYS
from qkdd.cli.demo.files import ALICE, BOB
from qkdd.net.pki import Authority

LONGEST_HANG_S = 8.0
TURNOVER_S = 20.0
"""A block under way ends first, and its key is waited for."""
POLL_S = 0.1
MARGIN = re.compile(r"^margin = [0-9.]+$", re.MULTILINE)
FIRST_MARGIN = 0.02
"""The default, so that a change of it costs nothing."""


async def kill_relay(scene: Scene, relay: str) -> str:
    await scene.site.kill(relay)
    down_s = await scene.last(0.0, 3.0)
    await scene.site.start(relay)
    return f"{relay} killed, started {down_s:.1f} s later"


async def kill_alice(scene: Scene) -> str:
    return await kill_relay(scene, ALICE)


async def kill_bob(scene: Scene) -> str:
    return await kill_relay(scene, BOB)


async def kill_both(scene: Scene) -> str:
    for relay in RELAYS:
        await scene.site.kill(relay)
    await scene.site.start(*RELAYS)
    return "both relays killed and started"


async def stop_relay(scene: Scene) -> str:
    relay = scene.relay()
    status = await scene.site.stop(relay)
    if status != 0:
        raise WentWrong(f"{relay} ended with status {status} at SIGTERM")
    await scene.site.start(relay)
    return f"{relay} stopped by SIGTERM and started"


async def hang(scene: Scene, name: str) -> str:
    child = scene.site.lab if name == "lab" else scene.site.children[name]
    assert child is not None
    child.process.send_signal(signal.SIGSTOP)
    try:
        seconds = await scene.last(1.0, LONGEST_HANG_S)
    finally:
        child.process.send_signal(signal.SIGCONT)
    return f"{name} stood still for {seconds:.1f} s"


async def hang_relay(scene: Scene) -> str:
    return await hang(scene, scene.relay())


async def hang_lab(scene: Scene) -> str:
    return await hang(scene, "lab")


async def kill_lab(scene: Scene) -> str:
    await scene.site.end_lab()
    away_s = await scene.last(0.0, 5.0)
    await scene.start_lab()
    return f"the laboratory killed, started {away_s:.1f} s later"


async def reload(scene: Scene, relay: str) -> str:
    command = [sys.executable, "-P", "-m", "qkdd.cli", "reload", str(scene.site.config(relay))]
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise WentWrong(f"reload of {relay}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace").strip()


async def new_certificate(scene: Scene) -> str:
    relay = scene.relay()
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(scene.site.folder / "pki", now=now, days=30)
    await trio.to_thread.run_sync(lambda: authority.issue_node(relay, now=now, days=30))
    await reload(scene, relay)
    return f"a new certificate for {relay}, and reload"


async def new_settings(scene: Scene) -> str:
    """Both ends get another margin of the error correction: the session begins anew."""
    margin = f"margin = {scene.dice.uniform(FIRST_MARGIN, 2 * FIRST_MARGIN):.5f}"
    for relay in RELAYS:
        path = scene.site.config(relay)
        text = path.read_text()
        assert MARGIN.search(text) is not None
        path.write_text(MARGIN.sub(margin, text))
    before = turnovers(scene)
    for relay in RELAYS:
        await reload(scene, relay)
    with trio.move_on_after(TURNOVER_S) as scope:
        while not went_over(turnovers(scene), before):  # noqa: ASYNC110 logs do not call
            await trio.sleep(POLL_S)
    if scope.cancelled_caught:
        raise WentWrong(f"no new settings in force at both ends within {TURNOVER_S:g} s")
    return f"{margin} at both ends, and reload"


def turnovers(scene: Scene) -> list[int]:
    """How often each end has gone over to new settings since its log began."""
    logs = [scene.site.children[relay].log for relay in RELAYS]
    return [log.read_text(errors="replace").count("new settings in force") for log in logs]


def went_over(now: list[int], before: list[int]) -> bool:
    return all(one > other for one, other in zip(now, before, strict=True))


KINDS = (
    Kind("transmitter-killed", kill_alice),
    Kind("receiver-killed", kill_bob),
    Kind("both-killed", kill_both),
    Kind("relay-stopped", stop_relay),
    Kind("relay-hangs", hang_relay),
    Kind("lab-hangs", hang_lab),
    Kind("lab-killed", kill_lab),
    Kind("reload-certificate", new_certificate, keeps_light=True),
    Kind("reload-settings", new_settings),
)
