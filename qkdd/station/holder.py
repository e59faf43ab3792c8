"""Hold the polarisation: errors of calibration segments in, voltages of the squeezers out.

The sphere is turned a little to and fro about one axis after the other, the three at right angles.
The sum J of both bases' error rates is a cosine of such an angle: nothing else is known of the
fibre, and nothing of where the axes lie in what the receiver sees. Light that is lost is looked for
by :mod:`qkdd.station.turned`.
"""

import math

from qkdd.frames.calibration import significantly_above
from qkdd.station.error_counts import Page, Side
from qkdd.station.squeezers import FURTHEST, Direction, Squeezers
from qkdd.station.turned import FEWEST_BITS, Found, Rates, Search, Voltages, search
from qkdd.station.turned import SAMPLE_S as SEARCH_SAMPLE_S

EXCURSION_RAD = 0.04
"""To and fro while the light is good: EXCURSION_RAD^2 / 2 = 0.08 % of errors, both bases together.
A slope is known well enough when its noise costs no more than that."""

DOUBT_RAD, CALMER, N_SETTLED = 0.15, 0.9, 13
"""While the light is in doubt: a basis of few bits may have errors that leave no key, and small
excursions would need minutes to see which way is better. Each direction in a row that is measured
with good light takes so much off, until the light is settled: down to EXCURSION_RAD, in four rounds
of three and one more."""

SAMPLE_S, HASTY_SAMPLE_S = 1.0, 0.5
"""Light of one sample while the light is settled, and while it is not: each change of a voltage
costs some frames, but who looks for the light has no time to lose."""

LONG_STEP = 4.0 / 3.0
"""Times a clear slope, while the light is not settled: right for the mean curvature, and a round
leaves a third of the angle at the most, where steps of the slope itself leave up to a half."""

GOOD_SHARE = 0.6
"""Of the limit: errors below it, as counted, are called good where it is not known how few they can
be."""

MORE = 0.02
"""Than the fewest known, and they are not good any more: the test basis leaves little key, and
small excursions would take minutes."""

SIGNIFICANT_SIGMA = 4.0
"""A slope so far beyond its noise is acted on at once: by chance once in 16,000 looks."""


