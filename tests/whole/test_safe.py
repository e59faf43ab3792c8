"""``qkdd safe`` in the place of a daemon that was killed: no light stays on, and it says so."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import trio
import trio.testing

from drivers.errors import NoReply
from qkdd.cli.demo.files import ALICE, BOB
from qkdd.station.darken import DARKEN_TIMEOUT_S, OFF, Darkened, _persist
from tests.whole.site import Site, open_site
from tests.whole.test_darkening import assert_dark, instruments, lit_site

DARK_WITHIN_S = 5.0
"""From the start of the command, on a slow machine; its own time is printed."""


def safe(site: Site, relay: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "qkdd.cli", "safe", str(site.config(relay))],
        capture_output=True,
        text=True,
        timeout=30,
    )


async def test_after_kill_9_safe_darkens_all_that_the_dead_relay_left_lit(tmp_path: Path) -> None:
    async with lit_site(tmp_path) as site:
        await site.kill(ALICE)
        async with instruments(site) as (laser, attenuator, _):
            assert (await laser.status()).on
            assert await attenuator.shutter_open()
        started_s = time.monotonic()
        done = safe(site, ALICE)
        took_s = time.monotonic() - started_s
        print(f"qkdd safe took {took_s:.2f} s")
        assert done.returncode == 0, done
        assert done.stdout.splitlines() == [
            "link a-b: encoder stopped",
            "link a-b: laser off",
            "link a-b: shutter closed",
        ]
        assert took_s < DARK_WITHIN_S
        await assert_dark(site)
        nothing = safe(site, BOB)
        assert (nothing.returncode, nothing.stdout) == (0, "no transmitter here\n")


async def test_safe_darkens_what_it_can_reach_and_names_the_rest(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        async with instruments(site) as (laser, attenuator, _):
            await laser.set_output(on=True)
            await attenuator.set_shutter(open=True)
        folder = site.config(ALICE).parent
        (folder / "board.key").rename(folder / "elsewhere")
        (folder / "master.key").unlink()
        done = safe(site, ALICE)
        assert done.returncode == 1
        assert done.stderr == "Error: not darkened: encoder of a-b\n"
        assert "board.key" in done.stdout
        assert "link a-b: laser off" in done.stdout
        await assert_dark(site)
        (folder / "elsewhere").rename(folder / "board.key")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as relay:
            relay.bind(str(folder / "qkdd.sock"))
            relay.listen()
            done = safe(site, ALICE)
        assert done.returncode == 1
        assert done.stderr == "Error: the relay runs, and may light again: stop it first\n"


async def test_an_instrument_that_answers_late_is_tried_again_and_one_that_never_does_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    found: list[Darkened] = []
    tries: list[float] = []

    async def late() -> str:
        tries.append(trio.current_time())
        if len(tries) < 3:
            raise NoReply("still talking to the dead")
        return OFF

    async def never() -> str:
        raise NoReply("nobody there")

    async with trio.open_nursery() as nursery:
        for name, action in (
            ("late", late),
            ("never", never),
            ("hangs", trio.sleep_forever),
        ):
            nursery.start_soon(_persist, name, action, found)
    assert trio.current_time() - tries[0] == DARKEN_TIMEOUT_S
    assert {one.instrument: (one.state, one.trouble) for one in found} == {
        "late": (OFF, None),
        "never": (None, "nobody there"),
        "hangs": (None, "did not answer within 8 s"),
    }
