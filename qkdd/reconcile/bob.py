"""Bob's end of reconciliation: he finds his errors from Alice's parities, and says how it went."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits, pack
from qkdd.base.errors import PeerError
from qkdd.reconcile import checks
from qkdd.reconcile.decoding import Decoder
from qkdd.reconcile.ending import compare, count_errors
from qkdd.reconcile.frames import Frame, batch_at, batches, cut
from qkdd.reconcile.ledger import CHECK_BITS, Ledger
from qkdd.reconcile.messages import BlockHash, BlockVerdict, Revealed, Syndromes, Verdicts
from qkdd.reconcile.outcome import Reconciled
from qkdd.reconcile.parts import unpacked
from qkdd.reconcile.settings import ReconcileSettings


@dataclass(slots=True)
class _OpenFrame:
    frame: Frame
    parities: Bits
    check: int


@dataclass(slots=True)
class _Batch:
    check_key: bytes
    open: list[_OpenFrame] = field(default_factory=list)
    round_no: int = 0


class BobReconciler:
    """Syndromes in, Verdicts out, Revealed in, Verdicts out, ... BlockHash in, BlockVerdict out.

    Heavy (1 to 3 ms per frame of 65,536 bits, up to a second for a long one): call it in a worker
    thread, one call at a time. ``bits`` (uint8 0/1) is corrected IN PLACE, and stays its owner's to
    wipe.

    Parameters
    ----------
    block_no : int
    bits : (n,) uint8
        Sifted bits of the key basis.
    intensities : (n,) uint8
        Alice's intensity of each bit (public by now), for the error counts and the likelihoods.
    settings : ReconcileSettings
    qber_by_intensity : 3 fractions, optional
        Bob's own estimates, for better likelihoods; by default Alice's one estimate serves all.
    """

    def __init__(
        self,
        block_no: int,
        bits: Bits,
        intensities: npt.NDArray[np.uint8],
        settings: ReconcileSettings,
        qber_by_intensity: Sequence[float] | None = None,
    ) -> None:
        if intensities.size != bits.size:
            raise ValueError(f"{intensities.size} intensities for {bits.size} bits")
        self._block_no = block_no
        self._bits = bits
        self._intensities = intensities
        self._settings = settings
        self._qber_by_intensity = qber_by_intensity
        self._qber_ppm: int | None = None
        self._decoder: Decoder | None = None
        self._frames: tuple[Frame, ...] = ()
        self._awaited: list[int] = []
        self._batches: dict[int, _Batch] = {}
        self._errors = np.zeros(3, np.int64)
        self.ledger = Ledger(n_bits=bits.size)
        self.result: Reconciled | None = None

    def receive(
        self, message: Syndromes | Revealed | BlockHash
    ) -> tuple[Verdicts | BlockVerdict, ...]:
        """Answer one message of Alice's; a PeerError leaves everything as it was."""
        if message.block_no != self._block_no:
            raise PeerError(f"block {message.block_no} while reconciling block {self._block_no}")
        if isinstance(message, Syndromes):
            return (self._begin(message),)
        if isinstance(message, Revealed):
            return (self._go_on(message),)
        return (self._compare(message),)

    def _begin(self, message: Syndromes) -> Verdicts:
        frames, awaited = self._layout(message)
        first = message.first_frame
        if not awaited or first != awaited[0]:
            raise PeerError(f"syndromes from frame {first}, awaited {awaited[:1]}")
        mine = batch_at(frames, first)
        if len(message.parities) != len(mine) or len(message.checks) != len(mine):
            raise PeerError(
                f"{len(message.parities)} syndromes and {len(message.checks)} checks for "
                f"{len(mine)} frames"
            )
        if len(message.check_key) != checks.FRAME_KEY_BYTES:
            raise PeerError(f"frame check key of {len(message.check_key)} bytes")
        if any(not 0 <= check < 1 << CHECK_BITS for check in message.checks):
            raise PeerError(f"a frame check is not a number of {CHECK_BITS} bits")
        parts = [
            unpacked(part, frame.size if frame.code is None else frame.code.check_bits(0))
            for part, frame in zip(message.parities, mine, strict=True)
        ]
        if self._decoder is None:
            self._decoder = Decoder(
                message.qber_ppm, self._settings.max_iterations, self._qber_by_intensity
            )
        self._qber_ppm, self._frames, self._awaited = message.qber_ppm, frames, awaited[1:]
        batch = _Batch(message.check_key)
        for frame, part, check in zip(mine, parts, message.checks, strict=True):
            if frame.code is None:
                self.ledger.remainder += frame.size
                self._replace(frame, part)
            else:
                self.ledger.syndrome += part.size
                self.ledger.check += CHECK_BITS
                batch.open.append(_OpenFrame(frame, part, check))
        self._batches[first] = batch
        return self._judge(first, batch)

    def _layout(self, message: Syndromes) -> tuple[tuple[Frame, ...], list[int]]:
        """Return the cut of the block, and the batches still to come."""
        if self._qber_ppm is None:
            limit = round(self._settings.max_qber * 1e6)
            if not 0 <= message.qber_ppm <= limit:
                raise PeerError(f"QBER estimate {message.qber_ppm} ppm is not in 0..{limit}")
            frames = cut(self._bits.size, message.qber_ppm, self._settings)
            return frames, list(batches(frames))
        if message.qber_ppm != self._qber_ppm:
            raise PeerError(f"QBER estimate changed from {self._qber_ppm} to {message.qber_ppm}")
        return self._frames, self._awaited

    def _go_on(self, message: Revealed) -> Verdicts:
        batch = self._batches.get(message.first_frame)
        if batch is None or message.round_no != batch.round_no + 1:
            raise PeerError(
                f"round {message.round_no} of the batch at frame {message.first_frame}, "
                f"which awaits none"
            )
        if len(message.parts) != len(batch.open):
            raise PeerError(f"{len(message.parts)} parts for {len(batch.open)} open frames")
        whole = message.round_no > self._settings.max_rounds
        parts = []
        for part, item in zip(message.parts, batch.open, strict=True):
            assert item.frame.code is not None
            n_bits = item.frame.size if whole else item.frame.code.check_bits(message.round_no)
            parts.append(unpacked(part, n_bits))
        batch.round_no = message.round_no
        for bits, item in zip(parts, batch.open, strict=True):
            if whole:
                assert self._decoder is not None
                self._decoder.forget(item.frame)
                self.ledger.lost += bits.size
                self._replace(item.frame, bits)
            else:
                self.ledger.revealed += bits.size
                item.parities = np.concatenate([item.parities, bits])
        if whole:
            batch.open = []
        return self._judge(message.first_frame, batch)

    def _judge(self, first: int, batch: _Batch) -> Verdicts:
        """Decode every open frame of a batch, and say which are still open."""
        again = np.array([not self._decode(item, batch) for item in batch.open], np.uint8)
        self.ledger.verdict += again.size
        batch.open = [item for item, bit in zip(batch.open, again, strict=True) if bit]
        if not batch.open:
            del self._batches[first]
        return Verdicts(
            block_no=self._block_no,
            first_frame=first,
            round_no=batch.round_no,
            again=pack(again),
        )

    def _decode(self, item: _OpenFrame, batch: _Batch) -> bool:
        assert self._decoder is not None
        frame = item.frame
        span = slice(frame.start, frame.start + frame.size)
        corrected = self._decoder.correct(
            frame, batch.round_no, self._bits[span], self._intensities[span], item.parities
        )
        if corrected is None:
            return False
        equal = checks.frame_check(corrected, batch.check_key) == item.check
        if equal:
            self._replace(frame, corrected)
        corrected.fill(0)
        return equal

    def _replace(self, frame: Frame, bits: Bits) -> None:
        """Take Alice's bits of a frame, and count where they differ."""
        span = slice(frame.start, frame.start + frame.size)
        self._errors += count_errors(self._bits[span], bits, self._intensities[span])
        self._bits[span] = bits

    def _compare(self, message: BlockHash) -> BlockVerdict:
        if self._qber_ppm is None or self._awaited or self._batches or self.result is not None:
            raise PeerError(f"a hash of block {self._block_no}, whose frames are not all done")
        self.result, verdict = compare(message, self._bits, self._errors, self.ledger)
        return verdict
