"""The simulated transmitter board: QMSE-1 of docs/encoder-protocol.md, and the light it makes."""

import math
import struct
from collections.abc import Callable
from enum import IntEnum

from drivers.sim.optics.pulses import EncoderLight, Levels, PulsePlan
from drivers.sim.sealed import Closed, Entropy, SealedStream

__all__ = ["Closed", "EncoderLight", "State", "StateEncoder", "Status"]

WATCHDOG_NS = 1_000_000_000
MAX_WAITING = 16
CALIBRATION = NO_BLOCK = (1 << 64) - 1
MODEL, FIRMWARE, SERIAL = "QMSE-1 (simulated)", "1.0", "SIM-0001"

# The board's own limits where the protocol leaves them to the board
MIN_RATE_HZ, MAX_RATE_HZ = 1_000_000, 10_000_000_000
MIN_FRAME_PULSES = 1_000

PLAN_FIELDS = struct.Struct("<QIIIHHHddB")


class State(IntEnum):
    NOT_CONFIGURED = 0
    CONFIGURED = 1
    RUNNING = 2
    FAULT = 3
    SHOWING = 4


IDLE = (State.CONFIGURED, State.SHOWING)
"""No run, and one may begin."""
LIT = (State.RUNNING, State.SHOWING)
VACUUM = 2
"""The last of the levels."""


class Status(IntEnum):
    DONE = 0
    UNKNOWN_OPCODE = 1
    MALFORMED = 2
    OUT_OF_RANGE = 3
    WRONG_STATE = 4
    NO_SEED = 5


