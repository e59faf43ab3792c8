"""What made a block's key is nowhere once the block is done: not in memory, disk or log."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB
from tests.secrecy import witness
from tests.secrecy.haystack import files, memory, search
from tests.secrecy.needles import Needle, of_bits, of_bytes, of_symbols
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk

WIPED_WITHIN_S = 1.0
"""After a block was reported: the deadline of docs/security.md."""
FIRST_KEY_S = 40.0
KINDS = {
    ALICE: {"seed", "sifted", "reconciled", "spectrum", "product", "key"},
    BOB: {"outcomes", "sifted", "reconciled", "spectrum", "product", "key"},
}


@dataclass(frozen=True)
class Watched:
    """A site whose relays run under a witness."""

    site: Site
    folder: Path
    n_blocks: int

    def needles(self, relay: str) -> Iterator[Needle]:
        """Secrets of the first ``n_blocks`` blocks of one relay."""
        found = set()
        for path in sorted((self.folder / relay).iterdir()):
            kind, number = path.name.split(".")
            if int(number) > self._n_files(relay, kind):
                continue
            found.add(kind)
            yield from needles_of(kind, f"{kind} {number} of {relay}", path.read_bytes())
        assert found == KINDS[relay]

    def _n_files(self, relay: str, kind: str) -> int:
        """How many of a kind belong to finished blocks; outcomes are numbered by block."""
        names = [path.name for path in (self.folder / relay).iterdir()]
        numbers = sorted(int(name.split(".")[1]) for name in names if name.startswith(f"{kind}."))
        n_products = len([name for name in names if name.startswith("product.")])
        n_blocks = len([name for name in names if name.startswith("key.")])
        per_block = n_products // n_blocks if kind in ("spectrum", "product") else 1
        return numbers[self.n_blocks * per_block - 1]


def needles_of(kind: str, name: str, secret: bytes) -> Iterator[Needle]:
    if kind in ("sifted", "reconciled"):
        yield from of_bits(name, np.frombuffer(secret, np.uint8))
    elif kind == "outcomes":
        detectors = np.frombuffer(secret, np.uint8)
        yield from of_symbols(name, detectors)
        yield from of_bits(f"bits of {name}", detectors & 1)
    elif kind == "key":  # its first part is authentication key, of which the next pads are held
        yield from of_bytes(name, secret[len(secret) // 2 :])
    else:
        yield from of_bytes(name, secret)


async def watched_blocks(mode: str, watched: Watched) -> None:
    """Start both relays under a witness and wait until the blocks are done."""
    for relay in (ALICE, BOB):
        notes = watched.folder / relay
        notes.mkdir(parents=True)
        watched.site.launch[relay] = lambda config, notes=notes: [  # type: ignore[misc]
            "-P",
            witness.__file__,
            mode,
            str(notes),
            str(config),
        ]
    await watched.site.start()
    alice, bob = await watched.site.wait(
        "blocks", lambda a, b: min(a.n_blocks, b.n_blocks) >= watched.n_blocks, FIRST_KEY_S
    )
    assert alice.n_blocks_without_key == bob.n_blocks_without_key == 0
    assert alice.n_blocks_void == bob.n_blocks_void == 0
    await trio.sleep(WIPED_WITHIN_S)


@pytest.mark.slow
async def test_no_bit_and_no_buffer_of_a_finished_block_is_left_in_either_relay(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path / "site") as site:
        install_psk(site)
        watched = Watched(site, tmp_path / "notes", n_blocks=2)
        await watched_blocks("watch", watched)
        for relay in (ALICE, BOB):
            found = await look(watched, relay)
            assert not found, "\n".join(found)


@pytest.mark.slow
async def test_where_wiping_is_off_the_same_search_finds_every_kind(tmp_path: Path) -> None:
    async with open_site(tmp_path / "site") as site:
        install_psk(site)
        watched = Watched(site, tmp_path / "notes", n_blocks=1)
        await watched_blocks(witness.FORGETFUL, watched)
        await site.end_lab()
        for relay in (ALICE, BOB):
            found = await look(watched, relay)
            kinds = {line.split(" ")[0] for line in found if "memory" in line}
            assert KINDS[relay] == kinds & KINDS[relay], found


async def look(watched: Watched, relay: str) -> list[str]:
    """Search memory and every file of one relay for what it should have forgotten."""
    pid = watched.site.children[relay].process.pid
    needles = list(watched.needles(relay))
    folder = watched.site.config(relay).parent

    def everywhere() -> list[str]:
        return search(needles, memory(pid), files(folder))

    return await trio.to_thread.run_sync(everywhere)