class PolarizationHolder:
    """Descends the errors in one direction at a time; steps follow the noise of what was counted.

    Settled, with small excursions; in doubt, with larger ones, from the start and when the errors
    have become more; searching, where they are too many, or do not become few in doubt.

    Per direction and basis, with excursions of d to both sides, the slope of the error rate is
    ``g = (e+ - e-) / (2 d)`` and its variance the counting noise's. Near the best voltage the
    curvature of J in the angle of any turn is between 1/2 and 1, so a step of -g does not
    overshoot, and one of -4/3 g by a third at most. A basis is acted on when its slope is clear,
    far beyond its noise; or when it is known as well as what was expected before, to be off by d to
    either side: then by the mean of both, ``-g d^2 / (d^2 + var(g))``, since chance alone would now
    and then make a step that costs all the key.
    """

    def __init__(
        self, squeezers: Squeezers, voltages_mv: tuple[int, ...], *, max_qber: float
    ) -> None:
        self._squeezers = squeezers
        self._max_qber = max_qber
        self._centre_mv = squeezers.apart(tuple(float(mv) for mv in voltages_mv))
        self._good_mv = self._centre_mv
        """What to come back to."""
        self._n_settled = 0
        """Directions in a row that were measured while the light was good."""
        self._fewest: Rates | None = None
        """How few the errors are where all directions are settled."""
        self._pages: tuple[Page, ...] = ()
        self._search: Search | None = None
        """While the errors are too many."""
        self._n_not_found = 0
        self.n_good = 0
        """Directions that were measured with the errors of no basis above the limit."""
        self._ahead: list[Direction] = []
        """Of this round, which began with the three as they were then."""
        self._turn_to_next()
        self.n_steps = 0
        self._low = True
        self._n_taken = 0
        self._begin_visit()

    @property
    def voltages_mv(self) -> tuple[int, ...]:
        """What the channels shall be at now, the excursion included."""
        if self._search is not None:
            return tuple(round(mv) for mv in self._asked_mv)
        angle_rad = -self._excursion_rad if self._low else self._excursion_rad
        return tuple(round(mv) for mv in self._moved_mv(angle_rad))

    @property
    def centre_mv(self) -> tuple[int, ...]:
        """The best voltages known, without the excursion."""
        return tuple(round(mv) for mv in self._centre_mv)

    def not_found(self) -> None:
        """The light was there, but no beginning of a run could be made out in it.

        First back to the last voltages that were good; then a quarter of a turn with one channel
        after the other, and back again each second time: the light may have another fault.
        """
        self._n_not_found += 1
        self._search = None
        moved_mv = list(self._good_mv)
        if self._n_not_found % 2 == 0:
            channel = self._n_not_found // 2 % len(moved_mv)
            quarter_mv = self._squeezers.half_wave_mv / 2.0
            moved_mv[channel] = self._squeezers.fold(moved_mv[channel] + quarter_mv, 0.0)
        self._centre_mv = tuple(moved_mv)
        self._begin_visit()

    @property
    def sample_s(self) -> float:
        """How long the next sample shall last."""
        if self._search is not None:
            return SEARCH_SAMPLE_S
        return SAMPLE_S if self._is_settled else HASTY_SAMPLE_S

    @property
    def seeking(self) -> bool:
        """The errors of a basis had become too many, beyond chance: the light is looked for."""
        return self._search is not None

    def take(self, matched: tuple[int, int], errors: tuple[int, int]) -> None:
        """Take what was counted at :attr:`voltages_mv`, by basis; which then may change."""
        if self._search is not None:
            self._side.add(matched, errors)
            if min(self._side.matched) >= FEWEST_BITS:
                self._seek(self._search)
            return
        if self._is_worse(matched, errors):
            if self._is_settled:
                self._n_settled = 0
                self._pages = self._doubtful_pages()
                self._begin_visit()  # of what was counted so far some was before
            else:
                self._begin_search()
            return
        self._sides[self._low].add(matched, errors)
        self._n_taken += 1
        # low, high, high, low: a steady drift shows on both sides alike
        self._low = self._n_taken % 4 in (0, 3)
        if self._n_taken % 2 == 0:
            self._decide()

    @property
    def _is_settled(self) -> bool:
        """In every direction the errors are fewest: small excursions are enough."""
        return self._small_rad == EXCURSION_RAD

    @property
    def _small_rad(self) -> float:
        return max(EXCURSION_RAD, DOUBT_RAD * CALMER**self._n_settled)

    def _is_worse(self, matched: tuple[int, int], errors: tuple[int, int]) -> bool:
        """Say whether the errors have become more; by basis, each of which must hear it."""
        pages = zip(self._pages, matched, errors, strict=False)  # there may be none
        found = [page.take(n, wrong) for page, n, wrong in pages]
        return any(found)

    def _doubtful_pages(self) -> tuple[Page, ...]:
        """While the light is in doubt: it may be off by as much as the excursion, not for long by
        more."""
        few = self._fewest or (self._max_qber, self._max_qber)
        return tuple(Page(rate + DOUBT_RAD**2 / 2.0, MORE) for rate in few)

    def _begin_search(self) -> None:
        self._search = search(
            self._squeezers,
            self._centre_mv,
            self._good_mv,
            self._wanted,
            max_qber=self._max_qber,
        )
        self._asked_mv = next(self._search)
        self._side = Side()

    def _seek(self, running: Search) -> None:
        """Give the search what it asked for; go on from where it has found the light."""
        side, self._side = self._side, Side()
        try:
            self._asked_mv = running.send(side)
        except StopIteration as stopped:
            found: Found = stopped.value
            self._search = None
            self._centre_mv = found.voltages_mv
            self.n_steps += 1
            self._n_settled = N_SETTLED if found.best else 0
            self._ahead = []
            self._turn_to_next()
            self._begin_visit()
            rates = [found.side.rate(basis) for basis in range(2)]
            if any(rate > wanted for (rate, _), wanted in zip(rates, self._wanted, strict=True)):
                self._fewest = None  # it has looked everywhere: so few they are no more
            # By the fewest known: small excursions need a minute to mend what a survey leaves.
            usual = tuple(rate + math.sqrt(variance) for rate, variance in rates)
            few = self._fewest or usual
            self._pages = tuple(Page(min(pair)) for pair in zip(usual, few, strict=True))

    def _begin_visit(self) -> None:
        self._excursion_rad = self._small_rad
        margin_mv = FURTHEST * self._squeezers.rad_to_mv(self._excursion_rad)
        self._centre_mv = tuple(self._squeezers.fold(mv, margin_mv) for mv in self._centre_mv)
        self._sides = {True: Side(), False: Side()}
        self._low = True
        self._n_taken = 0

    def _moved_mv(self, angle_rad: float) -> Voltages:
        """Return the centre moved along the present direction."""
        return tuple(
            mv + self._squeezers.rad_to_mv(share * angle_rad)
            for mv, share in zip(self._centre_mv, self._direction, strict=True)
        )

    def _turn_to_next(self) -> None:
        if not self._ahead:
            self._ahead = list(self._squeezers.directions(self._centre_mv))
        self._direction = self._ahead.pop(0)

    def _decide(self) -> None:
        if self._too_bad():
            self._begin_search()
            return
        slopes = [self._slope(basis) for basis in range(2)]
        significant = [g * g > SIGNIFICANT_SIGMA**2 * variance for g, variance in slopes]
        known = [variance <= self._excursion_rad**2 for _, variance in slopes]
        if not any(significant) and not all(known):
            return
        step_rad = sum(
            self._step_rad(*slope, clear=clear)
            for slope, clear, enough in zip(slopes, significant, known, strict=True)
            if clear or enough
        )
        if self._is_settled:
            usual = (self._usual_rate(0), self._usual_rate(1))
            few = self._fewest or usual
            self._fewest = (min(few[0], usual[0]), min(few[1], usual[1]))
            self._pages = (Page(usual[0]), Page(usual[1]))
        self._n_settled = self._n_settled + 1 if self._is_good() else 0
        self._centre_mv = self._moved_mv(step_rad)
        self._begin_visit()  # folds the channels that have moved
        self.n_steps += step_rad != 0.0
        self._n_not_found = 0
        self.n_good += 1
        if self._n_settled:
            self._good_mv = self._centre_mv
        self._turn_to_next()
        self._begin_visit()

    def _too_bad(self) -> bool:
        """Say whether one basis' errors of this visit are above the limit beyond chance."""
        for basis in range(2):
            matched = sum(side.matched[basis] for side in self._sides.values())
            errors = sum(side.errors[basis] for side in self._sides.values())
            if significantly_above(errors, matched, self._max_qber):
                return True
        return False

    def _is_good(self) -> bool:
        """Say whether both bases' errors of this visit are few, and known to be."""
        return all(self._rate(basis)[0] <= self._wanted[basis] for basis in range(2))

    @property
    def _wanted(self) -> Rates:
        """At most so many errors are good, by basis."""
        if self._fewest is None:
            return (GOOD_SHARE * self._max_qber, GOOD_SHARE * self._max_qber)
        key, test = (min(self._max_qber, few + MORE) for few in self._fewest)
        return key, test

    def _usual_rate(self, basis: int) -> float:
        """Return the error rate of this visit and one sigma: what will not look like more."""
        rate, variance = self._rate(basis)
        return rate + math.sqrt(variance)

    def _rate(self, basis: int) -> tuple[float, float]:
        both = Side()
        for side in self._sides.values():
            both.matched[basis] += side.matched[basis]
            both.errors[basis] += side.errors[basis]
        return both.rate(basis)

    def _step_rad(self, slope: float, variance: float, *, clear: bool) -> float:
        """Return how far to go for one basis' sake."""
        if not clear:
            expected = self._excursion_rad**2
            return -slope * expected / (expected + variance)
        return -slope if self._is_settled else -LONG_STEP * slope

    def _slope(self, basis: int) -> tuple[float, float]:
        """Return the slope of a basis' error rate per rad, and its variance."""
        high, high_variance = self._sides[False].rate(basis)
        low, low_variance = self._sides[True].rate(basis)
        width_rad = 2.0 * self._excursion_rad
        return (high - low) / width_rad, (high_variance + low_variance) / width_rad**2
