"""Bob's end of Cascade: he tells where his parities differ, and turns over what is found."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits, pack
from qkdd.base.errors import PeerError
from qkdd.reconcile import checks
from qkdd.reconcile.cascade_course import At, Course
from qkdd.reconcile.ending import compare, count_errors
from qkdd.reconcile.ledger import CHECK_BITS, Ledger
from qkdd.reconcile.messages import (
    BlockHash,
    BlockVerdict,
    Checks,
    Differences,
    Parities,
    Revealed,
    Verdicts,
)
from qkdd.reconcile.outcome import Reconciled
from qkdd.reconcile.parts import unpacked
from qkdd.reconcile.settings import ReconcileSettings

Said = Differences | Verdicts | BlockVerdict


class CascadeBob:
    """Parities in, Differences out, ... Checks in, Verdicts out, ... BlockHash, BlockVerdict.

    Stands where BobReconciler stands. Heavy (some 50 ms per million bits, spread over the steps):
    call it in a worker thread, one call at a time. ``bits`` (uint8 0/1) is corrected IN PLACE,
    frame by frame, and stays its owner's to wipe. ``qber_by_intensity`` is of no use here.
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
        self._max_qber_ppm = round(settings.max_qber * 1e6)
        self._qber_ppm: int | None = None
        self._course = Course(bits, settings, corrects=True)
        self._errors = np.zeros(3, np.int64)
        self.result: Reconciled | None = None

    @property
    def ledger(self) -> Ledger:
        return self._course.ledger

    def receive(self, message: Parities | Checks | Revealed | BlockHash) -> tuple[Said, ...]:
        """Answer one message of Alice's; a PeerError leaves everything as it was."""
        if message.block_no != self._block_no:
            raise PeerError(f"block {message.block_no} while reconciling block {self._block_no}")
        if isinstance(message, Parities):
            return (self._search_on(message),)
        if isinstance(message, Checks):
            return (self._judge(message),)
        if isinstance(message, Revealed):
            self._take(message)
            return ()
        return (self._compare(message),)

    def _search_on(self, message: Parities) -> Differences:
        course = self._course
        awaited = (course.search, course.step)
        if course.at is not At.SEARCH or (message.search, message.step) != awaited:
            raise PeerError(
                f"parities of step {message.step} of search {message.search}, awaited "
                f"{course.at.name.lower()} {awaited}"
            )
        if not 0 <= message.qber_ppm <= self._max_qber_ppm:
            raise PeerError(
                f"QBER estimate {message.qber_ppm} ppm is not in 0..{self._max_qber_ppm}"
            )
        if self._qber_ppm not in (None, message.qber_ppm):
            raise PeerError(f"QBER estimate changed from {self._qber_ppm} to {message.qber_ppm}")
        walk = course.walk or course.make_walk(message.qber_ppm)
        odd = unpacked(message.parities, walk.n_asked) ^ walk.own()
        self._qber_ppm = message.qber_ppm
        said = Differences(
            block_no=self._block_no, search=message.search, step=message.step, odd=pack(odd)
        )
        course.told(walk, odd)
        return said

    def _judge(self, message: Checks) -> Verdicts:
        course = self._course
        if course.at is not At.CHECKS or message.search != course.search:
            raise PeerError(
                f"checks of search {message.search}, awaited {course.at.name.lower()} of "
                f"{course.search}"
            )
        if len(message.checks) != len(course.frames):
            raise PeerError(f"{len(message.checks)} checks for {len(course.frames)} frames")
        if len(message.check_key) != checks.FRAME_KEY_BYTES:
            raise PeerError(f"frame check key of {len(message.check_key)} bytes")
        if any(not 0 <= check < 1 << CHECK_BITS for check in message.checks):
            raise PeerError(f"a frame check is not a number of {CHECK_BITS} bits")
        found = [checks.frame_check(bits, message.check_key) for bits in course.checked_bits()]
        again = np.array(
            [mine != theirs for mine, theirs in zip(found, message.checks, strict=True)], np.uint8
        )
        said = Verdicts(
            block_no=self._block_no,
            first_frame=course.search,
            round_no=course.step,
            again=pack(again),
        )
        for where, bits in course.judged(again):
            self._replace(where, bits)
        return said

    def _take(self, message: Revealed) -> None:
        course = self._course
        awaited = (course.search, course.step)
        if course.at is not At.WHOLE or (message.first_frame, message.round_no) != awaited:
            raise PeerError(
                f"frames of search {message.first_frame} disclosed, awaited "
                f"{course.at.name.lower()} {awaited}"
            )
        if len(message.parts) != len(course.frames):
            raise PeerError(f"{len(message.parts)} parts for {len(course.frames)} open frames")
        pairs = list(zip(message.parts, course.frames, strict=True))
        parts = [unpacked(part, where.stop - where.start) for part, where in pairs]
        frames = course.frames
        course.disclosed()
        for where, bits in zip(frames, parts, strict=True):
            self._replace(where, bits)

    def _replace(self, where: slice, bits: Bits) -> None:
        """Take Alice's bits of a frame, and count where they differ."""
        self._errors += count_errors(self._bits[where], bits, self._intensities[where])
        self._bits[where] = bits
        bits.fill(0)

    def _compare(self, message: BlockHash) -> BlockVerdict:
        if self._course.at is not At.HASH or self.result is not None:
            raise PeerError(f"a hash of block {self._block_no}, whose frames are not all done")
        self.result, verdict = compare(message, self._bits, self._errors, self.ledger)
        return verdict
