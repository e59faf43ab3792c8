"""What an honest link would count: a forward model of one block, for choosing settings.

Poisson light through losses on to a passive splitter and four threshold detectors, dark counts,
timing spread in a gate, light that strays into the neighbour's gate, the random choice for double
clicks, and the common dead time. Expected counts, no dice. The daemon never uses it: it only ever
sees real counts, and its proof does not trust any model.
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

from qkdd.amplify.length import SecretLength, secret_length
from qkdd.amplify.sampling import binary_entropy
from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.light import BASIS_SCALE, Intensities, LightPlan
from qkdd.frames.settings import FrameSettings

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

DISCLOSED = (
    (0.002, 1.642),
    (0.005, 1.313),
    (0.010, 1.218),
    (0.020, 1.149),
    (0.030, 1.118),
    (0.050, 1.096),
    (0.080, 1.081),
    (0.105, 1.090),
)
"""Bits disclosed both ways over n h(QBER), by QBER, with the default settings of reconciliation:
`python -m benchmarks.reconcile --frames 120`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured of a link, and what its instruments are."""

    loss_db: float
    """From the transmitter's output to the detectors, receiver optics included."""
    efficiency: float
    dark_hz: float
    """Of one detector: dark counts, and whatever other light comes evenly in time."""
    recovery_ps: int
    jitter_ps: float
    """Of everything from the laser to the tagger, full width at half maximum."""
    tick_ps: int
    misalignment: float
    """Share of the photons of the right basis that leave by the wrong port."""
    afterpulse: float = 0.0
    """Chance that a click is followed by another of its detector inside a gate, after the common
    dead time and after however many pulses."""

    @property
    def dead_time_ps(self) -> int:
        """The shortest common dead time that the proof allows, in whole ticks."""
        ticks = -(-self.recovery_ps // self.tick_ps) + 2
        return ticks * self.tick_ps


@dataclass(frozen=True, slots=True)
class Choice:
    """One set of settings: what both ends would be told, and the receiver's splitter."""

    light: LightPlan
    intensities: Intensities
    frames: FrameSettings
    key_splitter: float


@dataclass(frozen=True, slots=True)
class Expected:
    """One block of the longest kind."""

    counts: DecoyCounts
    clicks: float
    seconds: float
    disclosed_bits: int
    length: SecretLength

    @property
    def qber(self) -> float:
        assert self.counts.key_errors is not None
        return sum(self.counts.key_errors) / self.counts.n_key if self.counts.n_key else 0.0

    @property
    def raw_bits_per_s(self) -> float:
        """Before rounding, of any sign: what a search climbs."""
        return self.length.raw / self.seconds

    @property
    def raw_bits_per_click(self) -> float:
        return self.length.raw / self.clicks if self.clicks else -math.inf


def disclosed_share(qber: float) -> float:
    """Return f, bits disclosed over the Shannon limit: DISCLOSED, straight in log QBER between."""
    first, last = DISCLOSED[0], DISCLOSED[-1]
    if qber <= first[0]:
        return first[1] * first[0] / max(qber, 1e-9)  # the weakest code is the same below
    for (left, f_left), (right, f_right) in itertools.pairwise(DISCLOSED):
        if qber <= right:
            part = math.log(qber / left) / math.log(right / left)
            return f_left + part * (f_right - f_left)
    return last[1]


def inside(center_ps: float, width_ps: float, sigma_ps: float, tick_ps: float) -> float:
    """Share of detections in a gate of ``width_ps`` around ``center_ps`` of their true time.

    The time is normal with ``sigma_ps``, and cut to whole ticks of an even phase.
    """

    def below(limit_ps: float) -> float:
        upper, lower = limit_ps + tick_ps / 2.0, limit_ps - tick_ps / 2.0
        return (_ramp(upper, sigma_ps) - _ramp(lower, sigma_ps)) / tick_ps

    half = width_ps / 2.0
    return max(0.0, below(center_ps + half) - below(center_ps - half))


def _ramp(x_ps: float, sigma_ps: float) -> float:
    """E[max(0, x - t)] for a normal t."""
    if sigma_ps <= 0.0:
        return max(0.0, x_ps)
    z = x_ps / sigma_ps
    cumulated = 0.5 * math.erfc(-z / math.sqrt(2.0))
    return x_ps * cumulated + sigma_ps * math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)


@lru_cache(maxsize=64)
def pulses_within(time_ps: float, period_ps: float, tick_ps: float) -> float:
    """Mean number of earlier pulses less than ``time_ps`` ago, when times are cut to ticks."""
    backs = range(1, math.ceil(time_ps / period_ps) + 2)
    return math.fsum(min(1.0, max(0.0, (time_ps - b * period_ps) / tick_ps)) for b in backs)


def hits(measured: Measured, choice: Choice) -> tuple[float, float]:
    """Chance that a pulse has light for one detector of the key basis, and of the test basis."""
    light = choice.intensities
    eta = measured.efficiency * 10.0 ** (-measured.loss_db / 10.0)
    key, test = (
        -math.fsum(
            p * math.expm1(-eta * mu * arm / 2.0)
            for p, mu in zip(light.probabilities, light.mus, strict=True)
        )
        for arm in (choice.key_splitter, 1.0 - choice.key_splitter)
    )
    return key, test


