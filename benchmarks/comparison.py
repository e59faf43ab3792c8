"""Blocks against the prediction: z of clicks, sifted bits, QBER and secret length.

What each sigma is: see `benchmarks.attack`.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from benchmarks.predicted import Prediction, Setup, predict
from qkdd.amplify.length import SecretLength, secret_length
from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensity
from qkdd.daemon.snapshot import BlockFacts

N_DRAWS = 400
MANY = 5_000
"""From here on a Poisson number is normal enough."""
COUNTS = ("key", "test", "key_errors", "test_errors")
NAMES = ("clicks", "key", "test", "qber_key", "qber_test", "length")


@dataclass(frozen=True)
class Compared:
    """One block, or all together: measured, predicted and sigma of each of ``NAMES``."""

    measured: dict[str, float]
    predicted: dict[str, float]
    sigma: dict[str, float]
    counts: DecoyCounts
    expected: Prediction

    def z(self, name: str) -> float:
        sigma = self.sigma[name]
        return (self.measured[name] - self.predicted[name]) / sigma if sigma else 0.0

    def worst_count(self) -> tuple[float, str]:
        """Return the z of the one of the twelve counts that is farthest off, and its name."""
        all_z = [
            (normal_z(measured, mean), f"{name} {intensity.name.lower()}")
            for name in COUNTS
            for intensity, measured, mean in zip(
                Intensity, getattr(self.counts, name), getattr(self.expected, name), strict=True
            )
        ]
        return max(all_z, key=lambda one: abs(one[0]))


def normal_z(count: int, mean: float) -> float:
    """z of a normal number as improbable as this Poisson count, for small means too."""
    if mean > MANY:
        return (count - mean) / math.sqrt(mean)
    log_terms = (k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(count + 1))
    *below, here = (math.exp(term) for term in log_terms)
    middle = math.fsum(below) + here / 2
    return NormalDist().inv_cdf(min(max(middle, 1e-15), 1 - 1e-15))


def shares(counts: DecoyCounts, clicks: float, length: float) -> dict[str, float]:
    assert counts.key_errors is not None
    values = (
        clicks,
        counts.n_key,
        counts.n_test,
        sum(counts.key_errors) / counts.n_key,
        counts.qber_test,
        length,
    )
    return dict(zip(NAMES, values, strict=True))


class Judge:
    """Compares the blocks of one run with the prediction."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._rng = np.random.default_rng(1)
        self.wrong_lengths: list[int] = []

    def n_pulses(self, block: BlockFacts) -> int:
        plan = self._setup.plan
        n_frames = round(block.pulse_seconds * plan.pulse_rate_hz / plan.frame_pulses)
        return n_frames * (plan.frame_pulses - plan.calibration_pulses)

    def compare(self, block: BlockFacts) -> Compared:
        n_pulses = self.n_pulses(block)
        expected = predict(self._setup, n_pulses)
        counts = counts_of(block)
        disclosed = block.disclosed_both_ways_bits

        def length(these: DecoyCounts) -> SecretLength:
            return secret_length(
                these, self._setup.intensities, disclosed, ProofSettings(), n_pulses=n_pulses
            )

        verdict = length(counts)
        if verdict.n_out != block.n_secret_bits:
            self.wrong_lengths.append(block.block_no)
        drawn = [length(expected.drawn(self._rng)).raw for _ in range(N_DRAWS)]
        mean = expected.rounded()
        return Compared(
            measured=shares(counts, block.n_clicks, verdict.raw),
            predicted=shares(mean, expected.clicks, length(mean).raw),
            sigma=sigmas(expected, float(np.std(drawn))),
            counts=counts,
            expected=expected,
        )

    def compare_all(self, blocks: list[BlockFacts]) -> Compared:
        """Counts of all blocks together; the lengths are summed block by block."""
        each = [self.compare(block) for block in blocks]
        expected = predict(self._setup, sum(self.n_pulses(block) for block in blocks))
        total = counts_of(*blocks)
        spread = math.sqrt(sum(one.sigma["length"] ** 2 for one in each))
        clicks = sum(block.n_clicks for block in blocks)
        measured, predicted = (
            sum(getattr(one, side)["length"] for one in each) for side in ("measured", "predicted")
        )
        return Compared(
            measured=shares(total, clicks, measured),
            predicted=shares(expected.rounded(), expected.clicks, predicted),
            sigma=sigmas(expected, spread),
            counts=total,
            expected=expected,
        )


def counts_of(*blocks: BlockFacts) -> DecoyCounts:
    """Return the counts of some blocks together."""

    def total(name: str) -> tuple[int, int, int]:
        signal, weak, vacuum = zip(*(getattr(block, name) for block in blocks), strict=True)
        return sum(signal), sum(weak), sum(vacuum)

    return DecoyCounts(
        key=total("key"),
        test=total("test"),
        test_errors=total("test_errors"),
        key_errors=total("key_errors"),
    )


def sigmas(expected: Prediction, length: float) -> dict[str, float]:
    def binomial(qber: float, n: float) -> float:
        return math.sqrt(qber * (1 - qber) / n)

    n_key, n_test = sum(expected.key), sum(expected.test)
    values = (
        math.sqrt(expected.clicks),
        math.sqrt(n_key),
        math.sqrt(n_test),
        binomial(expected.qber_key, n_key),
        binomial(expected.qber_test, n_test),
        length,
    )
    return dict(zip(NAMES, values, strict=True))
