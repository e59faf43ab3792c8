"""The power meter at the transmitter's tap: is a pulse's mean photon number what it was set to?

It stands behind the modulator and sees the mean light of many pulses. Before each run it is shown
one intensity after the other, which gives their ratios; in the run it gives the scale of them all.
"""

from collections.abc import Sequence

from qkdd.base.light import Intensities, Intensity, LightPlan
from qkdd.station.settings import TapSettings

VACUUM_LIMIT = 2e-4
"""Of the signal's light: how far the vacuum may be from what it should be. A relative box of half a
per cent of almost nothing is below a meter's zero. This is 37 dB under the signal, ten times what a
meter that nobody has zeroed reads in the dark (0.2 nW of 10 uW), and worth 0.1 % of a key's length
(docs/decisions/0050-a-reading-of-each-intensity.md)."""


def mean_level(plan: LightPlan, intensities: Intensities, ratios: Sequence[float]) -> float:
    """Mean light of a frame's pulses over the signal's; calibration pulses are signals.

    ``ratios``: light of each intensity over the signal's.
    """
    shares = intensities.probabilities
    payload = sum(share * ratio for share, ratio in zip(shares, ratios, strict=True))
    calibration = plan.calibration_pulses / plan.frame_pulses
    return calibration * ratios[0] + (1.0 - calibration) * payload


class TapRecord:
    """What was read of each intensity before a run, and the extremes over a block of the run.

    NO RUN --begin(levels)--> RUN --add, close_block--> RUN
    """

    def __init__(
        self,
        settings: TapSettings,
        mu_uncertainty: float,
        plan: LightPlan,
        intensities: Intensities,
    ) -> None:
        """``mu_uncertainty``: the box of mean photon numbers that the proof allows for."""
        self._power_w = settings.power_w
        self._limit = mu_uncertainty - settings.uncertainty
        self._plan, self._intensities = plan, intensities
        self._ratios = tuple(mu / intensities.signal_mu for mu in intensities.mus)
        self._in_a_run = mean_level(plan, intensities, self._ratios)
        self._weak_error = 1.0
        """The weak intensity's ratio to the signal over what it should be, as it was shown."""
        self._lowest: float | None = None
        self._highest: float | None = None
        self._was_read = False
        """While the block under way was sent."""
        self.levels: dict[str, float] | None = None
        """Readings before this run: the signal's over ``power_w``, the others over the signal's."""
        self.last: float | None = None
        """The last reading in the run over what ``power_w`` and ``levels`` let expect."""

    def begin(self, levels_w: Sequence[float]) -> str | None:
        """Take a reading of each intensity; say why there may be no run, or None.

        What was read in the run before says nothing of this one.
        """
        self._lowest = self._highest = self.last = None
        self._was_read = False
        signal_w, weak_w, vacuum_w = levels_w
        if not signal_w > 0.0:
            self.levels = None
            return f"the tap saw no light ({signal_w:.3g} W) while the signal was shown"
        ratios = (1.0, weak_w / signal_w, vacuum_w / signal_w)
        self.levels = dict(zip(NAMES, (signal_w / self._power_w, *ratios[1:]), strict=True))
        self._in_a_run = mean_level(self._plan, self._intensities, ratios)
        self._weak_error = ratios[1] / self._ratios[1]
        return self._out_of_ratio(ratios)

    def _out_of_ratio(self, ratios: Sequence[float]) -> str | None:
        limits = (0.0, self._limit * self._ratios[1], VACUUM_LIMIT)
        wrong = [
            f"{name} is {ratio:.5f} of the signal, limit {due - limit:.5f} to {due + limit:.5f}"
            for name, ratio, due, limit in zip(NAMES, ratios, self._ratios, limits, strict=True)
            if abs(ratio - due) > limit
        ]
        if not wrong:
            return None
        return (
            f"the intensities at the tap: {'; '.join(wrong)}: "
            "set the modulator anew (bias, drive levels)"
        )

    def add(self, power_w: float) -> None:
        """Take a reading of the run's frames."""
        self._was_read = True
        self.last = power_w / (self._power_w * self._in_a_run)
        self._lowest = self.last if self._lowest is None else min(self._lowest, self.last)
        self._highest = self.last if self._highest is None else max(self._highest, self.last)

    def close_block(self) -> str | None:
        """Say why a block that has ended must make no key, or None; begin the next.

        Signal and weak must both be in the box: the mean gives the signal, and the ratio that was
        shown the weak. The last reading counts for the next block, too, but not instead of one of
        its own.
        """
        lowest, highest, was_read = self._lowest, self._highest, self._was_read
        self._lowest = self._highest = self.last
        self._was_read = False
        if lowest is None or highest is None or not was_read:
            return "no reading of the tap's power meter while the block was sent"
        lowest *= min(1.0, self._weak_error)
        highest *= max(1.0, self._weak_error)
        if 1.0 - lowest <= self._limit and highest - 1.0 <= self._limit:
            return None
        return (
            f"mean photon numbers: the tap read {lowest:.4f} to {highest:.4f} of its calibration, "
            f"limit {1 - self._limit:.4f} to {1 + self._limit:.4f} (mu_uncertainty less the "
            "meter's own)"
        )


NAMES = tuple(intensity.name.lower() for intensity in Intensity)
