"""The transmitter's light goes dark by every way that is left, whatever the others do."""

from pathlib import Path

import pytest
import trio

from drivers.encoder import EncoderState, EncoderStatus
from drivers.errors import Fault, NoReply
from qkdd.station.settings import (
    AttenuatorSettings,
    EncoderSettings,
    LaserSettings,
    TransmitterSettings,
)
from qkdd.station.transmitter import DARK_TIMEOUT_S, EncoderStopped, Transmitter

SETTINGS = TransmitterSettings(
    laser=LaserSettings(model="koheron-ctl200", resource="serial:/dev/x", current_ma=50.0),
    attenuator=AttenuatorSettings(model="agilent-8156a", resource="GPIB0::28::INSTR", loss_db=50.0),
    encoder=EncoderSettings(model="qmse-1", resource="tcp://x:1", key_file=Path("key")),
)


class Bench:
    """Laser, attenuator and encoder in one; each may hang or fail when it is to go dark."""

    def __init__(self, **trouble: Exception | float) -> None:
        self.trouble = trouble
        self.lit = {"laser", "shutter", "encoder"}
        self.reached_db = SETTINGS.attenuator.loss_db

    async def _darken(self, name: str) -> None:
        trouble = self.trouble.get(name, 0.01)
        if isinstance(trouble, Exception):
            raise trouble
        await trio.sleep(trouble)
        self.lit.discard(name)

    async def set_output(self, on: bool) -> None:
        assert not on
        await self._darken("laser")

    async def set_shutter(self, open: bool) -> None:  # noqa: A002  as the driver calls it
        assert not open
        await self._darken("shutter")

    async def shutter_open(self) -> bool:
        return "shutter" in self.lit

    async def loss_db(self) -> float:
        return self.reached_db

    async def stop(self) -> None:
        await self._darken("encoder")


def transmitter(bench: Bench) -> Transmitter:
    return Transmitter(bench, bench, bench, SETTINGS)  # type: ignore[arg-type]


@pytest.mark.parametrize("hung", ["laser", "shutter", "encoder"])
async def test_an_instrument_that_hangs_keeps_no_other_one_lit(
    hung: str, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(**{hung: 1000.0})
    begin_s = trio.current_time()
    await transmitter(bench).dark()
    assert bench.lit == {hung}
    assert trio.current_time() - begin_s <= DARK_TIMEOUT_S


async def test_instruments_that_need_most_of_the_time_all_go_dark(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow_s = 0.9 * DARK_TIMEOUT_S
    bench = Bench(laser=slow_s, shutter=slow_s, encoder=slow_s)
    await transmitter(bench).dark()
    assert not bench.lit


@pytest.mark.parametrize("failing", ["laser", "shutter", "encoder"])
async def test_one_that_fails_keeps_no_other_one_lit(failing: str) -> None:
    bench = Bench(**{failing: NoReply("gone")})
    await transmitter(bench).dark()
    assert bench.lit == {failing}


@pytest.mark.parametrize("failing", ["laser", "shutter", "encoder"])
async def test_a_bug_of_one_driver_is_told_once_all_others_are_dark(
    failing: str, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(**{failing: ZeroDivisionError()})
    with pytest.raises(ExceptionGroup) as caught:
        await transmitter(bench).dark()
    assert caught.group_contains(ZeroDivisionError)
    assert bench.lit == {failing}


async def test_darkness_is_not_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench(laser=1.0, shutter=1.0, encoder=1.0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await transmitter(bench).dark()
    assert not bench.lit


async def test_an_attenuator_that_is_not_where_it_was_set_or_is_shut_is_at_fault() -> None:
    bench = Bench()
    for rounded_db in (49.999, 50.0, 50.001):
        bench.reached_db = rounded_db
        await transmitter(bench).check_loss()
    await transmitter(bench).check_shutter()
    bench.reached_db = 49.9
    with pytest.raises(Fault, match=r"is at 49.900 dB, configured are 50.000 dB"):
        await transmitter(bench).check_loss()
    bench.lit.remove("shutter")
    with pytest.raises(Fault, match="shutter closed by itself"):
        await transmitter(bench).check_shutter()


class Modulator:
    """Encoder and power meter in one, whose light is what is shown; the third reading may bite."""

    def __init__(self, *, bites: bool = False) -> None:
        self.bites = bites
        self.state = EncoderState.IDLE
        self.asked: list[str] = []

    async def show(self, level: int) -> None:
        self.state = EncoderState.SHOWING
        self.asked.append(f"show {level}")

    async def power_w(self) -> float:
        self.asked.append("read")
        n_read = self.asked.count("read")
        if self.bites and n_read == 3:
            self.state = EncoderState.FAULT
        return float(n_read)

    async def status(self) -> EncoderStatus:
        return EncoderStatus(self.state, 0, 0, None, 0)

    async def stop(self) -> None:
        self.state = EncoderState.IDLE
        self.asked.append("stop")


def with_tap(modulator: Modulator) -> Transmitter:
    return Transmitter(Bench(), Bench(), modulator, SETTINGS, modulator)  # type: ignore[arg-type]


async def test_the_second_reading_of_each_intensity_counts_and_then_the_encoder_is_idle() -> None:
    modulator = Modulator()
    assert await with_tap(modulator).read_levels() == (2.0, 4.0, 6.0)
    assert modulator.asked == [
        *("show 0", "read", "read"),
        *("show 1", "read", "read"),
        *("show 2", "read", "read"),
        "stop",
    ]


async def test_a_level_that_was_not_shown_to_the_end_of_its_reading_is_none() -> None:
    with pytest.raises(EncoderStopped, match="stopped showing weak by itself: fault"):
        await with_tap(Modulator(bites=True)).read_levels()


class AskedEncoder:
    """Answers each question with how many came up to it, and keeps one answer back."""

    def __init__(self) -> None:
        self.n_asked = 0
        self.answer: EncoderStatus | None = None

    def _ask(self) -> EncoderStatus:
        self.n_asked += 1
        return EncoderStatus(EncoderState.RUNNING, 1, self.n_asked, 0, 2)

    async def status_before(self) -> EncoderStatus | None:
        before, self.answer = self.answer, self._ask()
        return before

    async def status(self) -> EncoderStatus:
        self.answer = None
        return self._ask()


async def test_each_check_but_the_first_asks_the_encoder_once() -> None:
    encoder = AskedEncoder()
    asker = Transmitter(Bench(), Bench(), encoder, SETTINGS)  # type: ignore[arg-type]
    assert [(await asker.check()).pulses for _ in range(4)] == [1, 2, 3, 4]
    assert encoder.n_asked == 5
    await encoder.status()  # as any other request: it takes the answer before its own away
    assert [(await asker.check()).pulses for _ in range(2)] == [7, 8]
    assert encoder.n_asked == 9
