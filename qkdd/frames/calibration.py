"""Calibration segments: errors per basis, and the verdict whether the frames have slipped."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FALSE_ALARM = 1e-6
"""Per test of one count: a correct error rate is called too high at most so often."""

SLIP_NATS = 20.7
"""Evidence at which a slip is called. At the limit itself one false alarm in e^20.7 = 1e9 bits
(Lorden 1971, Ann. Math. Stat. 42, 1897, theorem 2), below it far fewer."""


def significantly_above(errors: int, trials: int, limit: float) -> bool:
    """Say whether an error rate is above ``limit`` beyond chance.

    Chernoff's bound: P(errors or more | limit) <= exp(-trials D(errors/trials || limit)), with D
    the relative entropy in nats (Chernoff 1952, theorem 1).
    """
    if trials == 0 or errors <= limit * trials:
        return False
    rate = errors / trials
    entropy = rate * math.log(rate / limit)
    if errors < trials:
        entropy += (1.0 - rate) * math.log((1.0 - rate) / (1.0 - limit))
    return trials * entropy > -math.log(FALSE_ALARM)


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Basis-matched bits and the wrong ones among them, by basis (key, test)."""

    matched: tuple[int, int]
    errors: tuple[int, int]


def count_errors(codes: npt.NDArray[np.uint8], detectors: npt.NDArray[np.uint8]) -> ErrorCount:
    """Compare clicks (basis * 2 + bit) with the states sent (bit | basis << 1), both (n,) uint8."""
    same = (codes >> 1 & 1) == (detectors >> 1 & 1)
    wrong = same & ((codes ^ detectors) & 1).astype(np.bool_)
    test = (detectors >> 1 & 1).astype(np.bool_)
    return ErrorCount(
        (int(np.count_nonzero(same & ~test)), int(np.count_nonzero(same & test))),
        (int(np.count_nonzero(wrong & ~test)), int(np.count_nonzero(wrong & test))),
    )


class SlipAlarm:
    """A cumulative sum over calibration bits (Page 1954, Biometrika 41, 100).

    It weighs the hypothesis that the error rate is a third of the way from the limit to 1/2
    against the limit itself: a slip (error rate 1/2) is called after about 150 matched bits,
    in one segment or over several, and so is an error rate that stays well above the limit.

    Where the polarisation may be turned it says nothing until the errors of both bases have been
    below the limit by the same evidence: from then on it is armed.
    """

    def __init__(self, max_qber: float, *, armed: bool = True) -> None:
        self.armed = armed
        alarm = max_qber + (0.5 - max_qber) / 3.0
        self._wrong_nats = math.log(alarm / max_qber)
        self._right_nats = math.log((1.0 - alarm) / (1.0 - max_qber))
        self._nats = 0.0
        self._good_nats = [0.0, 0.0]
        self._is_suspended = False

    def suspend(self, while_turned: bool) -> None:
        """Say and learn nothing while somebody turns the light; begin anew, unarmed, then."""
        self._is_suspended = while_turned
        if while_turned:
            self.armed = False
            self._nats = 0.0
            self._good_nats = [0.0, 0.0]

    def slipped(self, count: ErrorCount) -> bool:
        """Take in one segment; say whether the evidence suffices."""
        if self._is_suspended:
            return False
        nats = [
            errors * self._wrong_nats + (matched - errors) * self._right_nats
            for matched, errors in zip(count.matched, count.errors, strict=True)
        ]
        if not self.armed:
            for basis in range(2):
                good_nats = max(0.0, self._good_nats[basis] - nats[basis])
                self._good_nats[basis] = min(good_nats, 2.0 * SLIP_NATS)  # what was good may turn
            self.armed = min(self._good_nats) > SLIP_NATS
            return False
        self._nats = max(0.0, self._nats + sum(nats))
        return self._nats > SLIP_NATS
