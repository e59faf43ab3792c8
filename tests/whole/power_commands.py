"""The power is cut while an operator's commands write: psk make, psk install, re-key, zeroise."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from qkdd.base.errors import ConfigError, StoreError
from qkdd.base.ids import NodeId
from qkdd.cli.demo.files import ALICE, LINK
from qkdd.daemon.secret_files import read_secret
from qkdd.keys.store import KeyStore
from tests.chaos.power_log import LOSSES, Entry, Loss, after_a_cut, marks_before, read_log
from tests.chaos.recorded_disk import Marker, mounted, recorded
from tests.whole.power_cut import audit_goes_on
from tests.whole.site import open_site
from tests.whole.stock import NAME, PSK_BYTES
from tests.whole.test_from_darkness import command

READY, MADE, INSTALLED, REKEYED, ZEROISED = (
    b"ready",
    b"made",
    b"installed",
    b"re-keyed",
    b"zeroised",
)
FILES = ("first.psk", "second.psk")
SECRETS = ("master.key", "board.key", "keys.sqlite", "keys.sqlite-wal", "keys.sqlite-shm", *FILES)


@dataclass(frozen=True, slots=True)
class Commands:
    """One relay's disk while the commands ran, and the secrets that must be gone at the end."""

    folder: Path
    base: bytes
    entries: list[Entry]
    master_key: bytes
    psks: tuple[bytes, bytes]

    @property
    def first(self) -> int:
        return next(at for at, one in enumerate(self.entries) if one.data == READY)

    def faults(self, number: int, dice: random.Random) -> Iterator[str]:
        """Cut the power ``number`` times; say what is wrong after each."""
        for _ in range(number):
            place, loss = dice.randint(self.first, len(self.entries)), dice.choice(LOSSES)
            try:
                self._examine(place, loss, random.Random(f"{place} {loss}"))
            except Exception as fault:  # whatever it is, it is a finding
                yield f"cut at {place}, {loss} is lost: {type(fault).__name__}: {fault}"

    def _examine(self, place: int, loss: Loss, dice: random.Random) -> None:
        done = set(marks_before(self.entries, place))
        image = after_a_cut(self.base, self.entries, "a", place, loss, dice)
        for mark, psk in zip((INSTALLED, REKEYED), self.psks, strict=True):
            assert mark not in done or psk[:64] not in image, "an installed key is on the disk"
        assert ZEROISED not in done or self.master_key not in image, "the master key is on the disk"
        path = self.folder / "after.image"
        path.write_bytes(image)
        with mounted(path, self.folder / "after"):
            folder = self.folder / "after"
            audit_goes_on(folder / "keys.sqlite", [])
            if ZEROISED in done:
                left = [name for name in SECRETS if (folder / name).exists()]
                assert not left, f"zeroised, and still there: {left}"
            else:
                self._one_key_is_there(folder, done)

    def _one_key_is_there(self, folder: Path, done: set[bytes]) -> None:
        """Each pre-shared key is whole in its file, or in the store, at every moment."""
        whole = [is_whole(folder / name, psk) for name, psk in zip(FILES, self.psks, strict=True)]
        try:
            master = read_secret(folder / "master.key", 32, "master key")
        except ConfigError as error:
            assert self._zeroising(done), f"{error}"
            return
        try:
            store = KeyStore.open(folder / "keys.sqlite", master, NodeId(ALICE), os.urandom)
        except StoreError as error:
            assert self._zeroising(done), f"{error}"
            return
        finally:
            master.wipe()
        names = store.links()
        store.close()
        if MADE in done and not self._zeroising(done):
            assert names or whole[0], "the first key is neither in its file nor in the store"
        if INSTALLED in done and not self._zeroising(done):
            assert NAME in names
            assert not is_whole(folder / FILES[0], self.psks[0])

    def _zeroising(self, done: set[bytes]) -> bool:
        return REKEYED in done


def is_whole(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


async def record_commands(folder: Path) -> Commands:
    """Run an operator's commands on a relay whose disk is recorded."""
    spool = folder / "recorder"
    spool.mkdir()
    relay = folder / ALICE
    relay.mkdir()
    psks = []
    with recorded(spool, [("a", relay)]) as recorder:
        marker = Marker(recorder.marks)
        async with open_site(folder, lit=False) as site:
            os.sync()
            marker.mark(READY)

            def run(mark: bytes, *words: str) -> None:
                command(site, ALICE, *words)
                marker.mark(mark)

            for name, mark, more in ((FILES[0], INSTALLED, ()), (FILES[1], REKEYED, ("--rekey",))):
                await trio.to_thread.run_sync(run, MADE, "psk", "make", name)
                psks.append((relay / name).read_bytes())
                words = ("psk", "install", "relay.toml", LINK, name, *more)
                await trio.to_thread.run_sync(run, mark, *words)
            master = (relay / "master.key").read_bytes()
            await trio.to_thread.run_sync(run, ZEROISED, "zeroise", "relay.toml", "--yes")
        marker.close()
    assert all(len(psk) == PSK_BYTES for psk in psks)
    entries = read_log(recorder.log)
    return Commands(folder, recorder.bases["a"], entries, master, (psks[0], psks[1]))
