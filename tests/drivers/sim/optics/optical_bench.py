"""A link on a bench: known seeds in, counts by state and detector out."""

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drivers.kernels.expand import expand_states
from drivers.sim.config import Attack, Fibre, Receiver, Source
from drivers.sim.optics.link import OpticalLink
from drivers.sim.optics.pulses import PulsePlan

STEP_NS = 10_000_000

PLAN = PulsePlan(
    pulse_rate_hz=100_000_000,
    preamble_pulses=100_000,
    frame_pulses=10_000_000,
    calibration_pulses=50_000,
    key_threshold=27_525,
    signal_threshold=42_598,
    weak_threshold=19_005,
    weak_ratio=0.38,
    vacuum_ratio=0.002,
    ramp_frames=(20,),
)

IDEAL = Receiver(
    recovery_ns=1.0,
    jitter_ps=0.0,
    dark_hz=0.0,
    clock_offset_ppm=0.0,
    clock_drift_ppb_per_s=0.0,
)
"""Clicks keep their slot: no jitter, a clock that is right, recovery shorter than a period."""

SHORT_FIBRE = Fibre(length_km=10.0, loss_db=6.0)


def seed_of(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


@dataclass
class Bench:
    mu: float = 0.5
    fibre: Fibre = SHORT_FIBRE
    receiver: Receiver = IDEAL
    attack: Attack | None = None
    plan: PulsePlan = PLAN
    seed: int = 1
    link: OpticalLink = field(init=False)

    def __post_init__(self) -> None:
        self.link = OpticalLink(self.fibre, Source(), self.receiver, self.attack, seed=self.seed)
        self.link.laser_power_mw = 1.0
        self.link.shutter_open = True
        self.link.attenuation_db = 0.0
        self.link.attenuation_db = 10 * math.log10(
            self.link.signal_mu(self.plan.pulse_rate_hz) / self.mu
        )

    def start(self, now_ns: int = 0, *, n_blocks: int = 16) -> None:
        seeds = self.link.encoder.seeds
        seeds.calibration = bytearray(seed_of("calibration"))
        seeds.blocks = {block: bytearray(seed_of(block)) for block in range(n_blocks)}
        self.link.encoder.begin(self.plan, now_ns)

    @property
    def detections_per_signal(self) -> float:
        """mu times all losses times efficiency: the mean of the formulas below."""
        loss_db = self.fibre.loss_db + self.receiver.loss_db
        return self.mu * 10 ** (-loss_db / 10) * self.receiver.efficiency

    @property
    def delay_ps(self) -> int:
        return round(self.fibre.length_km * 4_900_000) + round(self.receiver.delay_ns * 1000)

    def run(
        self, first_ns: int, last_ns: int, step_ns: int = STEP_NS
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Times and channels of the steps from ``first_ns`` (exclusive) to ``last_ns``."""
        steps = [*range(first_ns + step_ns, last_ns, step_ns), last_ns]
        events = [self.link.advance(now_ns) for now_ns in steps]
        return (
            np.concatenate([event.times_ps for event in events]),
            np.concatenate([event.channels for event in events]),
        )


def states_by_the_book(plan: PulsePlan, pulses: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """States of a run with the bench's seeds, by arithmetic on whole arrays."""
    after = pulses - plan.preamble_pulses
    frame, inside = np.divmod(after, plan.frame_pulses)
    calibration = (after < 0) | (inside < plan.calibration_pulses)
    ends = np.cumsum(plan.ramp_frames)
    last = plan.ramp_frames[-1]
    past = frame - (ends[-1] - last)
    block = np.where(
        frame < ends[-1],
        np.searchsorted(ends, frame, side="right"),
        len(ends) - 1 + past // last,
    )
    starts = np.where(block == 0, 0, ends[np.minimum(block, len(ends)) - 1])
    starts = np.where(block >= len(ends), ends[-1] + (block - len(ends)) * last, starts)
    states = np.empty(pulses.size, np.uint8)
    states[calibration] = expand_states(
        seed_of("calibration"),
        pulses[calibration],
        key_threshold=1 << 14,
        signal_threshold=1 << 16,
        weak_threshold=0,
    )
    for number in np.unique(block[~calibration]):
        here = ~calibration & (block == number)
        states[here] = expand_states(
            seed_of(number),
            (after - starts * plan.frame_pulses)[here],
            key_threshold=plan.key_threshold,
            signal_threshold=plan.signal_threshold,
            weak_threshold=plan.weak_threshold,
        )
    return states
