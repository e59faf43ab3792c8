"""What drift leaves of the polarisation: the feedback loop against the model, and the key of it.

A day's drift in a minute: the loop's seconds are counted, not waited for, and each has as many
calibration bits as the light really has in a second.
"""

import argparse
import math
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from drivers.sim.optics.polarization import FibreTurn, Turn, port_chances, rotation, squeezers
from qkdd.amplify.length import secret_length
from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.light import LightPlan
from qkdd.network.expect import HonestLink
from qkdd.station.holder import PolarizationHolder
from qkdd.station.squeezers import Squeezers

MISALIGNMENT = 0.01
HALF_WAVE_MV = 2000.0
SHARE = 0.84
REST_S, TURNED_S = 300, 300
SETTLE_S = 0.2
"""Light that is not counted where a voltage changes: some frames, and reads of the tagger."""
MAX_QBER = 0.05
PROOF = ProofSettings()
SHORTEST_CALIBRATION = LightPlan().calibration_pulses / LightPlan().frame_pulses
"""Of the light that the key is compared with: a link needs these for its pulse numbers anyway."""


class Loop:
    """A fibre, a controller and the loop between them, sample by sample."""

    def __init__(
        self,
        seed: int,
        *,
        drift: float,
        key_per_s: float,
        test_per_s: float,
        is_unknown: bool = False,
        rest_rad: float = 0.0,
    ) -> None:
        """``rest_rad``: how far, at most, a squeezer turns the light at 0 V."""
        self._rng = np.random.default_rng(seed)
        self._rests = np.random.default_rng(seed).uniform(-rest_rad, rest_rad, 4)
        self._fibre = FibreTurn(self._rng, rate_rad_per_sqrt_s=drift, is_unknown=is_unknown)
        self._per_s = (key_per_s, test_per_s)
        self.holder = PolarizationHolder(
            Squeezers(-5000, 5000, HALF_WAVE_MV), (0, 0, 0, 0), max_qber=MAX_QBER
        )
        self._voltages_mv: tuple[int, ...] = ()
        self._asked_s = self._done_s = 0.0
        self._rates = (0.0, 0.0)

    def turn_fibre(self, turn: Turn) -> None:
        """Turn the fibre at once, and leave it so."""
        self._fibre.kick(turn)

    def _sample(self) -> None:
        """Let a sample pass, and before it what a change of voltages takes."""
        voltages = self.holder.voltages_mv
        counted_s = self.holder.sample_s
        lasted_s = counted_s + (SETTLE_S if voltages != self._voltages_mv else 0.0)
        self._voltages_mv = voltages
        self._done_s += lasted_s
        self._fibre.advance(lasted_s)
        angles = math.pi / HALF_WAVE_MV * np.array(voltages) + self._rests
        turn = squeezers(tuple(angles.tolist()))
        chances = port_chances(
            key_basis_share=SHARE, misalignment=MISALIGNMENT, turn=turn @ self._fibre.turn
        )
        self._rates = (float(chances[0, 1]) / SHARE, float(chances[2, 3]) / (1.0 - SHARE))
        matched = [int(self._rng.poisson(per_s * counted_s)) for per_s in self._per_s]
        errors = [int(self._rng.binomial(n, e)) for n, e in zip(matched, self._rates, strict=True)]
        self.holder.take((matched[0], matched[1]), (errors[0], errors[1]))

    def second(self) -> tuple[float, float]:
        """Let a second pass; return the true error rates at its end, key basis first."""
        self._asked_s += 1.0
        while self._done_s < self._asked_s:
            self._sample()
        return self._rates

    def run(self, seconds: int) -> np.ndarray:
        """Return the (seconds, 2) error rates."""
        return np.array([self.second() for _ in range(seconds)])


@dataclass(frozen=True)
class Day:
    """What the light of some hours came to."""

    added: np.ndarray
    """(2,) mean error rate that the loop and the drift add, key basis first."""
    worst: float
    key_share: float
    """Secret bits over those of the same light, perfectly aligned and without a controller."""
    n_seeking: int
    """Blocks during which the errors were called too many."""


def bits_per_s(link: HonestLink, plan: LightPlan) -> tuple[float, float]:
    """Calibration bits of a second, by basis: the pulses are all signals, of either basis alike."""
    intensities = msgspec.structs.replace(link.intensities, key_basis_probability=0.5)
    frames_per_s = plan.pulse_rate_hz / plan.frame_pulses
    signals = plan.calibration_pulses * frames_per_s / intensities.probabilities[0]
    counts = replace(link, intensities=intensities).counts(round(1e6 * signals))
    return counts.key[0] / 1e6, counts.test[0] / 1e6


