"""The monitors: what attacks on devices show in the counts of a block, and a length does not pay.

Each compares a count with what the block's own other counts predict for an honest receiver, so that
nothing has to be learned from light that an attacker may have sent. It speaks when the difference
exceeds its tolerance by more than z standard deviations; z comes from the false alarms that all of
them together may raise in a year.

Sources: Lydersen et al., Nature Photonics 4, 686 (2010), blinding; Makarov et al., PRA 74, 022313
(2006), and Qi et al., QIC 7, 73 (2007), efficiency mismatch and time shift; Lütkenhaus, PRA 61,
052304 (2000), photon-number splitting.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from qkdd.base.light import Intensities, Intensity
from qkdd.watch.settings import WatchSettings
from qkdd.watch.sight import Sight, exposure, means, sifted_by_intensity

SECONDS_PER_YEAR = 31_557_600.0
FEW = 30.0
"""Below so many expected counts a normal distribution is no judge of too few of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One monitor's look at one block."""

    name: str
    value: float
    expected: float
    tolerance: float
    """How far ``value`` may be from ``expected`` in earnest."""
    sigma: float
    """Standard deviation of their difference, from counting alone."""

    @property
    def excess(self) -> float:
        """Standard deviations beyond the tolerance; 0 or less is well."""
        beyond = abs(self.value - self.expected) - self.tolerance
        if self.sigma > 0:
            return beyond / self.sigma
        return math.inf if beyond > 0 else 0.0


def threshold(settings: WatchSettings, block_s: float) -> float:
    """Return z: two-sided, shared by all monitors and all blocks of a year."""
    n_looks = len(MONITORS) * SECONDS_PER_YEAR / block_s
    return NormalDist().inv_cdf(1.0 - settings.alarms_per_year / n_looks / 2.0)


def watch(sight: Sight, intensities: Intensities, settings: WatchSettings) -> list[Reading]:
    """Return every monitor's reading of a block; one that has nothing to judge is left out."""
    readings = (monitor(sight, intensities, settings) for monitor in MONITORS)
    return [reading for reading in readings if reading is not None]


def alarms(
    sight: Sight, intensities: Intensities, settings: WatchSettings, *, shortest_block_s: float
) -> list[str]:
    """Return what an operator must know of a block that shall make no key; empty if all is well.

    ``shortest_block_s`` is the shortest block of the plan: no year has more of them.
    """
    limit = threshold(settings, shortest_block_s)
    return [
        f"{one.name}: {one.value:.6g}, expected {one.expected:.6g} within {one.tolerance:.2g}; "
        f"{one.excess:.1f} standard deviations beyond, limit {limit:.1f}"
        for one in watch(sight, intensities, settings)
        if one.excess > limit
    ]


def _balance(name: str, zeros: int, ones: int, tolerance: float) -> Reading | None:
    n = zeros + ones
    if n < FEW:
        return None
    return Reading(name, ones / n, 0.5, tolerance, 0.5 / math.sqrt(n))


def balance_in_key(sight: Sight, _: Intensities, settings: WatchSettings) -> Reading | None:
    """Ones among the clicks of the key basis: efficiency mismatch, or a shift that uses one."""
    zeros, ones = sight.detectors[:2]
    return _balance("share of ones in the key basis", zeros, ones, settings.balance_tolerance)


def balance_in_test(sight: Sight, _: Intensities, settings: WatchSettings) -> Reading | None:
    """Ones among the clicks of the test basis."""
    zeros, ones = sight.detectors[2:]
    return _balance("share of ones in the test basis", zeros, ones, settings.balance_tolerance)


def cross_clicks(sight: Sight, intensities: Intensities, settings: WatchSettings) -> Reading | None:
    """Clicks in both bases at once: none from faked states that fit one basis, too many from
    light that is bright enough to steer the splitter."""
    expected = 0.0
    for mean, share in zip(means(sight, intensities), intensities.probabilities, strict=True):
        here = _fires(mean * sight.key_share) * _fires(mean * (1 - sight.key_share))
        expected += sight.n_pulses * sight.live * share * here
    return _coincidences("cross clicks", sight.n_cross, expected, settings)


