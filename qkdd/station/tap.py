"""The power meter at the transmitter's tap: is a pulse's mean photon number what it was set to?"""

from qkdd.station.settings import TapSettings


class TapRecord:
    """The extremes of the tap's readings over a block, relative to the calibration.

    All intensities come from one laser and one attenuator, so that they scale together; a change
    of their ratios does not show here.
    """

    def __init__(self, settings: TapSettings, mu_uncertainty: float) -> None:
        """``mu_uncertainty``: the box of mean photon numbers that the proof allows for."""
        self._power_w = settings.power_w
        self._limit = mu_uncertainty - settings.uncertainty
        self._lowest: float | None = None
        self._highest: float | None = None
        self._was_read = False
        """While the block under way was sent."""
        self.last: float | None = None
        """The last reading over ``power_w``."""

    def begin(self) -> None:
        """A run begins: what was read before says nothing of it."""
        self._lowest = self._highest = self.last = None
        self._was_read = False

    def add(self, power_w: float) -> None:
        """Take a reading."""
        self._was_read = True
        self.last = power_w / self._power_w
        self._lowest = self.last if self._lowest is None else min(self._lowest, self.last)
        self._highest = self.last if self._highest is None else max(self._highest, self.last)

    def close_block(self) -> str | None:
        """Say why a block that has ended must make no key, or None; begin the next.

        The last reading counts for the next block, too, but not instead of one of its own.
        """
        lowest, highest, was_read = self._lowest, self._highest, self._was_read
        self._lowest = self._highest = self.last
        self._was_read = False
        if lowest is None or highest is None or not was_read:
            return "no reading of the tap's power meter while the block was sent"
        if 1.0 - lowest <= self._limit and highest - 1.0 <= self._limit:
            return None
        return (
            f"mean photon numbers: the tap read {lowest:.4f} to {highest:.4f} of its calibration, "
            f"limit {1 - self._limit:.4f} to {1 + self._limit:.4f} (mu_uncertainty less the "
            "meter's own)"
        )
