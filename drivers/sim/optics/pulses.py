"""The pulses that leave a state encoder: their plan, their seeds, their states on demand."""

from collections.abc import Callable
from dataclasses import dataclass

from drivers.kernels.walk import Segment

GRACE_NS = 4_000_000_000
"""The model may walk this far behind the light; seeds older than that are gone for it too."""

Levels = tuple[float, float, float]
"""Of signal, weak and vacuum."""

ALWAYS_SIGNAL, EITHER_BASIS = 1 << 16, 1 << 14
"""Thresholds of a calibration pulse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PulsePlan:
    """What CONFIGURE of docs/encoder-protocol.md says: counts in pulses, blocks in frames."""

    pulse_rate_hz: int
    preamble_pulses: int
    frame_pulses: int
    calibration_pulses: int
    key_threshold: int
    signal_threshold: int
    weak_threshold: int
    weak_ratio: float
    vacuum_ratio: float
    ramp_frames: tuple[int, ...]

    @property
    def levels(self) -> Levels:
        """Light of each intensity over the signal's."""
        return (1.0, self.weak_ratio, self.vacuum_ratio)

    def mean_of(self, levels: Levels) -> float:
        """Of the pulses of a frame, whose calibration is all signal."""
        signal, weak = self.signal_threshold / ALWAYS_SIGNAL, self.weak_threshold / ALWAYS_SIGNAL
        shares = (signal, weak, 1.0 - signal - weak)
        payload = sum(share * level for share, level in zip(shares, levels, strict=True))
        calibration = self.calibration_pulses / self.frame_pulses
        return calibration * levels[0] + (1.0 - calibration) * payload

    def block_start(self, block: int) -> int:
        """Run-wide number of the first pulse of block ``block``."""
        past_ramp = max(0, block - len(self.ramp_frames))
        frames = sum(self.ramp_frames[:block]) + past_ramp * self.ramp_frames[-1]
        return self.preamble_pulses + frames * self.frame_pulses

    def block_at(self, pulse: int) -> int:
        """The block that holds ``pulse``, or -1 if that is in the preamble."""
        if pulse < self.preamble_pulses:
            return -1
        frame = (pulse - self.preamble_pulses) // self.frame_pulses
        for block, frames in enumerate(self.ramp_frames):
            if frame < frames:
                return block
            frame -= frames
        return len(self.ramp_frames) + frame // self.ramp_frames[-1]

    def segment_at(self, pulse: int) -> tuple[int, bool]:
        """Where the segment that holds ``pulse`` ends, and whether it is calibration."""
        if pulse < self.preamble_pulses:
            return self.preamble_pulses, True
        inside = (pulse - self.preamble_pulses) % self.frame_pulses
        if inside < self.calibration_pulses:
            return pulse - inside + self.calibration_pulses, True
        return pulse - inside + self.frame_pulses, False


class Seeds:
    """The seeds that the board holds, in memory that it can wipe."""

    def __init__(self) -> None:
        self.calibration: bytearray | None = None
        self.blocks: dict[int, bytearray] = {}

    def wipe_block(self, block: int) -> None:
        seed = self.blocks.pop(block, None)
        if seed is not None:
            seed[:] = bytes(len(seed))

    def wipe(self) -> None:
        for block in list(self.blocks):
            self.wipe_block(block)
        if self.calibration is not None:
            self.calibration[:] = bytes(len(self.calibration))
            self.calibration = None


@dataclass(frozen=True, slots=True)
class Emission:
    """Pulses ``first <= i < stop`` of the run that started at ``start_ns`` of the lab's time."""

    plan: PulsePlan
    start_ns: int
    first: int
    stop: int


class EncoderLight:
    """The modulated light of one state encoder, dark outside a run.

    The board begins and ends runs; the optical model takes the pulses that it has not walked yet
    and looks up the states of a few. A seed is wiped when its block has left and the model has
    walked it, at the latest GRACE_NS after; darkness wipes everything at once.
    """

    def __init__(self) -> None:
        self.seeds = Seeds()
        self.before_change: Callable[[], None] = lambda: None
        """Called before a run begins or ends: the model's last chance to walk what has left."""
        self._plan: PulsePlan | None = None
        self._start_ns = 0
        self._walked = 0

    def begin(self, plan: PulsePlan, now_ns: int) -> None:
        """Pulse 0 of a new run leaves at ``now_ns``."""
        self.before_change()
        self._plan, self._start_ns, self._walked = plan, now_ns, 0

    def go_dark(self) -> None:
        """End the run, if there is one, and wipe every seed."""
        self.before_change()
        self._plan = None
        self.seeds.wipe()

    def emitting(self, now_ns: int) -> int:
        """How many pulses of the present run have left by ``now_ns``; 0 when dark."""
        if self._plan is None or now_ns <= self._start_ns:
            return 0
        return (now_ns - self._start_ns) * self._plan.pulse_rate_hz // 1_000_000_000

    def take(self, now_ns: int) -> Emission | None:
        """The pulses that left by ``now_ns`` and are not walked yet, as far as seeds reach."""
        if self._plan is None:
            return None
        stop = self.emitting(now_ns)
        first = max(self._walked, self.emitting(now_ns - GRACE_NS))
        first_block = max(0, self._plan.block_at(first))
        for block in range(first_block, self._plan.block_at(stop - 1) + 1):
            if block not in self.seeds.blocks:
                stop = min(stop, self._plan.block_start(block))
                break
        return Emission(self._plan, self._start_ns, first, stop) if first < stop else None

    def walked(self, stop: int) -> None:
        """The model needs no pulse below ``stop`` of this run any more."""
        self._walked = stop
        self._wipe_below(stop)

    def expire(self, now_ns: int) -> None:
        """Wipe the seeds of blocks that left so long ago that no model will ask."""
        self._wipe_below(self.emitting(now_ns - GRACE_NS))

    def segments(self, first: int, n_pulses: int) -> list[Segment]:
        """Where the states of pulses of the run come from, counted from ``first``.

        The pulses are within an :class:`Emission` that is not yet walked.
        """
        plan = self._plan
        assert plan is not None, "no states in the dark"
        found: list[Segment] = []
        pulse = first
        while pulse < first + n_pulses or not found:
            end, is_calibration = plan.segment_at(pulse)
            seed, base = self.seeds.calibration, 0
            if not is_calibration:
                block = plan.block_at(pulse)
                seed, base = self.seeds.blocks[block], plan.block_start(block)
            assert seed is not None, "a run has a calibration seed"
            found.append(
                Segment(
                    stop=end - first,
                    base=base - first,
                    seed=seed,
                    key_threshold=EITHER_BASIS if is_calibration else plan.key_threshold,
                    signal_threshold=ALWAYS_SIGNAL if is_calibration else plan.signal_threshold,
                    weak_threshold=0 if is_calibration else plan.weak_threshold,
                )
            )
            pulse = end
        return found

    def _wipe_below(self, pulse: int) -> None:
        if self._plan is None:
            return
        present = self._plan.block_at(pulse)
        for block in [block for block in self.seeds.blocks if block < present]:
            self.seeds.wipe_block(block)