def double_clicks(
    sight: Sight, intensities: Intensities, settings: WatchSettings
) -> Reading | None:
    """Clicks of both detectors of one basis and none of the other: that would be a cross click.

    Waits for the key basis' errors: light may be turned so that one basis alone has many.
    """
    counts = sight.counts
    if counts.key_errors is None:
        return None
    key = intensities.key_basis_share
    expected = variance = 0.0
    for chosen, seen, sifted, wrong in (
        (key, sight.key_share, counts.key, counts.key_errors),
        (1 - key, 1 - sight.key_share, counts.test, counts.test_errors),
    ):
        for mean, share, n, n_wrong in zip(
            means(sight, intensities), intensities.probabilities, sifted, wrong, strict=True
        ):
            light, error = mean * seen, n_wrong / max(1, n)
            alone = sight.n_pulses * sight.live * share * math.exp(light - mean)
            right = alone * chosen * _fires(light * (1 - error)) * _fires(light * error)
            expected += right + alone * (1 - chosen) * _fires(light / 2) ** 2
            variance += right**2 / max(1, n_wrong)
    return _coincidences("double clicks", sight.n_double, expected, settings, variance=variance)


def _fires(mean: float) -> float:
    return -math.expm1(-mean)


def _coincidences(
    name: str, n: int, expected: float, settings: WatchSettings, *, variance: float = 0.0
) -> Reading | None:
    """``variance``: of ``expected`` itself."""
    if expected < FEW:
        return None
    tolerance = settings.coincidence_tolerance * expected
    return Reading(name, float(n), expected, tolerance, math.sqrt(expected + variance))


def weak_clicks(sight: Sight, intensities: Intensities, settings: WatchSettings) -> Reading | None:
    """Clicks of weak pulses, from those of signal and vacuum pulses: photon-number splitting
    leaves too few, for a weak pulse has fewer photons to split.

    A pulse of mean photon number mu gives on average ``background + eta mu`` detections.
    """
    n_signal, n_weak, n_vacuum = sifted_by_intensity(sight)
    if min(n_signal, n_weak) < FEW:
        return None
    signal, _, vacuum = means(sight, intensities)
    signal_mu, weak_mu, vacuum_mu = intensities.mus
    part = (weak_mu - vacuum_mu) / (signal_mu - vacuum_mu)
    mean = part * signal + (1 - part) * vacuum
    if mean <= 0:
        return None
    expected = exposure(sight, intensities)[Intensity.WEAK] * _fires(mean)
    by_signal = (part * signal / mean) ** 2 / n_signal
    by_vacuum = ((1 - part) * vacuum / mean) ** 2 / max(1, n_vacuum)
    sigma = math.sqrt(expected + expected**2 * (by_signal + by_vacuum))
    tolerance = settings.weak_tolerance * expected
    return Reading("clicks of weak pulses", float(n_weak), expected, tolerance, sigma)


def dark_counts(sight: Sight, _: Intensities, settings: WatchSettings) -> Reading | None:
    """Events outside of the gate: a blinded detector has none. Only too few are an alarm."""
    expected = settings.lowest_dark_hz * sight.seconds * (1.0 - sight.gate_share) * sight.live
    if expected < FEW:
        return None
    value = min(float(sight.n_out_of_gate), expected)
    return Reading("events out of the gate", value, expected, 0.0, math.sqrt(expected))


Monitor = Callable[[Sight, Intensities, WatchSettings], Reading | None]
MONITORS: tuple[Monitor, ...] = (
    balance_in_key,
    balance_in_test,
    cross_clicks,
    double_clicks,
    weak_clicks,
    dark_counts,
)
