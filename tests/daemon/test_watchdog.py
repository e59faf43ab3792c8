"""Signs of life on a service manager's socket: given while all loops turn, withheld when not."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import cast

import pytest
import trio

from qkdd.daemon.service_manager import ServiceManager, status_line
from qkdd.daemon.status import LinkStatus, in_one_line
from qkdd.daemon.store_service import StoreService
from qkdd.daemon.watchdog import QUIET_S, Loop, ask_store, tell_life
from qkdd.keys.store import KeyStore
from qkdd.station.messages import LightLocked, RunWaits
from tests.daemon.relay_files import install_psk, relay_file
from tests.daemon.test_light_alice import Talk

WATCHDOG_S = 30.0


class Manager:
    """The other end of sd_notify(3): an own datagram socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Every line since the last call."""
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return lines

    def service(self, watchdog_s: float | None = WATCHDOG_S) -> ServiceManager:
        return ServiceManager(str(self.path), watchdog_s)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


async def test_a_sign_of_life_comes_three_times_per_watchdog_and_the_status_once(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.move_on_after(0.99 * WATCHDOG_S):
        await tell_life(manager.service(), {"light": Loop()}, lambda: "a-b light")
    assert manager.heard() == ["WATCHDOG=1", "STATUS=a-b light", "WATCHDOG=1", "WATCHDOG=1"]


async def test_a_loop_that_no_longer_turns_starves_the_watchdog_until_it_turns_again(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    light = Loop()
    async with trio.open_nursery() as nursery:
        with light.at_work():
            nursery.start_soon(tell_life, manager.service(), {"light": light}, lambda: "")
            await trio.sleep(QUIET_S + 0.1)
            assert manager.heard().count("WATCHDOG=1") == 3  # at 0, 10 and 20 s
            await trio.sleep(2 * WATCHDOG_S)
            assert manager.heard() == []
            light.turn()
            await trio.sleep(WATCHDOG_S / 3)
            assert manager.heard() == ["WATCHDOG=1"]
            await trio.sleep(QUIET_S)
            manager.heard()
        await trio.sleep(2 * WATCHDOG_S)
        assert manager.heard().count("WATCHDOG=1") == 6  # what is not at work need not turn
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_the_status_is_shown_and_no_sign_of_life(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    status = LinkStatus(name="a-b", peer="b", role="receiver")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            tell_life, manager.service(None), {"light": Loop()}, lambda: in_one_line([status])
        )
        await trio.sleep(60)
        status.enter("dark", "no light\nfound")
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert manager.heard() == ["STATUS=a-b down", "STATUS=a-b dark (no light found)"]


class StuckDisk:
    """A store whose commit does not come back until it is let go."""

    def __init__(self) -> None:
        self.go = Event()

    def transaction(self) -> "StuckDisk":
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_error: object) -> None:
        self.go.wait()


async def test_a_store_writer_that_hangs_in_its_commit_starves_the_watchdog(
    manager: Manager,
) -> None:
    disk = StuckDisk()
    clock = trio.testing.MockClock()

    async def main() -> None:
        store, writer = StoreService(cast("KeyStore", disk)), Loop()
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            nursery.start_soon(ask_store, store, writer)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(tell_life, manager.service(), {"store": writer}, lambda: "")
            await trio.testing.wait_all_tasks_blocked()
            manager.heard()
            for _ in range(6):
                clock.jump(WATCHDOG_S / 3)
                await trio.testing.wait_all_tasks_blocked()
            assert manager.heard() == ["WATCHDOG=1", "WATCHDOG=1"]
            disk.go.set()
            while writer.silent_s() > QUIET_S:
                await trio.testing.wait_all_tasks_blocked(0.01)
            clock.jump(WATCHDOG_S / 3)
            await trio.testing.wait_all_tasks_blocked()
            assert manager.heard() == ["WATCHDOG=1"]
            nursery.cancel_scope.cancel()
            store.stop()

    # A nested run has its own clock, which must not jump while the writer's thread is busy.
    await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))


def test_who_listens_and_for_how_long_is_read_as_sd_notify_says() -> None:
    named = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000"}
    assert ServiceManager.named_by(named, 7) == ServiceManager("/run/n", 30.0)
    assert ServiceManager.named_by({**named, "WATCHDOG_PID": "7"}, 7).watchdog_s == 30.0
    assert ServiceManager.named_by({**named, "WATCHDOG_PID": "8"}, 7).watchdog_s is None
    assert ServiceManager.named_by({}, 7) == ServiceManager()
    assert ServiceManager.named_by({"WATCHDOG_USEC": "never"}, 7).watchdog_s is None


def test_a_status_is_one_line_whatever_a_reason_holds() -> None:
    assert status_line("a\nREADY=1\x1b[2J") == "STATUS=a READY=1 [2J"
    assert len(status_line("x" * 1000)) == len("STATUS=") + 400


def test_a_manager_that_is_gone_ends_nobody(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "nobody")).tell("READY=1")
    ServiceManager().tell("READY=1")


def test_an_abstract_address_is_understood() -> None:
    name = f"qkdd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        ServiceManager(f"@{name}").tell("READY=1", "STATUS=x")
        assert listening.recv(100) == b"READY=1\nSTATUS=x"


def test_a_daemon_tells_that_it_is_ready_that_it_lives_and_that_it_stops(
    tmp_path: Path, manager: Manager
) -> None:
    config = relay_file(tmp_path)
    install_psk(config)
    manager.socket.settimeout(20)
    relay = subprocess.Popen(
        [sys.executable, "-P", "-m", "qkdd.cli", "run", str(config)],
        env={**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "900000"},
        stderr=subprocess.DEVNULL,
    )
    try:
        lines: list[str] = []
        while lines.count("WATCHDOG=1") < 3 or "READY=1" not in lines:
            lines += manager.socket.recv(4096).decode().splitlines()
        assert any(line.startswith("STATUS=a-b down") for line in lines)
        assert relay.poll() is None
        relay.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in lines:
            lines += manager.socket.recv(4096).decode().splitlines()
        assert relay.wait(10) == 0
    finally:
        relay.kill()
        relay.wait()


async def test_alices_light_turns_while_the_bench_answers_and_is_silent_when_it_hangs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    loop = talk.status.light
    async with trio.open_nursery() as nursery:

        async def light() -> None:
            with loop.at_work():
                await talk.run()

        nursery.start_soon(light)
        for second in range(65):  # nobody is ready at the other end, run after run
            await trio.sleep(1.0)
            assert loop.silent_s() <= QUIET_S
            if second % 10 == 5:
                await talk.say(RunWaits(run=talk.announced()[-1][0], reason="TDC1: gone"))
        run = talk.announced()[-1][0]
        await talk.ready(run)
        await talk.say(LightLocked(run=run, clock_offset_ppm=0.0, errors=0, matched=1))
        for _ in range(60):
            await trio.sleep(1.0)
            talk.silence.heard()
        assert talk.status.state == "light"
        assert loop.silent_s() < 1.0
        talk.bench.check = trio.sleep_forever  # type: ignore[method-assign]
        await trio.sleep(2 * QUIET_S)
        assert loop.silent_s() > QUIET_S
        nursery.cancel_scope.cancel()
    assert loop.silent_s() == 0.0
