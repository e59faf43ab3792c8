"""Alice's end of Cascade: her bits are the reference, and she tells parities of them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits, pack
from qkdd.base.entropy import Entropy
from qkdd.base.errors import PeerError
from qkdd.reconcile import checks
from qkdd.reconcile.cascade_course import At, Course
from qkdd.reconcile.ending import conclude, hash_of_block
from qkdd.reconcile.ledger import Ledger
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

Said = Parities | Checks | Revealed | BlockHash


class CascadeAlice:
    """START --start()--> Parities --Differences--> Parities ... Checks --Verdicts--> ... result.

    Stands where AliceReconciler stands; her words and Bob's strictly take turns. Heavy (some 50 ms
    per million bits, spread over the steps): call it in a worker thread, one call at a time.
    ``bits`` (uint8 0/1) is read until there is a result, and stays its owner's to wipe.
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
        self._counts = [int(np.count_nonzero(intensities == k)) for k in range(3)]
        self._qber_ppm = round(qber_estimate * 1e6)
        self._entropy = entropy
        self._course = Course(bits, settings, corrects=False)
        self._started = False
        self._hashed = False
        self.result: Reconciled | None = None

    @property
    def ledger(self) -> Ledger:
        return self._course.ledger

    def start(self) -> Iterator[Said]:
        """Yield the first words of the block."""
        if self._started:
            raise RuntimeError("start() was called before")
        self._started = True
        yield from self._say()

    def receive(self, message: Differences | Verdicts | BlockVerdict) -> tuple[Said, ...]:
        """Answer one message of Bob's; a PeerError leaves everything as it was."""
        if message.block_no != self._block_no:
            raise PeerError(f"block {message.block_no} while reconciling block {self._block_no}")
        if not self._started:
            raise PeerError(f"a word on block {self._block_no}, of which nothing was said")
        if isinstance(message, BlockVerdict):
            self._conclude(message)
            return ()
        if isinstance(message, Differences):
            self._search_on(message)
        else:
            self._judge(message)
        return tuple(self._say())

    def _search_on(self, message: Differences) -> None:
        course, walk = self._course, self._course.walk
        if course.at is not At.SEARCH or walk is None:
            raise PeerError(f"differences in block {self._block_no}, which awaits none")
        if (message.search, message.step) != (course.search, course.step):
            raise PeerError(
                f"differences in step {message.step} of search {message.search}, awaited step "
                f"{course.step} of search {course.search}"
            )
        course.told(walk, unpacked(message.odd, walk.n_asked))

    def _judge(self, message: Verdicts) -> None:
        course = self._course
        if course.at is not At.CHECKS:
            raise PeerError(f"verdicts in block {self._block_no}, which awaits none")
        if (message.first_frame, message.round_no) != (course.search, course.step):
            raise PeerError(
                f"verdicts on search {message.first_frame} after {message.round_no} steps, awaited "
                f"on {course.search} after {course.step}"
            )
        for _, bits in course.judged(unpacked(message.again, len(course.frames))):
            bits.fill(0)

    def _say(self) -> Iterator[Said]:
        """What comes next: all that Bob need not answer, and one message that he must."""
        course = self._course
        while course.at is At.WHOLE:
            parts = tuple(pack(self._bits[where]) for where in course.frames)
            said = Revealed(
                block_no=self._block_no,
                first_frame=course.search,
                round_no=course.step,
                parts=parts,
            )
            course.disclosed()
            yield said
        if course.at is At.SEARCH:
            if course.walk is None:
                course.walk = course.make_walk(self._qber_ppm)
            yield Parities(
                block_no=self._block_no,
                search=course.search,
                step=course.step,
                qber_ppm=self._qber_ppm,
                parities=pack(course.walk.own()),
            )
        elif course.at is At.CHECKS:
            key = checks.draw_frame_key(self._entropy)
            yield Checks(
                block_no=self._block_no,
                search=course.search,
                check_key=key,
                checks=tuple(checks.frame_check(bits, key) for bits in course.checked_bits()),
            )
        elif not self._hashed:
            self._hashed = True
            yield hash_of_block(self._block_no, self._bits, self.ledger, self._entropy)

    def _conclude(self, message: BlockVerdict) -> None:
        if not self._hashed or self.result is not None:
            raise PeerError(f"a verdict on block {self._block_no}, of which no hash is open")
        self.result = conclude(message, self._bits, self._counts, self.ledger)