def live_share(measured: Measured, choice: Choice) -> float:
    """Share of the pulses before which no event was told for the common dead time."""
    recovering = measured.recovery_ps / choice.light.period_ps
    told = sum(2.0 * hit / (1.0 + hit * recovering) for hit in hits(measured, choice))
    dead_ps = choice.frames.dead_time_ps
    blind = pulses_within(dead_ps, choice.light.period_ps, choice.frames.tick_ps)
    dark = math.exp(-4.0 * measured.dark_hz * dead_ps * 1e-12)
    return dark * math.pow(max(0.0, 1.0 - told), blind)


def even_noise(measured: Measured, choice: Choice, strayed: float) -> tuple[float, float]:
    """Mean events of a pulse that know nothing of its state, for one detector of each basis.

    Dark counts, light of the two neighbours (``strayed``: mean over all detectors), afterpulses and
    theirs. All afterpulses fall on live pulses, as many for each click: their share of the live
    pulses is that of the clicks.
    """
    arms = (choice.key_splitter, 1.0 - choice.key_splitter)
    dark = measured.dark_hz * choice.frames.gate_ps * 1e-12
    after = measured.afterpulse / (1.0 - measured.afterpulse)
    key, test = (
        strayed * arm / 2.0 + dark + after * (hit + dark)
        for arm, hit in zip(arms, hits(measured, choice), strict=True)
    )
    return key, test


def expect(measured: Measured, choice: Choice, proof: ProofSettings) -> Expected:
    """Expected counts of the longest block of the plan, and the key the daemon makes of them."""
    plan, light = choice.light, choice.intensities
    last = len(plan.ramp_frames) - 1
    n_pulses = plan.payload_pulses(last)
    counts, clicks = _counts(measured, choice, n_pulses)
    assert counts.key_errors is not None
    qber = sum(counts.key_errors) / counts.n_key if counts.n_key else 0.0
    limit = counts.n_key * binary_entropy(min(0.5, qber))
    disclosed = min(counts.n_key, math.ceil(disclosed_share(qber) * limit)) if limit else 0
    return Expected(
        counts=counts,
        clicks=clicks,
        seconds=plan.block_frames(last) * plan.frame_pulses / plan.pulse_rate_hz,
        disclosed_bits=disclosed,
        length=secret_length(counts, light, disclosed, proof, n_pulses=n_pulses),
    )


def _counts(measured: Measured, choice: Choice, n_pulses: int) -> tuple[DecoyCounts, float]:
    """Sifted counts, and all clicks whatever their basis."""
    light, gate_ps = choice.intensities, choice.frames.gate_ps
    sigma_ps = measured.jitter_ps / FWHM_PER_SIGMA
    eta = measured.efficiency * 10.0 ** (-measured.loss_db / 10.0)
    tick_ps, period_ps = choice.frames.tick_ps, choice.light.period_ps
    own = eta * inside(0.0, gate_ps, sigma_ps, tick_ps)
    strayed = 2.0 * eta * inside(period_ps, gate_ps, sigma_ps, tick_ps)
    mean_mu = math.fsum(p * mu for p, mu in zip(light.probabilities, light.mus, strict=True))
    live = n_pulses * live_share(measured, choice)
    sent_key = light.key_threshold / BASIS_SCALE
    arms = (choice.key_splitter, 1.0 - choice.key_splitter)
    right: list[list[float]] = [[], []]
    wrong: list[list[float]] = [[], []]
    clicks = 0.0
    even = even_noise(measured, choice, strayed * mean_mu)
    for basis, sent in ((0, sent_key), (1, 1.0 - sent_key)):
        for p, mu in zip(light.probabilities, light.mus, strict=True):
            signal, error = own * mu, measured.misalignment
            here, there = arms[basis], arms[1 - basis]
            hit = -math.expm1(-signal * here * (1.0 - error) - even[basis])
            miss = -math.expm1(-signal * here * error - even[basis])
            other = -math.expm1(-signal * there - 2.0 * even[1 - basis])
            weight = live * p * sent * (1.0 - other / 2.0)
            right[basis].append(weight * hit * (1.0 - miss / 2.0))
            wrong[basis].append(weight * miss * (1.0 - hit / 2.0))
            clicks += live * p * sent * (1.0 - (1.0 - hit) * (1.0 - miss) * (1.0 - other))
    counts = DecoyCounts(
        key=_whole(right[0], wrong[0]),
        test=_whole(right[1], wrong[1]),
        key_errors=_whole(wrong[0]),
        test_errors=_whole(wrong[1]),
    )
    return counts, clicks


def _whole(*parts: list[float]) -> ByIntensity:
    signal, weak, vacuum = (
        sum(round(value) for value in column) for column in zip(*parts, strict=True)
    )
    return signal, weak, vacuum
