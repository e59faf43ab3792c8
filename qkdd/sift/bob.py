"""Bob's end of sifting: he says where he clicked, and learns what stays."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import packed
from qkdd.base.counts import ByIntensity
from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo
from qkdd.kernels.sifting import kept_counts, sift_bob
from qkdd.sift.block import KeyGatherer, SiftedBlock, add_counts
from qkdd.sift.clicks import CHUNK_CLICKS, ClickChunk, ClickStore
from qkdd.sift.messages import Clicks, Kept, TestErrors

Packed: TypeAlias = npt.NDArray[np.uint8]


class BobSifter:
    """One block: MEASURING --close--> ENDED --announce--> ANNOUNCED --Kept of each chunk--> SIFTED.

    Nothing leaves before :meth:`close`: the caller says with it that the block's last pulse has
    arrived.
    """

    def __init__(self, block_no: BlockNo, *, chunk_clicks: int = CHUNK_CLICKS) -> None:
        self.block_no = block_no
        self._clicks = ClickStore(chunk_clicks)
        self._n_announced = 0
        self._n_received = 0
        self._key = KeyGatherer()
        self._test: ByIntensity = (0, 0, 0)
        self._test_errors: ByIntensity = (0, 0, 0)

    @property
    def n_clicks(self) -> int:
        return self._clicks.n_clicks

    @property
    def complete(self) -> bool:
        """Whether Alice has answered every chunk."""
        return self._clicks.closed and self._n_received == self._clicks.n_chunks

    def add(
        self, slots: npt.NDArray[np.uint32], detectors: npt.NDArray[np.uint8], start: int = 0
    ) -> None:
        """Add the clicks of one frame: see :meth:`ClickStore.append`."""
        self._clicks.append(slots, detectors, start)

    def close(self) -> None:
        """The block's last pulse has arrived."""
        self._clicks.close()

    def announce(self) -> Iterator[Clicks]:
        """Say where and in which basis he clicked; to be sent in this order, once."""
        if not self._clicks.closed:
            raise RuntimeError(f"block {self.block_no} has not ended: nothing may be said of it")
        if self._n_announced:
            raise RuntimeError(f"block {self.block_no} has been announced")
        return self._announce()

    def _announce(self) -> Iterator[Clicks]:
        for index in range(self._clicks.n_chunks):
            chunk = self._clicks.chunk(index)
            self._n_announced = index + 1
            yield Clicks(
                block_no=self.block_no,
                chunk=index,
                n_clicks=self._clicks.n_clicks,
                gaps=chunk.gaps.tobytes(),
                bases=chunk.bases.tobytes(),
            )

    def receive(self, message: Kept) -> SiftedBlock | None:
        """Take the answer to the next chunk; the last one completes the block.

        Raises
        ------
        PeerError
            If it is no answer to what was announced; nothing has changed then.
        """
        self._expect(message)
        chunk = self._clicks.chunk(message.chunk)
        found = sift_bob(chunk.bases, chunk.bits, chunk.n_clicks, *read_kept(message, chunk))
        if found.n_both:
            found.key.planes[0].fill(0)
            raise PeerError(f"Kept chunk {message.chunk}: a pulse cannot be weak and vacuum")
        self._test = add_counts(self._test, found.test)
        self._test_errors = add_counts(self._test_errors, found.wrong)
        self._key.add(found.key)
        self._clicks.wipe_chunk(message.chunk)
        self._n_received += 1
        if not self.complete:
            return None
        return self._key.finish(self.block_no, test=self._test, test_errors=self._test_errors)

    def errors(self) -> TestErrors:
        """Return the last word of sifting, for Alice."""
        if not self.complete:
            raise RuntimeError(f"block {self.block_no} is not sifted")
        return TestErrors(block_no=self.block_no, errors=self._test_errors)

    def wipe(self) -> None:
        """Forget the block: it is void."""
        self._clicks.wipe()
        self._key.wipe()

    def _expect(self, message: Kept) -> None:
        if message.block_no != self.block_no:
            raise PeerError(f"Kept of block {message.block_no} while block {self.block_no} sifts")
        if not self._clicks.closed or self._n_announced < self._clicks.n_chunks:
            raise PeerError(f"Kept of block {self.block_no} before its clicks were all announced")
        if self._n_received == self._clicks.n_chunks:
            raise PeerError(f"Kept chunk {message.chunk} of block {self.block_no}, already sifted")
        if message.chunk != self._n_received:
            raise PeerError(f"Kept chunk {message.chunk} where {self._n_received} is due")


def read_kept(message: Kept, chunk: ClickChunk) -> tuple[Packed, Packed, Packed, Packed]:
    """Check the sizes of an answer to a chunk; return its four packed fields."""
    try:
        kept = packed(message.kept, chunk.n_clicks)
        n_kept, n_test = kept_counts(kept, chunk.bases)
        weak, vacuum = packed(message.weak, n_kept), packed(message.vacuum, n_kept)
        return kept, weak, vacuum, packed(message.test_bits, n_test)
    except ValueError as error:
        raise PeerError(
            f"Kept chunk {message.chunk} of block {message.block_no}: {error}"
        ) from error
