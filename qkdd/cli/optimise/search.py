"""Climbing to the best settings: a pattern search without dice, the same every time.

Seven numbers between 0 and 1 stand for the settings (:class:`Space`). From each of a few starting
points a step along each of them is tried both ways, and shortened where none helps. A gate is never
narrower than two ticks and twice the timing spread: the model knows the pulses' times exactly, and
the receiver does not.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from qkdd.amplify.length import check_source
from qkdd.amplify.settings import ProofSettings
from qkdd.base.light import Intensities, LightPlan
from qkdd.cli.optimise.model import Choice, Expected, Measured, expect
from qkdd.frames.settings import MAX_BLOCK_PULSES, FrameSettings, check_light

FRAME_S = 0.1
CALIBRATION_SHARE = 200
"""One pulse in so many of a frame is for calibration, as with the default plan."""

PREAMBLE_S = 0.05
STEPS = (0.1, 0.05, 0.025, 0.01, 0.005, 0.002)
STARTS = (
    (0.30, 0.38, 0.65, 0.80, 0.84, 0.50, 0.84),
    (0.30, 0.30, 0.45, 0.70, 0.65, 0.30, 0.65),
    (0.15, 0.25, 0.80, 0.90, 0.93, 0.10, 0.93),
)
"""The default link; a bias for few detections; for many."""

Point = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """What is fixed while a search runs: the link, one pulse rate, one length of block."""

    measured: Measured
    proof: ProofSettings
    pulse_rate_hz: int
    block_s: float
    extinction_db: float
    """How much less than the signal the encoder's darkest state lets out."""
    key_splitter: float | None
    """Share of the key basis at the receiver's splitter; None if it may be chosen."""
    per_click: bool
    max_click_hz: float

    def choice(self, point: Point) -> Choice | None:
        """Settings at a point, in the digits that are written down; None where there are none."""
        signal, weak, p_signal, p_weak, key, gate, splitter = point
        signal_mu = round(0.02 + 1.48 * signal, 3)
        vacuum_mu = round(signal_mu * 10.0 ** (-self.extinction_db / 10.0), 6)
        p = round(0.02 + 0.96 * p_signal, 3)
        try:
            light = Intensities(
                signal_mu=signal_mu,
                weak_mu=round(signal_mu * (0.01 + 0.97 * weak), 3),
                vacuum_mu=vacuum_mu,
                signal_probability=p,
                weak_probability=round((1.0 - p) * (0.02 + 0.96 * p_weak), 3),
                key_basis_probability=round(0.4 + 0.59 * key, 3),
            )
            check_source(light, self.proof)
            plan = plan_for(self.pulse_rate_hz, self.block_s)
            frames = self._frames(plan, gate)
            check_light(plan, frames)
        except ValueError:
            return None
        chosen = round(0.4 + 0.59 * splitter, 3)
        share = chosen if self.key_splitter is None else self.key_splitter
        return Choice(plan, light, frames, share)

    def _frames(self, plan: LightPlan, gate: float) -> FrameSettings:
        widest = int(plan.period_ps)
        narrowest = min(widest, 2 * self.measured.tick_ps + 2 * round(self.measured.jitter_ps))
        return FrameSettings(
            gate_ps=narrowest + round((widest - narrowest) * gate),
            dead_time_ps=self.measured.dead_time_ps,
            detector_recovery_ps=self.measured.recovery_ps,
            tick_ps=self.measured.tick_ps,
        )

    def value(self, point: Point) -> tuple[float, Choice | None, Expected | None]:
        """How good a point is; -inf where it is none."""
        choice = self.choice(point)
        if choice is None:
            return -math.inf, None, None
        expected = expect(self.measured, choice, self.proof)
        click_hz = expected.clicks / expected.seconds
        if click_hz > self.max_click_hz:
            return -1e12 * click_hz / self.max_click_hz, choice, expected
        worth = expected.raw_bits_per_click if self.per_click else expected.raw_bits_per_s
        return worth, choice, expected


@dataclass(frozen=True, slots=True)
class Best:
    """The best so far, and how many points were tried for it."""

    value: float
    choice: Choice
    expected: Expected
    tried: int


def plan_for(pulse_rate_hz: int, block_s: float) -> LightPlan:
    """Frames of a tenth of a second; blocks that double up to ``block_s``.

    Raises
    ------
    ValueError
        If a rate is too low or too high for a plan.
    """
    frame_pulses = round(pulse_rate_hz * FRAME_S)
    frames = max(1, round(block_s / FRAME_S))
    return LightPlan(
        pulse_rate_hz=pulse_rate_hz,
        preamble_pulses=max(100_000, round(pulse_rate_hz * PREAMBLE_S)),
        frame_pulses=frame_pulses,
        calibration_pulses=max(1_000, frame_pulses // CALIBRATION_SHARE),
        ramp_frames=tuple(sorted({max(1, frames // part) for part in (8, 4, 2, 1)})),
    )


def longest_block_s(pulse_rate_hz: int, wanted_s: float) -> float:
    """``wanted_s``, or what a block's announcement has room for; whole frames."""
    frames = min(wanted_s, MAX_BLOCK_PULSES / pulse_rate_hz) / FRAME_S
    return math.floor(frames + 1e-9) * FRAME_S


def climb(space: Space) -> Iterator[Best]:
    """Yield the best settings whenever they improve; nothing if there are none at all.

    From every start, and then from the best point again for as long as that helps.
    """
    best: Best | None = None
    top: Point | None = None
    tried = 0
    waiting: list[Point] = list(STARTS)
    while waiting:
        at = waiting.pop(0)
        reached = -math.inf if best is None else best.value
        for point, value, choice, expected in _ascend(space, at):
            tried += 1
            if choice is None or expected is None or (best and value <= best.value):
                continue
            best, top = Best(value, choice, expected, tried), point
            yield best
        if not waiting and top is not None and best is not None and best.value > reached:
            waiting = [top]


def _ascend(
    space: Space, at: Point
) -> Iterator[tuple[Point, float, Choice | None, Expected | None]]:
    """Walk uphill from one point, with shorter and shorter steps; yield every point tried."""
    here, choice, expected = space.value(at)
    yield at, here, choice, expected
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for near in neighbours(at, step, free_splitter=space.key_splitter is None):
                value, choice, expected = space.value(near)
                yield near, value, choice, expected
                if value > here:
                    at, here, moved = near, value, True


def best_of(space: Space) -> Best | None:
    """The end of :func:`climb`."""
    return next(iter(deque(climb(space), maxlen=1)), None)


def neighbours(point: Point, step: float, *, free_splitter: bool) -> Iterator[Point]:
    """One step along each number, both ways; then both bases' shares together."""
    n = len(point) if free_splitter else len(point) - 1
    moves = [(at,) for at in range(n)] + [(0, 1), (2, 4), (4, 6)][: 3 if free_splitter else 2]
    for move in moves:
        for sign in (step, -step):
            near = list(point)
            for at in move:
                near[at] = min(1.0, max(0.0, near[at] + sign))
            yield tuple(near)
