"""How often the receiver's monitors speak on honest light: years of blocks, drawn as counts.

    python -m benchmarks.false_alarms [--km 50] [--block-s 16] [--years 1] [--seed 1] [--json]

A year holds two million blocks; their tags would take a year to make. Here a pulse ends in one of
a hundred ways (intensity, detector, sifted or not, wrong or not, double or cross click), with the
chances of :mod:`benchmarks.predicted`, and each block is one multinomial draw of all its pulses:
the statistics are whole, the dead time is left out (it makes counts a little more even). Every
block goes through `qkdd.watch` with the default tolerances and without any. Without any, the
thresholds promise ``alarms_per_year``; a count of alarms beyond what a Poisson mean of the promise
gives in one of 10,000 runs is exit status 1.

Simulated counts test our thresholds, not physics: an honest receiver that is not as the monitors
assume (detectors that are unlike, afterpulses) speaks as often as its tolerances are too small.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.predicted import Setup, demo_setup, light_at
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.light import BASIS_SCALE
from qkdd.watch.monitors import MONITORS, SECONDS_PER_YEAR, threshold, watch
from qkdd.watch.settings import WatchSettings
from qkdd.watch.sight import Sight

Int = npt.NDArray[np.int64]
BLOCKS_AT_ONCE = 2_000
RARE = 1e-4
"""One run in so many of an honest program ends with status 1."""


@dataclass(frozen=True, order=True)
class Ending:
    """One way in which a pulse can end that clicks."""

    intensity: int
    detector: int
    """basis * 2 + bit, double and cross clicks settled by dice."""
    sifted: bool
    wrong: bool
    """Sifted, but not the bit that was sent."""
    kind: str
    """single, double or cross."""


def endings(setup: Setup) -> dict[Ending, float]:
    """Return every ending with its chance for one pulse; they sum to the chance of a click."""
    chances: Counter[Ending] = Counter()
    dark = setup.receiver.dark_hz * setup.frames.gate_ps * 1e-12
    sent_key = setup.intensities.key_threshold / BASIS_SCALE
    for intensity, basis, bit in product((0, 1, 2), (0, 1), (0, 1)):
        weight = setup.intensities.probabilities[intensity] / 2
        weight *= 1.0 - sent_key if basis else sent_key
        fires = [-math.expm1(-mean - dark) for mean in light_at(setup, intensity, basis, bit)]
        for pattern in product((False, True), repeat=4):
            if not any(pattern):
                continue
            chance = math.prod(p if hit else 1 - p for p, hit in zip(fires, pattern, strict=True))
            bases = [one for one in (0, 1) if any(pattern[2 * one : 2 * one + 2])]
            kind = "cross" if len(bases) == 2 else "double" if sum(pattern) == 2 else "single"
            for seen in bases:
                bits = [one for one in (0, 1) if pattern[2 * seen + one]]
                for out in bits:
                    sifted = seen == basis
                    ending = Ending(intensity, 2 * seen + out, sifted, sifted and out != bit, kind)
                    chances[ending] += weight * chance / len(bases) / len(bits)
    return dict(chances)


class Blocks:
    """Draws the sights of honest blocks."""

    def __init__(self, setup: Setup, block_s: float, dark_hz: float) -> None:
        self._endings = sorted(endings(setup).items())
        self._n_pulses = round(block_s * setup.plan.pulse_rate_hz)
        self._block_s = block_s
        self._gate_share = min(1.0, setup.frames.gate_ps / setup.plan.period_ps)
        self._darks = dark_hz * block_s * (1.0 - self._gate_share)

    def draw(self, n: int, rng: np.random.Generator) -> Iterator[Sight]:
        chances = [chance for _, chance in self._endings]
        counts = rng.multinomial(self._n_pulses, [*chances, 1.0 - sum(chances)], size=n)
        darks = rng.poisson(self._darks, n)
        detectors = np.stack([self._sum(counts, detector=d) for d in range(4)], axis=1)
        key, test = (self._by_intensity(counts, b, sifted=True) for b in (0, 1))
        key_wrong, test_wrong = (self._by_intensity(counts, b, wrong=True) for b in (0, 1))
        double, cross = self._sum(counts, kind="double"), self._sum(counts, kind="cross")
        for at in range(n):
            yield Sight(
                n_pulses=self._n_pulses,
                seconds=self._block_s,
                gate_share=self._gate_share,
                dead_time_s=0.0,
                detectors=tuple(detectors[at].tolist()),
                n_double=int(double[at]),
                n_cross=int(cross[at]),
                n_out_of_gate=int(darks[at]),
                n_dead=0,
                counts=DecoyCounts(
                    key=_three(key[at]),
                    test=_three(test[at]),
                    test_errors=_three(test_wrong[at]),
                    key_errors=_three(key_wrong[at]),
                ),
            )

    def _by_intensity(self, counts: Int, basis: int, **wanted: object) -> Int:
        sums = [self._sum(counts, bases=(basis,), intensity=i, **wanted) for i in range(3)]
        return np.stack(sums, axis=1)

    def _sum(self, counts: Int, *, bases: tuple[int, ...] = (0, 1), **wanted: object) -> Int:
        """Sum the (blocks, endings) ``counts`` over the endings that are as ``wanted``."""
        columns = [
            at
            for at, (ending, _) in enumerate(self._endings)
            if ending.detector // 2 in bases
            and all(getattr(ending, name) == value for name, value in wanted.items())
        ]
        return counts[:, columns].sum(axis=1)


def _three(row: Int) -> ByIntensity:
    signal, weak, vacuum = row.tolist()
    return signal, weak, vacuum


def at_most(mean: float, chance: float) -> int:
    """Return the smallest count that a Poisson ``mean`` exceeds with less than ``chance``."""
    below, term, n = 0.0, math.exp(-mean), 0
    while below + term < 1.0 - chance:
        below += term
        n += 1
        term *= mean / n
    return n


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--km", type=float, default=50.0)
    parser.add_argument("--block-s", type=float, default=16.0)
    parser.add_argument("--years", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    setup = demo_setup(chosen.km)
    dark_hz = 4 * setup.receiver.dark_hz
    default = WatchSettings(lowest_dark_hz=dark_hz / 2)
    strict = msgspec.structs.replace(
        default, balance_tolerance=0.0, coincidence_tolerance=0.0, weak_tolerance=0.0
    )
    limit = threshold(default, chosen.block_s)
    blocks, rng = Blocks(setup, chosen.block_s, dark_hz), np.random.default_rng(chosen.seed)
    n_blocks = math.ceil(chosen.years * SECONDS_PER_YEAR / chosen.block_s)
    spoke = {"default": Counter[str](), "strict": Counter[str]()}
    worst: dict[str, float] = {}
    for begin in range(0, n_blocks, BLOCKS_AT_ONCE):
        for sight in blocks.draw(min(BLOCKS_AT_ONCE, n_blocks - begin), rng):
            for name, settings in (("default", default), ("strict", strict)):
                for one in watch(sight, setup.intensities, settings):
                    spoke[name][one.name] += one.excess > limit
                    if name == "strict":
                        worst[one.name] = max(worst.get(one.name, 0.0), one.excess)
        if begin % (100 * BLOCKS_AT_ONCE) == 0:
            print(f"{begin} of {n_blocks} blocks", file=sys.stderr, flush=True)
    promised = chosen.years * default.alarms_per_year
    allowed = at_most(promised, RARE)
    fine = spoke["strict"].total() <= allowed and spoke["default"].total() <= allowed
    if chosen.json:
        table = {name: dict(one) for name, one in spoke.items()}
        print(json.dumps({"blocks": n_blocks, "spoke": table, "worst": worst, "allowed": allowed}))
        return 0 if fine else 1
    print(
        f"{n_blocks} honest blocks of {chosen.block_s:g} s, {len(MONITORS)} monitors, z {limit:.2f}"
    )
    print("| monitor | spoke | without tolerance | largest, standard deviations |")
    print("|---|---|---|---|")
    for name, most in worst.items():
        print(f"| {name} | {spoke['default'][name]} | {spoke['strict'][name]} | {most:.2f} |")
    print(f"promised {promised:g} at most; {allowed} would be chance in 9,999 runs of 10,000")
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
