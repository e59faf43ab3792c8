"""The same pulses counted twice: by the detectors' controller, and as events of the time tagger.

Neither clock is known, and either may be read late; both run at the rate of ours to 1e-4. What
the controller counted between two moments must lie between what the tagger saw in a time that is
shorter by the slack at both ends, and in one that is longer: so light may come and go as it likes.
"""

import math
from bisect import bisect_left, bisect_right

from qkdd.watch.wires import Counts, of_wire

WINDOW_S = 10.0
LOOKS_BACK_S = WINDOW_S + 2.0
SLACK_S = 1.0
"""How far the two may be apart in time: a period, a tagger's record, a host that stalls."""
EVERY_S = 1.0
TOLERANCE = 0.05
"""Of the larger count: their comparators and dead times differ."""
SIGMAS = 7.0
LEAK_PER_S = 2e-4
"""Clocks drift apart by no more."""


class LeastDelay:
    """Another clock's moments in ours: whatever came with the least delay shows how it stands."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._now_s = 0.0

    def ours_s(self, theirs_s: float, now_s: float) -> float:
        """Return when, by our clock, theirs was at ``theirs_s``, which has arrived now."""
        new_s = now_s - theirs_s
        if self._offset_s is not None:
            leaked_s = self._offset_s + LEAK_PER_S * (now_s - self._now_s)
            new_s = min(new_s, leaked_s)
        self._offset_s, self._now_s = new_s, now_s
        return theirs_s + new_s


class Series:
    """Sums of counts up to moments that rise; of the last ``keep_s``."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._times_s: list[float] = []
        self._sums: list[Counts] = []

    @property
    def first_s(self) -> float:
        return self._times_s[0] if self._times_s else math.inf

    @property
    def last_s(self) -> float:
        return self._times_s[-1] if self._times_s else -math.inf

    def begin(self, at_s: float) -> None:
        """Count from then on."""
        self._times_s, self._sums = [at_s], [(0, 0, 0, 0)]

    def add(self, until_s: float, counts: Counts) -> None:
        """Add what was counted since the last moment."""
        key0, key1, test0, test1 = map(sum, zip(self._sums[-1], counts, strict=True))
        self._times_s.append(max(until_s, self.last_s))
        self._sums.append((key0, key1, test0, test1))
        if self._times_s[len(self._times_s) // 2] < self.last_s - self._keep_s:
            middle = len(self._times_s) // 2
            del self._times_s[:middle], self._sums[:middle]

    def clear(self) -> None:
        self._times_s, self._sums = [], []

    def before(self, moment_s: float) -> float:
        """Return the last moment that is known, not after this one."""
        return self._times_s[bisect_right(self._times_s, moment_s) - 1]

    def after(self, moment_s: float) -> float:
        """Return the first moment that is known, not before this one."""
        return self._times_s[bisect_left(self._times_s, moment_s)]

    def at_least(self, start_s: float, end_s: float) -> Counts:
        """Count what surely lies between."""
        return self._between(
            bisect_left(self._times_s, start_s), bisect_right(self._times_s, end_s) - 1
        )

    def at_most(self, start_s: float, end_s: float) -> Counts:
        """Count what may lie between."""
        return self._between(
            bisect_right(self._times_s, start_s) - 1, bisect_left(self._times_s, end_s)
        )

    def _between(self, first: int, last: int) -> Counts:
        if last <= first:
            return (0, 0, 0, 0)
        key0, key1, test0, test1 = (
            late - early for early, late in zip(self._sums[first], self._sums[last], strict=True)
        )
        return (key0, key1, test0, test1)


class TwoCounts:
    """Compares about once a second, over ten; a gap on either side begins it afresh."""

    def __init__(self) -> None:
        keep_s = 2 * (WINDOW_S + 2 * SLACK_S)
        self._tagged, self._counted = Series(keep_s), Series(keep_s)
        self._tagger_delay, self._box_delay = LeastDelay(), LeastDelay()
        self._box_s = -math.inf
        self._looked_s = -math.inf
        self._trouble: str | None = None
        self.tagged_hz: tuple[float, ...] = ()
        """Rates of the tagger's events in the last window."""

    def tagger_begins(self) -> None:
        """Its stream begins anew, or has lost something."""
        self._tagged.clear()
        self._tagger_delay = LeastDelay()

    def tagged(self, counts: Counts, until_s: float, now_s: float) -> None:
        """Take the tagger's events up to ``until_s`` of its own clock."""
        ours_s = self._tagger_delay.ours_s(until_s, now_s)
        if self._tagged.first_s == math.inf:
            self._tagged.begin(ours_s)
        else:
            self._tagged.add(ours_s, counts)

    def counted(self, counts: Counts, end_s: float, period_s: float, now_s: float) -> str | None:
        """Take the counts of a period up to ``end_s`` of the box's clock.

        Returns what the last comparison found wrong; it stands until another finds all well.
        """
        follows = abs(end_s - self._box_s - period_s) < period_s / 2
        self._box_s = end_s
        if not follows:
            self._box_delay = LeastDelay()
            self._counted.begin(self._box_delay.ours_s(end_s, now_s))
        else:
            self._counted.add(self._box_delay.ours_s(end_s, now_s), counts)
            self._compare(now_s)
        return self._trouble

    def _compare(self, now_s: float) -> None:
        newest_s = min(self._counted.last_s, self._tagged.last_s - SLACK_S)
        oldest_s = max(self._counted.first_s, self._tagged.first_s + SLACK_S)
        if newest_s - oldest_s < WINDOW_S or now_s - self._looked_s < EVERY_S:
            return
        self._looked_s = now_s
        self._trouble = None
        end_s = self._counted.before(newest_s)
        start_s = self._counted.after(max(oldest_s, newest_s - WINDOW_S))
        counted = self._counted.at_least(start_s, end_s)
        low = self._tagged.at_least(start_s + SLACK_S, end_s - SLACK_S)
        high = self._tagged.at_most(start_s - SLACK_S, end_s + SLACK_S)
        span_s = end_s - start_s
        self.tagged_hz = tuple(n / (span_s + 2 * SLACK_S) for n in high)
        for wire, (n, lowest, highest) in enumerate(zip(counted, low, high, strict=True)):
            room = TOLERANCE * max(n, highest) + SIGMAS * math.sqrt(max(n, highest))
            if n < lowest - room or n > highest + room:
                self._trouble = (
                    f"{of_wire(wire)}: the controller counts {n} in {span_s:.1f} s, the time "
                    f"tagger between {lowest} and {highest}"
                )
                return
