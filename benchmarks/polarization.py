"""What drift leaves of the polarisation: the feedback loop against the model, and the key of it.

A day's drift in a minute: the loop's seconds are counted, not waited for, and each has as many
calibration bits as the light really has in a second.
"""

import argparse
import math

import msgspec
import numpy as np

from drivers.sim.optics.polarization import FibreTurn, port_chances, squeezers
from qkdd.base.light import Intensities, LightPlan
from qkdd.station.holder import PolarizationHolder, Squeezers

MISALIGNMENT = 0.01
HALF_WAVE_MV = 2000.0
SHARE = 0.84
COUNTED = 0.8
"""Of the frames of a second: those during which no voltage changed."""
MAX_QBER = 0.05


class Loop:
    """A fibre, a controller and the loop between them, second by second."""

    def __init__(
        self,
        seed: int,
        *,
        drift: float,
        key_per_s: float,
        test_per_s: float,
        is_unknown: bool = False,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._fibre = FibreTurn(self._rng, rate_rad_per_sqrt_s=drift, is_unknown=is_unknown)
        self._per_s = (key_per_s * COUNTED, test_per_s * COUNTED)
        self.holder = PolarizationHolder(
            Squeezers(-5000, 5000, HALF_WAVE_MV), (0, 0, 0, 0), max_qber=MAX_QBER
        )

    def second(self) -> tuple[float, float]:
        """Let a second pass; return the true error rates in it, key basis first."""
        self._fibre.advance(1.0)
        voltages = self.holder.voltages_mv
        turn = squeezers(tuple(math.pi * mv / HALF_WAVE_MV for mv in voltages))
        chances = port_chances(
            key_basis_share=SHARE, misalignment=MISALIGNMENT, turn=turn @ self._fibre.turn
        )
        rates = (float(chances[0, 1]) / SHARE, float(chances[2, 3]) / (1.0 - SHARE))
        matched = [int(self._rng.poisson(mean)) for mean in self._per_s]
        errors = [int(self._rng.binomial(n, e)) for n, e in zip(matched, rates, strict=True)]
        self.holder.take((matched[0], matched[1]), (errors[0], errors[1]))
        return rates

    def run(self, seconds: int) -> np.ndarray:
        """Return the (seconds, 2) error rates."""
        return np.array([self.second() for _ in range(seconds)])


def bits_per_s(plan: LightPlan, clicks_per_s: float, key_share: float) -> tuple[float, float]:
    """Calibration bits of a second, by basis."""
    clicks = clicks_per_s * plan.calibration_pulses / plan.frame_pulses
    return clicks * key_share * SHARE, clicks * (1 - key_share) * (1 - SHARE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20_000)
    seconds = parser.parse_args().seconds
    key_share = Intensities().key_basis_share
    plan = LightPlan()
    print("drift | clicks/s | calibration pulses | key, test bits/s | key % | test % | worst s")
    for drift in (0.001, 0.003, 0.01):
        for clicks, times in ((400_000, 1), (400_000, 4), (2_000_000, 1)):
            denser = replace_calibration(plan, times)
            key, test = bits_per_s(denser, clicks, key_share)
            loop = Loop(1, drift=drift, key_per_s=key, test_per_s=test)
            added = 100 * (loop.run(seconds)[seconds // 10 :] - MISALIGNMENT)
            print(
                f"{drift} | {clicks} | {denser.calibration_pulses} | {key:.0f}, {test:.0f} | "
                f"{added[:, 0].mean():.2f} | {added[:, 1].mean():.2f} | {added.max():.1f}"
            )


def replace_calibration(plan: LightPlan, times: int) -> LightPlan:
    """Return the plan with so many times the calibration pulses."""
    return msgspec.structs.replace(plan, calibration_pulses=times * plan.calibration_pulses)


if __name__ == "__main__":
    main()
