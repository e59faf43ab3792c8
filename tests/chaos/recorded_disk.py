"""Disks whose every write and sync is recorded: ext4 on a loop device on a FUSE file of our own.

    relay --> ext4 --> loop device --> FUSE file --> the log (``power_log.py``)

Run as a program it serves the files until they are unmounted.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.fuse_file import mount, serve
from tests.chaos.power_log import MARK, SYNC, WRITE, PowerLog

DISK_BYTES = 48 << 20
SYNC_S = 0.002
"""How long a sync takes, so that who does not wait for it is ahead of it."""
PROGRAMS = ("losetup", "mkfs.ext4", "e2fsck", "mount", "umount")
MARKS = "marks.sock"
LET_GO_S = 5.0


def why_not() -> str | None:
    """Say why disks cannot be recorded here; None if they can."""
    if os.geteuid() != 0:
        return "only root may mount a disk"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"no {', '.join(missing)} here"
    if missing := [one for one in ("/dev/fuse", "/dev/loop-control") if not Path(one).exists()]:
        return f"no {', '.join(missing)} here"
    return None


class RecordedStorage:
    """The bytes of one disk, and the log of what becomes of them."""

    def __init__(self, name: str, base: bytes, log: PowerLog) -> None:
        self._name, self._bytes, self._log = name, bytearray(base), log

    @property
    def size(self) -> int:
        return len(self._bytes)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._bytes[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self._log.add(WRITE, self._name, offset, data)
        self._bytes[offset : offset + len(data)] = data

    def sync(self) -> None:
        time.sleep(SYNC_S)
        self._log.add(SYNC, self._name, 0, b"")


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def make_file_system(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4", image)


@contextmanager
def mounted(image: Path, where: Path) -> Iterator[bool]:
    """Mount the file system in ``image``, whatever it has been through; yield whether it was
    repaired first, as at the start of a host.

    The superblock of ext4 is two sectors under one checksum: torn between them it is refused.
    """
    where.mkdir(exist_ok=True)
    device = run("losetup", "--find", "--show", image)
    try:
        try:
            run("mount", "-t", "ext4", device, where)
            repaired = False
        except RuntimeError:
            subprocess.run(["e2fsck", "-fy", device], capture_output=True, check=False)
            run("mount", "-t", "ext4", device, where)
            repaired = True
        try:
            yield repaired
        finally:
            run("umount", where)
    finally:
        run("losetup", "--detach", device)


@dataclass
class Recorder:
    """Disks by the letter they have in the log, each mounted at a folder of its own."""

    folder: Path
    bases: dict[str, bytes] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def marks(self) -> Path:
        return self.folder / MARKS


@contextmanager
def recorded(folder: Path, disks: Sequence[tuple[str, Path]]) -> Iterator[Recorder]:
    """Record what is written to the folders of ``disks`` (a letter and a folder) meanwhile."""
    recorder = Recorder(folder)
    serving: list[str] = []
    for letter, _ in disks:
        image = folder / f"{letter}.image"
        make_file_system(image)
        recorder.bases[letter] = image.read_bytes()
        (folder / f"{letter}.disk").touch()
        serving += [letter, str(image), str(folder / f"{letter}.disk")]
    command = [sys.executable, "-m", "tests.chaos.recorded_disk", str(folder), *serving]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n", "the recorder did not start"
        with _all_mounted(folder, disks):
            yield recorder
    finally:
        for letter, _ in disks:
            _unmount_file(folder / f"{letter}.disk")
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _unmount_file(where: Path) -> None:
    """Unmount a FUSE file; lazily, if the loop device does not let go of it.

    Whoever made a mount namespace meanwhile has a copy of our mounts, and keeps the device open.
    """
    end_s = time.monotonic() + LET_GO_S
    while subprocess.run(["umount", where], capture_output=True, check=False).returncode:
        if time.monotonic() > end_s:
            subprocess.run(["umount", "--lazy", where], capture_output=True, check=False)
            return
        time.sleep(0.05)


@contextmanager
def _all_mounted(folder: Path, disks: Sequence[tuple[str, Path]]) -> Iterator[None]:
    if not disks:
        yield
        return
    (letter, where), *rest = disks
    with mounted(folder / f"{letter}.disk", where), _all_mounted(folder, rest):
        yield


class Marker:
    """Says something at its place in the log, from any process."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(path))

    def mark(self, text: bytes) -> None:
        self._socket.send(text)

    def close(self) -> None:
        self._socket.close()


def _hear_marks(marks: socket.socket, log: PowerLog) -> None:
    while True:
        log.add(MARK, "-", 0, marks.recv(1 << 16))


def main(folder: Path, serving: Sequence[str]) -> None:
    log = PowerLog(folder / "log")
    marks = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    marks.bind(str(folder / MARKS))
    threading.Thread(target=_hear_marks, args=(marks, log), daemon=True).start()
    threads = []
    for letter, image, where in zip(serving[::3], serving[1::3], serving[2::3], strict=True):
        storage = RecordedStorage(letter, Path(image).read_bytes(), log)
        threads.append(threading.Thread(target=serve, args=(mount(Path(where)), storage)))
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
