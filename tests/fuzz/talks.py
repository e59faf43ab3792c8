"""Whole conversations with instruments whose replies are not what they should be.

The seeds are what the simulated instruments answer to the driver's questions, in order. Whatever
becomes of them, each call ends within its time, with a value or with an InstrumentError.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
import trio
from trio.testing import MockClock

from drivers.attenuator.agilent_8156a import Agilent8156A
from drivers.detector.sq_websq import SqWebSq
from drivers.encoder import EncoderPlan
from drivers.encoder.qmse1 import Qmse1
from drivers.entropy.onerng import OneRng
from drivers.errors import InstrumentError
from drivers.laser.koheron_ctl200 import KoheronCtl200
from drivers.polarization.ozoptics_epc import OzOpticsEpc
from drivers.powermeter.thorlabs_pm100 import ThorlabsPm100
from drivers.sim.agilent_8156a import HP8156A
from drivers.sim.koheron_ctl200 import CTL200
from drivers.sim.ozoptics_epc import EPC400
from drivers.sim.state_encoder import StateEncoder
from drivers.sim.thorlabs_pm100 import PM100
from drivers.timetagger.idq_id1000 import IdqId1000
from drivers.timetagger.s15_tdc1 import S15Tdc1
from drivers.transport import Transport
from tests.drivers.id1000_desk import Bench, Desk, Pipe, message
from tests.drivers.sim.board_host import BOARD_NONCE, HOST_NONCE, KEY
from tests.drivers.websq_desk import STATE, props
from tests.fuzz.target import Target

NEXT = b"\x1e|\x1e"
"""Between what comes after one sentence of the driver's and what comes after the next."""
THEN = b"\x1d|\x1d"
"""Between what is said on one way and on another."""
MAX_CALL_S = 180.0
"""For one call, in the clock of the event loop, which jumps."""
Calls = Callable[[Transport], list[Callable[[], Awaitable[object]]]]


class Replies:
    """A transport that says what it has, a piece after each sentence; then it is silent."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._arrived = trio.Event()

    def reply_to(self, _sentence: bytes) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._buffer += self.reply_to(data)
        self._arrived.set()

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._buffer:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.receive_waiting(max_bytes)

    def receive_waiting(self, max_bytes: int) -> bytes:
        taken, self._buffer = self._buffer[:max_bytes], self._buffer[max_bytes:]
        return taken

    @property
    def room_bytes(self) -> int:
        return 1 << 16

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Recorded(Replies):
    """A simulated instrument at the other end; what it says is kept."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        super().__init__([])
        self._answer = answer
        self.said: list[bytes] = []

    def reply_to(self, sentence: bytes) -> bytes:
        self.said.append(self._answer(sentence))
        return self.said[-1]


async def _converse(calls: list[Callable[[], Awaitable[object]]]) -> bool:
    fine = True
    for call in calls:
        try:
            with trio.fail_after(MAX_CALL_S):
                await call()
        except InstrumentError:
            fine = False
    return fine


def _run(transport: Replies, calls: Calls) -> bool:
    async def main() -> bool:
        return await _converse(calls(transport))

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def talk(name: str, answer: Callable[[bytes], bytes], calls: Calls) -> Target:
    """Record one conversation with a simulated instrument, which must go well."""
    recorded = Recorded(answer)
    assert _run(recorded, calls), f"{name}: the simulated instrument itself was refused"

    def feed(data: bytes) -> bool:
        return _run(Replies(data.split(NEXT)), calls)

    seed = NEXT.join(recorded.said)
    words = (NEXT, *sorted({one for one in recorded.said if 0 < len(one) < 40})[:40])
    return Target(name, "instrument", (seed,), feed, words=words, max_bytes=20_000, slow=True)


