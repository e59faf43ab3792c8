"""Tags of a run as a receiver would see them, with the truth beside them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drivers.tags import TagBlock
from qkdd.base.light import LightPlan

CHANNELS = {1: 0, 2: 1, 3: 2, 4: 3}
SMALL = LightPlan(
    preamble_pulses=5_000_000,
    frame_pulses=2_000_000,
    calibration_pulses=50_000,
    ramp_frames=(2, 3),
)


def states(pulses: npt.NDArray[np.int64], key: int = 1) -> npt.NDArray[np.uint8]:
    """State codes (bit | basis << 1): 84 % key basis; splitmix64 of the pulse number."""
    x = pulses.astype(np.uint64) + np.uint64((key * 0x9E3779B97F4A7C15) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x ^= x >> np.uint64(31)
    bit = (x & np.uint64(1)).astype(np.uint8)
    test = ((x >> np.uint64(8)) & np.uint64(0xFFFF)) >= np.uint64(1 << 15)
    return bit | (test.astype(np.uint8) << 1)


@dataclass(eq=False)
class Light:
    """One run. Rates are clicks per signal pulse; background is a fraction of all clicks."""

    plan: LightPlan = SMALL
    seconds: float = 0.2
    seed: int = 0
    click_rate: float = 1e-2
    qber: float = 0.01
    background: float = 0.0
    offset_ppm: float = 12.3
    drift_ppb_per_s: float = 10.0
    delay_step_ps_per_s: float = 2.0
    jitter_ps: float = 150.0
    pulse0_ps: int = 37_123_456_789
    dark_hz: float = 400.0
    tick_ps: int = 2_000
    coincidence: float = 0.01
    slip_at: int | None = None
    slip_by: int = 1
    turn: npt.NDArray[np.float64] | None = None
    """(3, 3) rotation of the Poincare sphere, on top of ``qber``."""
    times_ps: npt.NDArray[np.int64] = field(init=False)
    channels: npt.NDArray[np.uint8] = field(init=False)
    pulses: npt.NDArray[np.int64] = field(init=False)
    """True pulse number of each tag; -1 for a dark count."""
    until_ps: int = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        n_pulses = int(self.seconds * self.plan.pulse_rate_hz)
        pulses = rng.integers(0, n_pulses, rng.poisson(n_pulses * self.click_rate))
        payload = (pulses - self.plan.preamble_pulses) % self.plan.frame_pulses
        signal = (pulses < self.plan.preamble_pulses) | (payload < self.plan.calibration_pulses)
        pulses = np.unique(pulses[signal | (rng.random(pulses.size) < 0.76)])
        twin = pulses[rng.random(pulses.size) < self.coincidence]
        pulses = np.concatenate((pulses, twin))
        detectors = self._detect(rng, pulses)
        arrival = self.arrival_ps(pulses) + rng.normal(0.0, self.jitter_ps, pulses.size)
        end_ps = self.arrival_ps(np.array([n_pulses]))[0]
        dark_hz = self.dark_hz + self.background / (1 - self.background) * pulses.size / (
            self.seconds
        )
        n_dark = rng.poisson(dark_hz * end_ps * 1e-12)
        dark = rng.integers(0, int(end_ps), n_dark)
        times = np.concatenate((arrival, dark.astype(np.longdouble)))
        times_ps = (times // self.tick_ps).astype(np.int64) * self.tick_ps
        order = np.argsort(times_ps, kind="stable")
        self.times_ps = times_ps[order]
        self.channels = np.concatenate((detectors, rng.integers(0, 4, n_dark).astype(np.uint8)))[
            order
        ] + np.uint8(1)
        self.pulses = np.concatenate((pulses, np.full(n_dark, -1)))[order]
        self.until_ps = int(end_ps)

    def arrival_ps(self, pulses: npt.NDArray[np.int64]) -> npt.NDArray[np.longdouble]:
        """When the light of a pulse arrives by the receiver's clock."""
        away = pulses.astype(np.longdouble)
        if self.slip_at is not None:
            away = away + np.where(pulses >= self.slip_at, self.slip_by, 0)
        sent_ps = away * np.longdouble(self.plan.period_ps)
        sent_s = sent_ps * 1e-12
        stretch = self.offset_ppm * 1e-6 + 0.5e-9 * self.drift_ppb_per_s * sent_s
        return self.pulse0_ps + sent_ps * (1 + stretch) + self.delay_step_ps_per_s * sent_s

    def _detect(
        self, rng: np.random.Generator, pulses: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint8]:
        codes = states(pulses)
        basis = (rng.random(pulses.size) >= 0.84).astype(np.uint8)
        if self.turn is not None:
            along = (1 - 2 * self.qber) * self.turn[basis, codes >> 1]
            wrong = rng.random(pulses.size) >= (1 + along) / 2
            return (basis * 2 + ((codes & 1) ^ wrong)).astype(np.uint8)
        flip = rng.random(pulses.size) < self.qber
        guess = rng.integers(0, 2, pulses.size).astype(np.uint8)
        bit = np.where(basis == codes >> 1, (codes & 1) ^ flip, guess)
        return (basis * 2 + bit).astype(np.uint8)

    def blocks(self, chunk_ps: int = 20_000_000_000) -> Iterator[TagBlock]:
        """Cut the run into blocks of equal time."""
        for begin in range(0, self.until_ps, chunk_ps):
            until = min(begin + chunk_ps, self.until_ps)
            first, last = np.searchsorted(self.times_ps, (begin, until))
            yield TagBlock(self.times_ps[first:last], self.channels[first:last], until)

    def live(self, dead_time_ps: int) -> npt.NDArray[np.bool_]:
        """Which tags the common dead time leaves, with the true pulses as slots; by the rule."""
        kept = np.zeros(self.times_ps.size, np.bool_)
        last_ps, click = -(10**18), -2
        rows = zip(self.times_ps.tolist(), self.pulses.tolist(), strict=True)
        for row, (time_ps, pulse) in enumerate(rows):
            if pulse == click and pulse >= 0:
                kept[row] = True
            elif time_ps - last_ps >= dead_time_ps:
                kept[row], click = True, pulse
            last_ps = time_ps
        return kept
