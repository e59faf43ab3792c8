"""Alice's end of reconciliation: her bits are the reference, and she says parities about them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits, pack, unpack
from qkdd.base.entropy import Entropy
from qkdd.base.errors import PeerError
from qkdd.kernels import ldpc
from qkdd.reconcile import checks
from qkdd.reconcile.codes import graph
from qkdd.reconcile.ending import conclude, hash_of_block
from qkdd.reconcile.frames import Frame, batch_at, batches, cut
from qkdd.reconcile.ledger import CHECK_BITS, Ledger
from qkdd.reconcile.messages import BlockHash, BlockVerdict, Revealed, Syndromes, Verdicts
from qkdd.reconcile.outcome import Reconciled
from qkdd.reconcile.settings import ReconcileSettings


@dataclass(slots=True)
class _Batch:
    open: list[Frame]
    round_no: int = 0


class AliceReconciler:
    """START --start()--> batches out --Verdicts--> Revealed ... BlockHash --BlockVerdict--> result.

    Heavy (about 0.1 ms per frame of 65,536 bits): call it in a worker thread, one call at a
    time; only making it costs nothing. ``bits`` (uint8 0/1) is read until there is a result, and
    stays its owner's to wipe.
    """

    def __init__(
        self,
        block_no: int,
        bits: Bits,
        intensities: npt.NDArray[np.uint8],
        qber_estimate: float,
        settings: ReconcileSettings,
        entropy: Entropy,
    ) -> None:
        if not 0 <= qber_estimate <= settings.max_qber:
            raise ValueError(f"QBER {qber_estimate} is not in 0..{settings.max_qber}")
        if intensities.size != bits.size:
            raise ValueError(f"{intensities.size} intensities for {bits.size} bits")
        self._block_no = block_no
        self._bits = bits
        self._intensities = intensities
        self._counts = [0, 0, 0]
        self._qber_ppm = round(qber_estimate * 1e6)
        self._settings = settings
        self._entropy = entropy
        self._frames: tuple[Frame, ...] = ()
        self._unsent = 0
        self._batches: dict[int, _Batch] = {}
        self._started = False
        self._hashed = False
        self.ledger = Ledger(n_bits=bits.size)
        self.result: Reconciled | None = None

    def start(self) -> Iterator[Syndromes]:
        """Yield every batch of the block, each made when it is asked for."""
        if self._started:
            raise RuntimeError("start() was called before")
        self._started = True
        self._counts = [int(np.count_nonzero(self._intensities == k)) for k in range(3)]
        self._frames = cut(self._bits.size, self._qber_ppm, self._settings)
        self._unsent = len(batches(self._frames))
        for first in batches(self._frames):
            yield self._open_batch(first)

    def _open_batch(self, first: int) -> Syndromes:
        frames = batch_at(self._frames, first)
        check_key = checks.draw_frame_key(self._entropy)
        parities, frame_checks = [], []
        for frame in frames:
            if frame.code is None:
                parities.append(self._whole(frame))
                frame_checks.append(0)
                self.ledger.remainder += frame.size
            else:
                parities.append(self._parities(frame, 0))
                frame_checks.append(checks.frame_check(self._slice(frame), check_key))
                self.ledger.syndrome += frame.code.check_bits(0)
                self.ledger.check += CHECK_BITS
        self._batches[first] = _Batch([frame for frame in frames if frame.code is not None])
        self._unsent -= 1
        return Syndromes(
            block_no=self._block_no,
            first_frame=first,
            qber_ppm=self._qber_ppm,
            check_key=check_key,
            parities=tuple(parities),
            checks=tuple(frame_checks),
        )

    def receive(self, message: Verdicts | BlockVerdict) -> tuple[Revealed | BlockHash, ...]:
        """Answer one message of Bob's; a PeerError leaves everything as it was."""
        if message.block_no != self._block_no:
            raise PeerError(f"block {message.block_no} while reconciling block {self._block_no}")
        if isinstance(message, BlockVerdict):
            self._conclude(message)
            return ()
        return self._go_on(message)

    def _go_on(self, message: Verdicts) -> tuple[Revealed | BlockHash, ...]:
        batch = self._batches.get(message.first_frame)
        if batch is None or message.round_no != batch.round_no:
            raise PeerError(
                f"verdicts on round {message.round_no} of the batch at frame "
                f"{message.first_frame}, which awaits none"
            )
        try:
            again = unpack(message.again, len(batch.open))
        except ValueError as error:
            raise PeerError(f"verdicts on {len(batch.open)} frames: {error}") from error
        self.ledger.verdict += len(batch.open)
        batch.open = [frame for frame, bit in zip(batch.open, again, strict=True) if bit]
        if batch.open:
            batch.round_no += 1
            return (self._reveal(message.first_frame, batch),)
        del self._batches[message.first_frame]
        if self._unsent or self._batches:
            return ()
        return (self._hash_block(),)

    def _reveal(self, first_frame: int, batch: _Batch) -> Revealed:
        if batch.round_no <= self._settings.max_rounds:
            parts = [self._parities(frame, batch.round_no) for frame in batch.open]
            for frame in batch.open:
                assert frame.code is not None
                self.ledger.revealed += frame.code.check_bits(batch.round_no)
        else:
            parts = [self._whole(frame) for frame in batch.open]
            self.ledger.lost += sum(frame.size for frame in batch.open)
            batch.open = []
        return Revealed(
            block_no=self._block_no,
            first_frame=first_frame,
            round_no=batch.round_no,
            parts=tuple(parts),
        )

    def _hash_block(self) -> BlockHash:
        self._hashed = True
        return hash_of_block(self._block_no, self._bits, self.ledger, self._entropy)

    def _conclude(self, message: BlockVerdict) -> None:
        if not self._hashed or self.result is not None:
            raise PeerError(f"a verdict on block {self._block_no}, of which no hash is open")
        self.result = conclude(message, self._bits, self._counts, self.ledger)

    def _slice(self, frame: Frame) -> Bits:
        return self._bits[frame.start : frame.start + frame.size]

    def _whole(self, frame: Frame) -> bytes:
        return pack(self._slice(frame))

    def _parities(self, frame: Frame, round_no: int) -> bytes:
        assert frame.code is not None
        first = 0 if round_no == 0 else frame.code.rows_after(round_no - 1)
        rows = graph(frame.code, first, frame.code.rows_after(round_no))
        if frame.size == frame.code.n_bits:
            return pack(ldpc.syndrome(rows, self._slice(frame)))
        padded = np.zeros(frame.code.n_bits, np.uint8)
        padded[: frame.size] = self._slice(frame)
        parities = pack(ldpc.syndrome(rows, padded))
        padded.fill(0)
        return parities