class Declined(Exception):
    """A request that the board understands as wrong; it answers with the status and the text."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


class StateEncoder:
    """One board, one client at a time. ``light`` is what comes out of it.

    NOT_CONFIGURED --CONFIGURE--> CONFIGURED --START--> RUNNING --STOP or hang-up--> CONFIGURED;
    RUNNING --no seed, or 1 s without a request--> FAULT --CONFIGURE or STOP--> CONFIGURED;
    CONFIGURED --SHOW--> SHOWING, which ends as RUNNING does, or with START.
    """

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._key, self._entropy = key, entropy
        self._stream = SealedStream(key, entropy)
        self.light = EncoderLight()
        self.state = State.NOT_CONFIGURED
        self._plan: PulsePlan | None = None
        self._shown = VACUUM
        self._run = 0
        self._pulses = 0
        self._next_block = 0  # the first one that has not begun in this run
        self._heard_ns = 0
        self._now_ns = 0

    @property
    def now_ns(self) -> int:
        """How far the board's clock has gone."""
        return self._now_ns

    def connected(self) -> None:
        """A client is there: a new conversation starts with its hello."""
        self._stream = SealedStream(self._key, self._entropy)

    def disconnected(self) -> None:
        """The client is gone: dark, every seed wiped."""
        self._stream = SealedStream(self._key, self._entropy)
        if self.state in LIT:
            self._end_run(self._pulses, State.CONFIGURED)
        self.light.go_dark()

    def power_cycle(self) -> None:
        """Off and on again: dark, and nothing is known any more."""
        self.disconnected()
        self.state = State.NOT_CONFIGURED
        self._plan = None

    def stops(self) -> None:
        """A part fails for a moment: dark, in FAULT, until the host configures it anew."""
        if self.state in LIT:
            self._end_run(self._pulses, State.FAULT)

    def receive(self, data: bytes, now_ns: int) -> bytes:
        """Answer what ``data`` completes, in order.

        Raises
        ------
        Closed
            When the board hangs up; its ``last_words`` hold the answers up to there. The light is
            dark already.
        """
        self.advance(now_ns)
        self._stream.feed(data)
        answers = bytearray()
        try:
            answers += self._stream.hello()
            while (payload := self._stream.next_payload()) is not None:
                answers += self._stream.seal(self._answer(payload))
        except Closed as closed:
            closed.last_words = bytes(answers) + closed.last_words
            self.disconnected()
            raise
        return bytes(answers)

    def advance(self, now_ns: int) -> None:
        """Let the board's clock run: blocks begin, seeds run out, the watchdog bites."""
        self._now_ns = max(self._now_ns, now_ns)
        bite_ns = self._heard_ns + WATCHDOG_NS
        if self.state is State.SHOWING and self._now_ns > bite_ns:
            self._end_run(self._pulses, State.FAULT)
        if self.state is not State.RUNNING:
            return
        plan = self._configured_plan()
        emitted = self.light.emitting(min(self._now_ns, bite_ns))
        while (start := plan.block_start(self._next_block)) < emitted:
            if self._next_block not in self.light.seeds.blocks:
                self._end_run(start, State.FAULT)
                return
            self._next_block += 1
        self._pulses = emitted
        if self._now_ns > bite_ns:
            self._end_run(emitted, State.FAULT)
        else:
            self.light.expire(self._now_ns)

    def transmission(self, errors: Levels) -> float:
        """Share of the laser's light that passes the modulator now, as a slow meter sees it.

        ``errors``: what each intensity truly is over what the board was told.
        """
        if self._plan is None:
            return 0.0
        signal, weak, vacuum = self._plan.levels
        levels = (signal * errors[0], weak * errors[1], vacuum * errors[2])
        if self.state is State.RUNNING:
            is_preamble = self._pulses < self._plan.preamble_pulses
            return levels[0] if is_preamble else self._plan.mean_of(levels)
        return levels[self._shown if self.state is State.SHOWING else VACUUM]

    def _end_run(self, pulses: int, state: State) -> None:
        self._pulses = pulses
        self.state = state
        self.light.go_dark()

    def _configured_plan(self) -> PulsePlan:
        assert self._plan is not None, f"{self.state.name} without a configuration"
        return self._plan

    def _answer(self, payload: bytes) -> bytes:
        self._heard_ns = self._now_ns
        opcode, fields = payload[0], payload[1:]
        requests: dict[int, Callable[[bytes], bytes]] = {
            0x01: self._identify,
            0x02: self._configure,
            0x03: self._load_seed,
            0x04: self._start,
            0x05: self._stop,
            0x06: self._status,
            0x07: self._show,
        }
        head = bytes([opcode | 0x80])
        try:
            if opcode not in requests:
                raise Declined(Status.UNKNOWN_OPCODE, f"no request has opcode {opcode:#04x}")
            return head + bytes([Status.DONE]) + requests[opcode](fields)
        except Declined as declined:
            return head + bytes([declined.status]) + str(declined).encode()

    def _identify(self, fields: bytes) -> bytes:
        _check_size(fields, 0)
        texts = [text.encode() for text in (MODEL, FIRMWARE, SERIAL)]
        return b"".join(bytes([len(text)]) + text for text in texts)

    def _configure(self, fields: bytes) -> bytes:
        plan = read_plan(fields)
        if self.state in LIT:
            raise Declined(Status.WRONG_STATE, f"CONFIGURE in state {self.state.name}: STOP first")
        check_plan(plan)
        self._plan = plan
        self._end_run(self._pulses, State.CONFIGURED)
        return b""

    def _load_seed(self, fields: bytes) -> bytes:
        _check_size(fields, 40)
        block, seed = int.from_bytes(fields[:8], "little"), bytearray(fields[8:])
        seeds = self.light.seeds
        if self.state not in (State.CONFIGURED, *LIT):
            raise Declined(Status.WRONG_STATE, f"LOAD_SEED in state {self.state.name}")
        if block == CALIBRATION:
            if self.state is State.RUNNING:
                raise Declined(Status.WRONG_STATE, "the calibration seed is loaded before START")
            if seeds.calibration is not None:
                raise Declined(Status.WRONG_STATE, "the calibration seed is there already")
            seeds.calibration = seed
            return b""
        first = self._next_block if self.state is State.RUNNING else 0
        if block < first:
            raise Declined(Status.WRONG_STATE, f"block {block} has begun; the next is {first}")
        if block in seeds.blocks:
            raise Declined(Status.WRONG_STATE, f"block {block} has its seed already")
        if sum(waiting >= first for waiting in seeds.blocks) >= MAX_WAITING:
            raise Declined(Status.OUT_OF_RANGE, f"{MAX_WAITING} seeds wait already")
        seeds.blocks[block] = seed
        return b""

    def _start(self, fields: bytes) -> bytes:
        _check_size(fields, 8)
        if self.state not in IDLE:
            raise Declined(Status.WRONG_STATE, f"START in state {self.state.name}")
        if self.light.seeds.calibration is None:
            raise Declined(Status.NO_SEED, "the calibration seed is missing")
        if 0 not in self.light.seeds.blocks:
            raise Declined(Status.NO_SEED, "the seed of block 0 is missing")
        self._run = int.from_bytes(fields, "little")
        self._pulses = 0
        self._next_block = 0
        self.state = State.RUNNING
        self.light.begin(self._configured_plan(), self._now_ns)
        return b""

    def _show(self, fields: bytes) -> bytes:
        _check_size(fields, 1)
        (level,) = fields
        if level > VACUUM:
            raise Declined(Status.OUT_OF_RANGE, f"level {level} is outside 0..{VACUUM}")
        if self.state not in IDLE:
            raise Declined(Status.WRONG_STATE, f"SHOW in state {self.state.name}")
        self.light.before_change()
        self._shown, self.state = level, State.SHOWING
        return b""

    def _stop(self, fields: bytes) -> bytes:
        _check_size(fields, 0)
        idle = State.NOT_CONFIGURED if self._plan is None else State.CONFIGURED
        self._end_run(self._pulses, idle)
        return b""

    def _status(self, fields: bytes) -> bytes:
        _check_size(fields, 0)
        block = -1
        if self.state is State.RUNNING:
            block = self._configured_plan().block_at(self._pulses - 1)
        n_seeds = sum(waiting >= self._present_block() for waiting in self.light.seeds.blocks)
        return struct.pack(
            "<BQQQB", self.state, self._run, self._pulses, block % (1 << 64), n_seeds
        )

    def _present_block(self) -> int:
        """The first block whose last pulse has not left yet."""
        if self.state is not State.RUNNING:
            return 0
        return max(0, self._configured_plan().block_at(self._pulses))


