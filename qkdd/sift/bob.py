"""Bob's end of sifting: he says where he clicked, and learns what stays."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits, unpack
from qkdd.base.counts import ByIntensity
from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo
from qkdd.base.light import Basis, Intensity
from qkdd.sift.block import KeyGatherer, SiftedBlock, add_counts, count_intensities
from qkdd.sift.clicks import CHUNK_CLICKS, ClickStore
from qkdd.sift.messages import Clicks, Kept, TestErrors


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
        bases = np.unpackbits(chunk.bases, count=chunk.n_clicks, bitorder="little")
        kept, intensities, test_bits = read_kept(message, bases)
        bits = np.unpackbits(chunk.bits, count=chunk.n_clicks, bitorder="little")
        kept_bits = bits[kept]
        in_test = bases[kept] == Basis.TEST
        tested = intensities[in_test]
        self._test = add_counts(self._test, count_intensities(tested))
        wrong = tested[kept_bits[in_test] != test_bits]
        self._test_errors = add_counts(self._test_errors, count_intensities(wrong))
        key_bits = kept_bits[~in_test]
        self._key.add(key_bits, intensities[~in_test])
        for array in (bits, kept_bits, key_bits):
            array.fill(0)
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


def read_kept(
    message: Kept, bases: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8], Bits]:
    """Check and unpack an answer to clicks in ``bases``.

    Returns
    -------
    kept : (n_clicks,) bool
    intensities : (n_kept,) uint8
    test_bits : (n_kept in the test basis,) uint8
    """
    try:
        kept = unpack(message.kept, bases.size).view(np.bool_)
        n_kept = int(np.count_nonzero(kept))
        weak = unpack(message.weak, n_kept)
        vacuum = unpack(message.vacuum, n_kept)
        n_test = int(np.count_nonzero(kept & (bases == Basis.TEST)))
        test_bits = unpack(message.test_bits, n_test)
    except ValueError as error:
        raise PeerError(
            f"Kept chunk {message.chunk} of block {message.block_no}: {error}"
        ) from error
    if np.any(weak & vacuum):
        raise PeerError(f"Kept chunk {message.chunk}: a pulse cannot be weak and vacuum")
    return kept, weak * np.uint8(Intensity.WEAK) + vacuum * np.uint8(Intensity.VACUUM), test_bits