def simulate(
    link: HonestLink, plan: LightPlan, *, drift: float, seconds: int, seed: int = 1
) -> Day:
    """Run the loop second by second, and put each block's counts through the proof.

    A block's errors are drawn with the mean of the true error rates of its seconds; its detections
    are the expected ones. The first ramp of blocks is left out.
    """
    block_s = round(max(plan.ramp_frames) * plan.frame_pulses / plan.pulse_rate_hz)
    n_pulses = round(
        plan.pulse_rate_hz * block_s * (1 - plan.calibration_pulses / plan.frame_pulses)
    )
    uncut = round(plan.pulse_rate_hz * block_s * (1 - SHORTEST_CALIBRATION))
    ideal = link.length_of(uncut, PROOF).n_out
    key_per_s, test_per_s = bits_per_s(link, plan)
    loop = Loop(seed, drift=drift, key_per_s=key_per_s, test_per_s=test_per_s)
    rng = np.random.default_rng(seed)
    rates, made, n_seeking = [], 0, 0
    for _ in range(seconds // block_s):
        block = loop.run(block_s)
        rates.append(block)
        made += _key_bits(link, n_pulses, block.mean(axis=0), rng)
        n_seeking += loop.holder.seeking
    added = np.concatenate(rates) - MISALIGNMENT
    return Day(added.mean(axis=0), float(added.max()), made / ideal / len(rates), n_seeking)


def _key_bits(link: HonestLink, n_pulses: int, rates: np.ndarray, rng: np.random.Generator) -> int:
    """Draw the errors of a block and return its key."""
    counts = link.counts(n_pulses)
    assert counts.key_errors is not None
    more = rates - MISALIGNMENT
    drawn = [
        rng.binomial(n, np.array(m) / n + more[basis])
        for basis, (n, m) in enumerate(
            ((counts.key, counts.key_errors), (counts.test, counts.test_errors))
        )
    ]
    real = DecoyCounts(
        key=counts.key,
        test=counts.test,
        key_errors=_three(drawn[0]),
        test_errors=_three(drawn[1]),
    )
    disclosed = link.disclosed_bits(real)
    return secret_length(real, link.intensities, disclosed, PROOF, n_pulses=n_pulses).n_out


def _three(values: np.ndarray) -> ByIntensity:
    signal, weak, vacuum = (int(value) for value in values)
    return signal, weak, vacuum


def seconds_turned(
    seed: int, turn_rad: float | None, *, drift: float, limit: float, rest_rad: float = 0.0
) -> int:
    """Return how long the errors of a basis are, now and then, above ``limit``.

    After a turn about any axis while all is at rest, or from the start at an unknown turn.
    """
    key_per_s, test_per_s = bits_per_s(HonestLink(), LightPlan())
    loop = Loop(
        seed,
        drift=drift,
        key_per_s=key_per_s,
        test_per_s=test_per_s,
        is_unknown=turn_rad is None,
        rest_rad=rest_rad,
    )
    if turn_rad is not None:
        loop.run(REST_S)
        axis = np.random.default_rng(seed).standard_normal(3)
        loop.turn_fibre(rotation(axis * turn_rad / np.linalg.norm(axis)))
    (bad,) = np.nonzero(loop.run(TURNED_S).max(axis=1) > limit)
    return int(bad[-1]) + 1 if bad.size else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=86_400)
    parser.add_argument("--drift", type=float, nargs="*", default=[0.001, 0.003, 0.01])
    parser.add_argument("--turns", type=int, default=100, help="how many of each size")
    chosen = parser.parse_args()
    print("seconds until both bases' errors are few: limit %  turned, rad  median  90 %  longest")
    for limit in (0.05, 0.03):
        for turn_rad in (None, 0.1, 0.2, 0.3, 1.0):
            took = sorted(
                seconds_turned(seed, turn_rad, drift=0.001, limit=limit)
                for seed in range(chosen.turns)
            )
            turned = "unknown" if turn_rad is None else f"{turn_rad:g}"
            print(
                f"{100 * limit:50.0f}{turned:>13}{took[len(took) // 2]:8d}"
                f"{took[9 * len(took) // 10]:6d}{took[-1]:9d}",
                flush=True,
            )
    print("from an unknown turn to 5 %, squeezers that rest at any angle up to: rad  median ...")
    for rest_rad in (0.1, 0.3, 1.0, math.pi):
        took = sorted(
            seconds_turned(seed, None, drift=0.001, limit=0.05, rest_rad=rest_rad)
            for seed in range(chosen.turns)
        )
        print(
            f"{rest_rad:63.1f}{took[len(took) // 2]:8d}{took[9 * len(took) // 10]:6d}{took[-1]:9d}",
            flush=True,
        )
    print("drift  loss dB  calibration  bits/s key, test  added % key, test  worst %  key share")
    for drift in chosen.drift:
        for loss_db, calibration in ((15.0, 50_000), (15.0, 200_000), (19.0, 50_000)):
            link = HonestLink(loss_db=loss_db)
            plan = LightPlan(calibration_pulses=calibration)
            key, test = bits_per_s(link, plan)
            day = simulate(link, plan, drift=drift, seconds=chosen.seconds)
            print(
                f"{drift:<7g}{loss_db:6.1f}{calibration:11d}{key:12.0f}{test:6.0f}"
                f"{100 * day.added[0]:14.2f}{100 * day.added[1]:6.2f}{100 * day.worst:9.1f}"
                f"{day.key_share:11.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