def read_plan(fields: bytes) -> PulsePlan:
    """The fields of CONFIGURE; Declined if their number does not fit."""
    if len(fields) < PLAN_FIELDS.size:
        raise Declined(Status.MALFORMED, f"{len(fields)} bytes are no configuration")
    *values, n_ramp = PLAN_FIELDS.unpack_from(fields)
    _check_size(fields, PLAN_FIELDS.size + 2 * n_ramp)
    (rate_hz, preamble, frame, calibration, key, signal, weak, weak_ratio, vacuum_ratio) = values
    return PulsePlan(
        pulse_rate_hz=rate_hz,
        preamble_pulses=preamble,
        frame_pulses=frame,
        calibration_pulses=calibration,
        key_threshold=key,
        signal_threshold=signal,
        weak_threshold=weak,
        weak_ratio=weak_ratio,
        vacuum_ratio=vacuum_ratio,
        ramp_frames=struct.unpack_from(f"<{n_ramp}H", fields, PLAN_FIELDS.size),
    )


def check_plan(plan: PulsePlan) -> None:
    """Declined, with the value and its limit, if the board cannot make this light."""
    n_ramp = len(plan.ramp_frames)
    limits = [
        ("pulse_rate_hz", plan.pulse_rate_hz, MIN_RATE_HZ, MAX_RATE_HZ),
        ("frame_pulses", plan.frame_pulses, MIN_FRAME_PULSES, (1 << 32) - 1),
        ("calibration_pulses", plan.calibration_pulses, 0, plan.frame_pulses - 1),
        ("key_threshold", plan.key_threshold, 0, 1 << 15),
        ("signal + weak threshold", plan.signal_threshold + plan.weak_threshold, 0, 1 << 16),
        ("weak_ratio", plan.weak_ratio, 0.0, 1.0),
        ("vacuum_ratio", plan.vacuum_ratio, 0.0, 1.0),
        ("n_ramp", n_ramp, 1, 16),
        *(("ramp_frames", frames, 1, (1 << 16) - 1) for frames in plan.ramp_frames),
    ]
    for name, value, low, high in limits:
        if not (math.isfinite(value) and low <= value <= high):
            raise Declined(Status.OUT_OF_RANGE, f"{name} {value} is outside {low}..{high}")


def _check_size(fields: bytes, n_bytes: int) -> None:
    if len(fields) != n_bytes:
        raise Declined(Status.MALFORMED, f"{len(fields)} bytes of fields in place of {n_bytes}")
