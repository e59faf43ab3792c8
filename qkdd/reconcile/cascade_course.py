"""Where a block stands with Cascade, the same at both ends: batch, search, and what comes next.

SEARCH --differences, until none is asked for--> CHECKS --verdicts--> the next batch's SEARCH
                                                   |  some failed: a closing SEARCH of those
                                                   +- failed for good: WHOLE --their bits--> ...
after the last batch: HASH
"""

from collections.abc import Sequence
from enum import Enum, auto

import numpy as np

from qkdd.base.bits import Bits
from qkdd.reconcile import cascade_plan as plan
from qkdd.reconcile.cascade_walk import Walk
from qkdd.reconcile.ledger import CHECK_BITS, Ledger
from qkdd.reconcile.settings import ReconcileSettings

MAIN_PASSES = 5


class At(Enum):
    SEARCH = auto()
    CHECKS = auto()
    WHOLE = auto()
    HASH = auto()


class Course:
    """One block's way. ``bits`` are read batch by batch; the owner writes corrected ones back."""

    def __init__(self, bits: Bits, settings: ReconcileSettings, *, corrects: bool) -> None:
        self._bits = bits
        self._settings = settings
        self._corrects = corrects
        self._batches = list(plan.batches(bits.size))
        self._closings = 0
        self.ledger = Ledger(n_bits=bits.size)
        self.search = -1
        self.step = 0
        self.walk: Walk | None = None
        self.frames: list[slice] = []
        """Where in the block each open frame lies."""
        self.now = np.zeros((0, 1), np.uint8)
        """Open frames as this end has them, (frames, 2^depth), zeros behind a short one's end."""
        self.at = At.HASH
        self._next_batch()

    def __del__(self) -> None:
        self.wipe()  # a block may end with frames open

    def make_walk(self, qber_ppm: int) -> Walk:
        """Prepare the search that is to come; nothing changes before :meth:`take` has it."""
        assert self.at is At.SEARCH
        depth = self.now.shape[1].bit_length() - 1
        closing = self._closings > 0
        return Walk(
            self.now,
            plan.closing_stages(depth) if closing else plan.stages(qber_ppm, depth, self._settings),
            first_pass=MAIN_PASSES + plan.CLOSING_PASSES * (self._closings - 1) if closing else 0,
            even=closing,
            budget=plan.closing_budget(self._settings)
            if closing
            else plan.budget(qber_ppm, self.now.size, self._settings),
            corrects=self._corrects,
        )

    def told(self, walk: Walk, odd: Bits) -> None:
        """Take one step of the search, in ``walk``; both directions of it are disclosed."""
        self.walk = walk
        if self._closings:
            self.ledger.revealed += odd.size
        else:
            self.ledger.syndrome += odd.size
        self.ledger.verdict += odd.size
        walk.told(odd)
        self.step += 1
        if walk.n_asked == 0:
            self._searched(walk)

    def _searched(self, walk: Walk) -> None:
        self.now.fill(0)
        self.now = walk.bits()
        walk.wipe()
        self.walk = None
        self.at = At.CHECKS

    def judged(self, again: Bits) -> list[tuple[slice, Bits]]:
        """Take Bob's verdicts; return the frames that are done, and their bits."""
        self.ledger.check += CHECK_BITS * len(self.frames)
        self.ledger.verdict += len(self.frames)
        done = [
            (where, bits[: where.stop - where.start].copy())
            for where, bits, bad in zip(self.frames, self.now, again, strict=True)
            if not bad
        ]
        failed = self.now[again == 1].copy()
        self.now.fill(0)
        self.now = failed
        self.frames = [where for where, bad in zip(self.frames, again, strict=True) if bad]
        if not self.frames:
            self._next_batch()
        elif self._closings < self._settings.max_rounds:
            self._closings += 1
            self._open_search()
        else:
            self.at = At.WHOLE
        return done

    def disclosed(self) -> None:
        """The open frames were told as they are."""
        n_bits = sum(where.stop - where.start for where in self.frames)
        if self.now.shape[1] > 1:
            self.ledger.lost += n_bits
        else:
            self.ledger.remainder += n_bits
        self._next_batch()

    def wipe(self) -> None:
        self.now.fill(0)
        if self.walk is not None:
            self.walk.wipe()
            self.walk = None

    def _next_batch(self) -> None:
        self.wipe()
        self._closings = 0
        if not self._batches:
            self.frames, self.at = [], At.HASH
            return
        batch = self._batches.pop(0)
        starts = [batch.start + n * batch.frame_bits for n in range(batch.n_frames)]
        self.frames = [slice(start, start + batch.frame_bits) for start in starts]
        self.now = np.zeros((batch.n_frames, 1 << batch.depth), np.uint8)
        if batch.depth == 0:
            self.search += 1
            self.at = At.WHOLE
            return
        for row, where in zip(self.now, self.frames, strict=True):
            row[: batch.frame_bits] = self._bits[where]
        self._open_search()

    def _open_search(self) -> None:
        self.search += 1
        self.step = 0
        self.at = At.SEARCH

    def checked_bits(self) -> Sequence[Bits]:
        """Bits of every open frame, without what fills up a short one."""
        pairs = zip(self.now, self.frames, strict=True)
        return [bits[: where.stop - where.start] for bits, where in pairs]
