"""What the WebSQ does by itself: the search for the bias of a dark rate, and the I-V scan."""

import math
from collections.abc import Sequence

from drivers.sim.sq_nanowires import LEFT_AT_SHARE, N_WIRES

SEARCH_S = 2.0  # not documented
SHARE_PER_DECADE = 0.1  # of the switching current, in which dark counts grow tenfold: chosen
HIGHEST_SHARE = 0.98
MIN_STEPS, MAX_STEPS, MIN_INCREMENT_UA = 2, 1000, 1e-3


class Search:
    """Count for a while at a good bias, and reckon where the rate would be the target.

    The wires must be dark: light is taken for dark counts, and the bias that is found too low.
    """

    def __init__(self) -> None:
        self.target_hz = [100.0] * N_WIRES
        self.found_ua = [0.0] * N_WIRES
        self._left_s: float | None = None
        self._counts = [0] * N_WIRES

    @property
    def is_running(self) -> bool:
        return self._left_s is not None

    def start(self) -> None:
        self._left_s = SEARCH_S
        self._counts = [0] * N_WIRES

    def stop(self) -> None:
        self._left_s = None

    def count(self, counts: Sequence[int]) -> None:
        for wire, n in enumerate(counts):
            self._counts[wire] += n

    def is_over(self, dt_s: float) -> bool:
        """Let ``dt_s`` pass."""
        if self._left_s is None:
            return False
        self._left_s -= dt_s
        return self._left_s <= 0.0

    def end(self, switching_ua: float) -> list[float]:
        """The biases that it found."""
        self._left_s = None
        self.found_ua = []
        for n, target_hz in zip(self._counts, self.target_hz, strict=True):
            decades = math.log10(target_hz * SEARCH_S / max(n, 1))
            share = LEFT_AT_SHARE + SHARE_PER_DECADE * decades
            self.found_ua.append(round(switching_ua * min(max(share, 0.0), HIGHEST_SHARE), 2))
        return self.found_ua


class Scan:
    """One measurement period at each bias from start to end."""

    def __init__(self) -> None:
        self.start_ua, self.end_ua, self.increment_ua = 0.0, 30.0, 0.5
        self.voltages: list[dict[str, float]] = []
        self.counts: list[dict[str, float]] = []
        self._step: int | None = None

    @property
    def is_running(self) -> bool:
        return self._step is not None

    @property
    def bias_ua(self) -> float | None:
        """Where the scan stands."""
        return None if self._step is None else self.start_ua + self._step * self.increment_ua

    def set(self, label: str, value: float) -> None:
        """One of IVScanStart, IVScanEnd and IVScanIncrement."""
        match label:
            case "IVScanStart":
                self.start_ua = value
            case "IVScanEnd":
                self.end_ua = value
            case "IVScanIncrement":
                self.increment_ua = value

    def start(self) -> bool:
        """Begin, and forget the last one; False if the settings are no scan."""
        if not (
            self.increment_ua >= MIN_INCREMENT_UA and MIN_STEPS <= self._n_steps() <= MAX_STEPS
        ):
            return False
        self._step = 0
        self.voltages, self.counts = [], []
        return True

    def stop(self) -> None:
        self._step = None

    def record(self, voltages_mv: Sequence[float], counts: Sequence[int]) -> None:
        """Take the values of a period, and go on."""
        assert self._step is not None, "no scan is running"
        bias = {"biasCurrent": self.start_ua + self._step * self.increment_ua}
        self.voltages.append(bias | {f"v{i}": mv for i, mv in enumerate(voltages_mv, 1)})
        self.counts.append(bias | {f"y{i}": float(n) for i, n in enumerate(counts, 1)})
        self._step += 1
        if self._step >= self._n_steps():
            self._step = None

    def _n_steps(self) -> int:
        return math.floor((self.end_ua - self.start_ua) / self.increment_ua + 1e-9) + 1
