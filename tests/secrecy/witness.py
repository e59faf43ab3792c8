"""Run a relay, and write down its secrets in a folder outside of it: ``python witness.py MODE
FOLDER CONFIG``.

A program of the tests only: it changes the daemon's classes from outside. Secrets go to their files
straight from where they lie, so that telling them leaves no copy in the process.

MODE ``watch`` does nothing else. MODE ``forget-to-wipe`` also replaces every ``wipe`` by one that
keeps what should be gone, and keeps a copy of what the product wipes in the middle of a function:
the search that finds nothing of the one must find all of the other.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qkdd.amplify import toeplitz
from qkdd.base.secret import Secret
from qkdd.cli.__main__ import main
from qkdd.daemon import distil_alice, distil_bob
from qkdd.daemon.light_alice import SeedQueue
from qkdd.frames.events import DetectedFrame
from qkdd.kernels.toeplitz import NativeTiles, TwinTiles
from qkdd.relay.units import UnitBlock
from qkdd.sift.block import KeyGatherer, SiftedBlock
from qkdd.sift.bob import BobSifter
from qkdd.sift.clicks import ClickStore

FORGETFUL = "forget-to-wipe"


class Witness:
    """Files ``KIND.NUMBER``, numbered by kind in the order of their making."""

    def __init__(self, folder: Path, *, forgetful: bool) -> None:
        self._folder = folder
        self.forgetful = forgetful
        self._hoard: list[object] = []
        self._counts: dict[str, int] = {}

    def tell(self, kind: str, buffer: Any, number: int | None = None) -> None:
        """Append ``buffer`` to the file of ``number``, or write the next one of its kind."""
        if number is None:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
        descriptor = os.open(
            self._folder / f"{kind}.{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        left = memoryview(buffer).cast("B")
        while left:
            left = left[os.write(descriptor, left) :]
        os.close(descriptor)
        if self.forgetful:
            self.keep(np.array(buffer, copy=True))

    def keep(self, thing: object) -> None:
        self._hoard.append(thing)


def watch(witness: Witness) -> None:
    """Tell every secret of a block on its way through both ends."""
    finish, add, make = KeyGatherer.finish, BobSifter.add, SeedQueue.make
    hash_block, wipe_unit = distil_alice.hash_block, UnitBlock.wipe_unit

    def finished(self: KeyGatherer, *values: Any, **named: Any) -> SiftedBlock:
        block = finish(self, *values, **named)
        witness.tell("sifted", block.key_bits)
        return block

    def added(self: BobSifter, slots: Any, detectors: Any, start: int = 0) -> None:
        if detectors.size:
            witness.tell("outcomes", detectors, self.block_no)
        add(self, slots, detectors, start)

    def made(self: SeedQueue) -> tuple[int, Secret]:
        index, seed = make(self)
        witness.tell("seed", seed.reveal())
        return index, seed

    def hashed(bits: Any, seed: Any, n_out: int) -> Secret:
        witness.tell("reconciled", bits)
        key = hash_block(bits, seed, n_out)
        witness.tell("key", key.reveal())
        return key

    def used(self: UnitBlock, index: int) -> None:
        witness.tell("unit", self.unit(index))
        wipe_unit(self, index)

    UnitBlock.wipe_unit = used  # type: ignore[method-assign]
    KeyGatherer.finish = finished  # type: ignore[method-assign]
    BobSifter.add = added  # type: ignore[method-assign]
    SeedQueue.make = made  # type: ignore[method-assign]
    distil_alice.hash_block = distil_bob.hash_block = hashed
    for tiles in (NativeTiles, TwinTiles):
        tiles.product = told_product(witness, tiles.product)  # type: ignore[method-assign]


def told_product(witness: Witness, product: Callable[..., Any]) -> Callable[..., Any]:
    """Spectra before, and the product after, of each sum of privacy amplification."""

    def told(self: Any, total: Any) -> Any:
        witness.tell("spectrum", total)
        packed = product(self, total)
        witness.tell("product", packed)
        return packed

    return told


def forget_to_wipe(witness: Witness) -> None:
    """Replace the wipes that can be had from outside by hoarding."""

    def kept_secret(self: Secret) -> None:
        if self._map is not None:
            witness.keep(self._map)
            self._map = None

    Secret.wipe = kept_secret  # type: ignore[method-assign]
    for kind in (SiftedBlock, KeyGatherer, DetectedFrame):
        kind.wipe = lambda self: witness.keep(self)  # type: ignore[attr-defined]
    ClickStore.wipe_chunk = lambda self, index: witness.keep(self._chunks[index])  # type: ignore[method-assign]


def run(mode: str, folder: Path, config: str) -> None:
    assert toeplitz.tiles_for(1024), "the hash that is watched"
    witness = Witness(folder, forgetful=mode == FORGETFUL)
    watch(witness)
    if witness.forgetful:
        forget_to_wipe(witness)
    main(["run", config])


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