def koheron() -> Target:
    laser = CTL200()

    def calls(transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        one = KoheronCtl200(transport)
        return [
            one.identity,
            lambda: one.set_current_ma(20.0),
            lambda: one.set_output(True),
            one.status,
            lambda: one.set_output(False),
        ]

    return talk("ctl200", lambda said: laser.receive(said) + laser.advance(3.0), calls)


def agilent() -> Target:
    attenuator = HP8156A()

    def calls(transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        one = Agilent8156A(transport)
        return [
            one.identity,
            one.clear_errors,
            lambda: one.set_loss_db(12.0),
            lambda: one.set_shutter(True),
            one.shutter_open,
        ]

    return talk("8156a", lambda said: attenuator.receive(said) + attenuator.advance(1.0), calls)


def epc() -> Target:
    box = EPC400(echo=True)

    def calls(transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        one = OzOpticsEpc(transport)
        return [
            one.identity,
            lambda: one.set_voltages_mv((100, -200, 300, -400)),
            lambda: one.set_scrambling(True),
            one.status,
            lambda: one.set_scrambling(False),
        ]

    def answer(said: bytes) -> bytes:
        return box.receive(said) + b"".join(box.advance(0.01) for _ in range(100))

    return talk("epc", answer, calls)


def power_meter() -> Target:
    meter = PM100(wavelength_nm=1550.0)
    meter.power_w = 1e-4

    def calls(transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        one = ThorlabsPm100(transport)
        return [
            one.identity,
            one.settle,
            lambda: one.set_wavelength_nm(1550.0),
            lambda: one.set_range_w(1e-3),
            lambda: one.set_averages(10),
            one.power_w,
            one.zero,
            one.status,
            lambda: one.set_range_w(None),
        ]

    return talk("pm100", lambda said: meter.receive(said) + meter.advance(10.0), calls)


PLAN = EncoderPlan(
    pulse_rate_hz=1_000_000,
    preamble_pulses=100_000,
    frame_pulses=200_000,
    calibration_pulses=1_000,
    key_threshold=27_525,
    signal_threshold=42_598,
    weak_threshold=19_005,
    weak_ratio=0.38,
    vacuum_ratio=0.002,
    ramp_frames=(1, 2),
)


def encoder() -> Target:
    """With the board's own key: what is changed in a frame does not open, and ends the session."""
    board = StateEncoder(KEY, lambda n: BOARD_NONCE[:n])
    board.connected()

    def calls(transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        one = Qmse1(transport, key=KEY, entropy=lambda n: HOST_NONCE[:n])
        return [
            one.identity,
            lambda: one.configure(PLAN),
            lambda: one.show(1),
            lambda: one.load_seed(None, bytes(32)),
            lambda: one.load_seed(0, bytes(32)),
            one.status,
            lambda: one.start(7),
            one.stop,
        ]

    return talk("qmse1", lambda said: board.receive(said, 0), calls)


def tagger() -> Target:
    words = b"".join((n * 5_000 << 5 | 1 << n % 4).to_bytes(4, "little") for n in range(1, 60))
    answers = {b"*IDN?": b"TDC1 1.0\r\n", b"MODE?": b"3\r\n", b"TIME?": b"0\r\n"}
    answers |= {
        b"COUNTS?": words,
        b"INPKT": (1 << 24).to_bytes(4, "little"),
        b"abort;STATUS?": words[:40] + b"0000 \r\n",
    }

    def calls(transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        one = S15Tdc1(transport)
        running = [False]

        async def start() -> None:
            await one.start()
            running[0] = True

        async def read() -> None:
            if running[0]:
                await one.read()

        async def stop() -> None:
            if running[0]:
                await one.stop()

        return [one.settle, one.identity, start, read, read, stop]

    return talk("tdc1-talk", lambda said: answers.get(said.strip(), b""), calls)


def random_source() -> Target:
    noise = bytes(range(256)) * 2

    def answer(said: bytes) -> bytes:
        if b"cmdv" in said:
            return noise[:40] + b"Version 3\n"
        return noise if b"cmdO" in said else b""

    def calls(transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        one = OneRng(transport)
        return [one.identity, one.start, one.read, one.stop]

    return talk("onerng", answer, calls)


def nanowires() -> Target:
    """What the control port tells after each question, and lines of counts that come by themselves;
    the driver listens all the while."""
    told = props(
        BiasCurrent=[10.0, 9.0],
        DetectorEnable=True,
        StartAutoIV=False,
        BiasVoltage=[0.1, 0.2],
        temperature_long_memory={"T": [2.5, 2.6]},
    )
    counts = [b"1700000000.%d, 10, 20\r\n" % n for n in range(10)]

    def feed(data: bytes) -> bool:
        control, _, lines = data.partition(THEN)
        return trio.run(_with_websq, control, lines, clock=MockClock(autojump_threshold=0))

    seed = NEXT.join([told] * 12) + THEN + NEXT.join(counts)
    words = (NEXT, b"\x17", *(f'"{label}"'.encode() for label in STATE))
    return Target("websq", "instrument", (seed,), feed, words=words, max_bytes=20_000, slow=True)


async def _with_websq(control: bytes, lines: bytes) -> bool:
    one, other = Replies(control.split(NEXT)), Replies(lines.split(NEXT))
    box = SqWebSq(one, other)

    async def count() -> None:
        for _ in range(100):
            await trio.sleep(0.1)
            await other.send(b"")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.listen)
        nursery.start_soon(count)
        fine = await _converse(
            [
                box.identity,
                box.counts,
                lambda: _or_other_number(box.set_bias_ua((10.0, 9.0))),
                lambda: box.set_enabled(True),
                box.temperature_k,
                box.status,
            ]
        )
        nursery.cancel_scope.cancel()
    return fine


async def _or_other_number(call: Awaitable[object]) -> None:
    """A box of another number of detectors is the caller's mistake."""
    try:
        await call
    except ValueError as error:
        assert "detectors" in str(error)


class Said:
    """Answers of the ID1000 or of its data link, one after the other; then none."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers

    async def ask(self, question: str) -> str:
        await trio.lowlevel.checkpoint()
        if not self._answers:
            await trio.sleep_forever()
        return self._answers.pop(0).decode("utf-8", "replace")


class Asked:
    """A desk whose answers are kept."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.said: list[bytes] = []

    async def ask(self, question: str) -> str:
        answer = await self._desk.ask(question)
        self.said.append(answer.encode())
        return answer


def _id1000_calls(one: IdqId1000) -> list[Callable[[], Awaitable[object]]]:
    async def if_running(call: Callable[[], Awaitable[object]]) -> None:
        if one._run is not None:
            await call()

    read = partial(if_running, one.read)
    return [one.identity, one.settle, one.start, read, read, partial(if_running, one.stop)]


def _id1000_said() -> tuple[bytes, bytes]:
    """What the two say in one conversation that goes well, with two records."""
    bench = Bench()
    scpi, dlt = Asked(bench.scpi), Asked(bench.dlt)
    one = IdqId1000(scpi, dlt, bench._open, bench.settings)

    async def main() -> bool:
        begin, (read, again, stop) = _id1000_calls(one)[:3], _id1000_calls(one)[3:]
        fine = await _converse(begin)
        for call in (read, again):
            bench.record({1: [10**9, 2 * 10**9], 3: [3 * 10**9]})
            fine &= await _converse([call])
        bench.stopped()
        return fine and await _converse([stop])

    assert trio.run(main, clock=MockClock(autojump_threshold=0))
    return NEXT.join(scpi.said), NEXT.join(dlt.said)


async def _with_id1000(scpi: bytes, dlt: bytes, stream: bytes) -> bool:
    pipes = {
        port: Pipe([_times(part) for part in stream.split(NEXT)[at::2]])
        for at, port in enumerate((4242, 4244))
    }

    async def open_stream(port: int) -> Pipe:
        await trio.lowlevel.checkpoint()
        return pipes[port]

    said = Said(scpi.split(NEXT)), Said(dlt.split(NEXT))
    one = IdqId1000(*said, open_stream, Bench().settings)
    return await _converse(_id1000_calls(one))


def _times(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def id1000() -> Target:
    """Three streams in one input: what the device answers, what its data link, and the times."""
    times = [message(10**9, 2 * 10**9).tobytes(), message(3 * 10**9).tobytes()] * 2
    seed = THEN.join((*_id1000_said(), NEXT.join(times)))

    def feed(data: bytes) -> bool:
        parts = [*data.split(THEN), b"", b""][:3]
        return trio.run(_with_id1000, *parts, clock=MockClock(autojump_threshold=0))

    status = b'{"acquisitions_count": %d, "errors": [], "timestamps_count": %d}'
    words = (NEXT, THEN, status % (10**18, 3), status % (2, 10**18), b"PLAYING", b"9" * 5_000)
    words += (b'{"error": {"description": "no"}}', b'{"error":{"x":' + b"[" * 2_000)
    return Target(
        "id1000-talk", "instrument", (seed,), feed, words=words, max_bytes=20_000, slow=True
    )


def targets() -> list[Target]:
    return [
        *(koheron(), agilent(), epc(), power_meter(), encoder(), tagger()),
        *(random_source(), nanowires(), id1000()),
    ]
