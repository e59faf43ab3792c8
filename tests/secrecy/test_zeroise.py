"""Zeroising leaves no key: not in memory, not on the disk, whether the relay runs or hangs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A
from qkdd.cli.status import ask
from qkdd.config import load
from qkdd.daemon.status_socket import Answer
from qkdd.daemon.zeroise import key_files
from qkdd.keys.destroy import destroy_file
from tests.secrecy import linger
from tests.secrecy.haystack import files, memory, search
from tests.secrecy.needles import Needle, of_bytes
from tests.whole.applications import Applications
from tests.whole.site import POLL_S, Site, open_site
from tests.whole.stock import lay_stock

END_S = 15.0


def zeroise(site: Site, relay: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "qkdd.cli", "zeroise", str(site.config(relay)), *options],
        capture_output=True,
        text=True,
        timeout=60,
        input="",
    )


def needles(site: Site, psk: bytes) -> Iterator[Needle]:
    config = load(site.config(ALICE))
    yield from of_bytes("master key", config.store.master_key.read_bytes())
    yield from of_bytes("pads", psk)
    assert config.links[0].transmitter is not None
    yield from of_bytes("board key", config.links[0].transmitter.encoder.key_file.read_bytes())


async def test_a_running_relay_forgets_every_key_before_it_ends(tmp_path: Path) -> None:
    async with open_site(tmp_path / "site", lit=False) as site, Applications(site) as apps:
        psk = lay_stock(site, 256 * 1024)
        note = tmp_path / "note"
        site.launch[ALICE] = lambda config: ["-P", linger.__file__, str(note), str(config)]
        await site.start()
        await site.wait_up()
        await apps.refresh(SAE_A)
        pid, folder = site.children[ALICE].process.pid, site.config(ALICE).parent
        wanted = list(needles(site, psk))
        held = await trio.to_thread.run_sync(search, wanted, memory(pid), files(folder))
        assert {line.split(",")[0] for line in held} == {"master key", "pads", "board key"}
        paths = [path for path in key_files(load(site.config(ALICE))) if path.exists()]
        assert len(paths) >= 5
        socket = folder / "qkdd.sock"
        answer = await trio.to_thread.run_sync(lambda: ask(socket, "zeroise", timeout_s=END_S))
        assert msgspec.json.decode(answer, type=Answer).ok
        with trio.fail_after(END_S):
            while not note.exists():  # noqa: ASYNC110  # a file has no event
                await trio.sleep(POLL_S)
        found = await trio.to_thread.run_sync(search, wanted, memory(pid), files(folder))
        assert not found
        assert not [path for path in paths if path.exists()]
        log = site.children[ALICE].log.read_text()
        assert "zeroised: all keys are destroyed" in log
        assert "Traceback" not in log


async def test_the_command_ends_a_relay_that_runs_and_kills_one_that_hangs(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site:
        lay_stock(site, 64 * 1024)
        await site.start()
        await site.wait_up()
        children = site.children
        assert zeroise(site, ALICE).returncode == 1, "nobody said yes"
        config = load(site.config(ALICE))
        more = tmp_path / "master.key.cred"
        more.write_bytes(os.urandom(100))
        with trio.fail_after(END_S):
            done = await trio.to_thread.run_sync(zeroise, site, ALICE, "--yes", "--also", str(more))
            assert (done.returncode, "it has ended" in done.stdout) == (0, True), done
            await children[ALICE].process.wait()
        assert not [path for path in (*key_files(config), more) if path.exists()]
        other = load(site.config(BOB))
        children[BOB].process.send_signal(signal.SIGSTOP)
        with trio.fail_after(END_S):
            done = await trio.to_thread.run_sync(zeroise, site, BOB, "--yes")
            assert (done.returncode, "and was killed" in done.stdout) == (0, True), done
            await children[BOB].process.wait()
        assert not [path for path in key_files(other) if path.exists()]
        assert "no relay runs here" in zeroise(site, BOB, "--yes").stdout


def test_a_file_that_cannot_be_destroyed_is_named_and_keeps_no_other_from_it(
    tmp_path: Path,
) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"key")
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        destroy_file(link)
    assert target.read_bytes() == b"key"
    descriptor = os.open(target, os.O_RDONLY)
    assert destroy_file(target)
    assert os.pread(descriptor, 10, 0) == bytes(3), "overwritten before it was removed"
    os.close(descriptor)
    assert not destroy_file(target)
