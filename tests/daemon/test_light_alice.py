"""Alice's light without a bench: what she makes of Bob's words, and of an encoder that errs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import cast

import msgspec
import pytest
import trio

from drivers.encoder import EncoderState, EncoderStatus
from drivers.errors import BadReply, Fault, InstrumentError
from qkdd.amplify.settings import ProofSettings
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.light import Intensities, LightPlan
from qkdd.base.secret import Secret
from qkdd.daemon.distil import DistilSettings
from qkdd.daemon.distil_alice import SentBlocks
from qkdd.daemon.light_alice import (
    ATTENUATOR_EVERY_S,
    LASER_EVERY_S,
    LOCK_TIMEOUT_S,
    POLL_S,
    READY_TIMEOUT_S,
    REST_S,
    AliceLight,
)
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.session import RUN_MESSAGES
from qkdd.daemon.silence import SILENT_S, Silence
from qkdd.daemon.status import LinkStatus
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.station.messages import (
    LightLocked,
    LightMeasured,
    RunAnnounced,
    RunLost,
    RunReady,
    RunStopped,
    RunWaits,
)
from qkdd.station.settings import TapSettings
from qkdd.station.tap import TapRecord, mean_level
from qkdd.station.transmitter import EncoderStopped, Transmitter

SETTINGS = DistilSettings(
    LinkId("a-b"), LightPlan(), Intensities(), ReconcileSettings(), ProofSettings()
)
FIRST = BlockNo(7)
RATIOS = (1.0, 0.38, 0.002)
TAP = TapSettings(model="thorlabs-pm100", resource="tcp://x:1", power_w=140e-6)
IN_A_RUN_W = TAP.power_w * mean_level(SETTINGS.plan, SETTINGS.intensities, RATIOS)


class Bench:
    """A transmitter that only notes what is asked of it."""

    def __init__(self) -> None:
        self.lit = False
        self.run = 0
        self.pulses = 0
        self.seeds: dict[int, Secret] = {}
        self.all_seeds: list[Secret] = []
        self.tap_w = IN_A_RUN_W
        self.levels_w = [TAP.power_w * ratio for ratio in RATIOS]
        self.laser_takes_s = 0.0
        self.laser_fault: Fault | None = None
        self.encoder_fault: Fault | None = None
        self.attenuator_fault: InstrumentError | None = None
        self.attenuator_asked_s: list[float] = []
        self.asked_s: list[float] = []

    async def prepare(self, _plan: LightPlan, _intensities: Intensities) -> None:
        self.seeds.clear()

    async def load_calibration_seed(self, seed: bytes) -> None:
        assert len(seed) == 32

    async def load_block_seed(self, index: int, seed: Secret) -> None:
        assert index not in self.seeds
        self.seeds[index] = seed
        self.all_seeds.append(seed)

    async def begin(self, run: int) -> None:
        self.encoder_fault = None
        self.lit, self.run, self.pulses = True, run, 0

    async def check(self) -> EncoderStatus:
        self.asked_s.append(trio.current_time())
        if self.encoder_fault is not None:
            raise self.encoder_fault
        return EncoderStatus(EncoderState.RUNNING, self.run, self.pulses, None, len(self.seeds))

    async def check_laser(self) -> None:
        await trio.sleep(self.laser_takes_s)
        if self.laser_fault is not None:
            raise self.laser_fault

    async def check_loss(self) -> None:
        self.attenuator_asked_s.append(trio.current_time())
        if self.attenuator_fault is not None:
            raise self.attenuator_fault

    async def check_shutter(self) -> None:
        await self.check_loss()

    async def read_levels(self) -> list[float]:
        assert not self.lit
        assert not self.seeds
        return self.levels_w

    async def tap_power_w(self) -> float:
        return self.tap_w

    async def dark(self) -> None:
        self.lit = False


class Talk:
    """Bob's end: what Alice said, and a way to answer."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.said: list[msgspec.Struct] = []
        self.runs = Mailbox(*RUN_MESSAGES)
        self.sent = SentBlocks()
        self.status = LinkStatus(name="a-b", peer="b", role="transmitter")
        self.silence = Silence(self.status)
        self.until = trio.Event()
        self.light = AliceLight(
            SETTINGS,
            self.hear,
            self.runs,
            self.sent,
            self.status,
            self.silence,
            entropy=lambda n: bytes(range(n)),
            first_block=FIRST,
            tap=TapRecord(TAP, 0.01, SETTINGS.plan, SETTINGS.intensities),
            until=self.until,
        )

    async def hear(self, message: msgspec.Struct) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append(message)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.silence.run)
            await self.light.run(cast("Transmitter", self.bench))
            nursery.cancel_scope.cancel()

    async def say(self, message: msgspec.Struct) -> None:
        self.silence.heard()
        await self.runs.put(message)

    async def ready(self, run: int) -> None:
        await self.runs.put(RunReady(run=run))
        await trio.sleep(1.0)

    def announced(self) -> list[tuple[int, int]]:
        return [
            (message.run, message.first_block)
            for message in self.said
            if isinstance(message, RunAnnounced)
        ]


@asynccontextmanager
async def shining() -> AsyncIterator[Talk]:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await trio.sleep(0.5)
        yield talk
        nursery.cancel_scope.cancel()
    assert not talk.bench.lit


def locked(run: int) -> LightLocked:
    return LightLocked(run=run, clock_offset_ppm=1.0, errors=0, matched=100)


async def test_no_light_before_the_receiver_is_ready(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        assert not talk.bench.lit
        await talk.ready(1)
        assert talk.bench.lit
        assert talk.announced() == [(1, FIRST)]


async def test_a_receiver_that_is_not_ready_is_asked_again_in_the_same_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await trio.sleep(READY_TIMEOUT_S)
        assert not talk.bench.lit
        assert [run for run, _ in talk.announced()] == [1, 2]
        not_ready = f"the receiver was not ready within {READY_TIMEOUT_S:g} s"
        assert talk.status.reason == f"{not_ready}: it says nothing"
        assert str(talk.status.why).startswith("b says nothing: word whether a run may begin")
        await talk.ready(2)
        assert talk.bench.lit


async def test_a_receiver_that_is_not_ready_says_why_and_is_not_taken_for_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await talk.say(RunWaits(run=1, reason="TDC1: gone"))
        await trio.sleep(READY_TIMEOUT_S - 2.0)
        assert talk.status.why == "the receiver is not ready: TDC1: gone"
        await trio.sleep(2.0)
        assert talk.status.why == (
            f"the receiver was not ready within {READY_TIMEOUT_S:g} s: TDC1: gone"
        )
        await talk.say(RunWaits(run=2, reason="TDC1: still gone"))
        await talk.ready(2)
        assert talk.bench.lit


async def test_a_receiver_that_hangs_in_the_light_is_named_and_the_light_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await talk.say(RunReady(run=1))
        await talk.say(locked(1))
        for _ in range(20):
            await trio.sleep(1.0)
            await talk.say(LightMeasured(run=1, frame=9, matched=(9, 9), errors=(0, 0)))
        assert talk.status.why is None
        await trio.sleep(SILENT_S - 0.1)
        assert talk.status.why is None
        await trio.sleep(2.0)
        assert talk.status.why == (
            f"b says nothing: the next report of the light is due for over {SILENT_S:g} s"
        )
        assert talk.bench.lit
        assert talk.status.state == "light"
        await talk.say(LightMeasured(run=1, frame=19, matched=(9, 9), errors=(0, 0)))
        assert talk.status.why is None


async def test_a_receiver_that_hangs_while_it_searches_is_not_said_to_have_found_no_light(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await talk.ready(1)
        await trio.sleep(LOCK_TIMEOUT_S)
        reason = f"the receiver has said nothing for {LOCK_TIMEOUT_S:g} s"
        assert RunStopped(run=1, reason=reason) in talk.said


async def test_a_failing_instrument_is_told_once_and_again_after_the_next_announcement(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    for reason in ("no laser", "no laser", "another laser"):
        await talk.light.tell_failure(reason)
    assert talk.said == [RunStopped(run=0, reason=one) for one in ("no laser", "another laser")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    await talk.light.tell_failure("another laser" + 600 * "!")
    assert talk.said[-1] == RunStopped(run=1, reason=("another laser" + 600 * "!")[:500])


async def test_late_words_about_the_run_before_are_passed_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await talk.ready(1)
        await talk.runs.put(RunLost(run=1, reason="too dark"))
        await trio.sleep(1.0)
        assert not talk.bench.lit
        await talk.runs.put(locked(1))
        await talk.ready(2)
        assert talk.bench.lit
        await talk.runs.put(RunLost(run=1, reason="still"))
        await trio.sleep(1.0)
        assert talk.bench.lit


async def test_a_run_that_is_not_found_goes_dark_and_bob_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await talk.ready(1)
        await talk.say(RunReady(run=1))
        await trio.sleep(LOCK_TIMEOUT_S)
        assert not talk.bench.lit
        assert [m.run for m in talk.said if isinstance(m, RunStopped)] == [1]


async def test_a_block_is_answered_for_when_its_last_pulse_has_left_and_its_number_never_returns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await talk.ready(1)
        await talk.runs.put(locked(1))
        talk.bench.pulses = SETTINGS.plan.block_span(0).stop - 1
        await trio.sleep(1.0)
        assert not talk.sent._blocks
        talk.bench.pulses += 1
        await trio.sleep(1.0)
        assert (await talk.sent.take(FIRST)).index == 0
        assert sorted(talk.bench.seeds) == [0, 1, 2]
        await talk.runs.put(RunLost(run=1, reason="cut"))
        await trio.sleep(1.0)
        assert talk.announced()[-1] == (2, FIRST + 3)
        assert all(seed.wiped for seed in talk.bench.all_seeds[1:])


async def test_pulses_of_another_run_hand_out_no_block(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  the bench errs in the middle
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await talk.ready(1)
            talk.bench.run, talk.bench.pulses = 0, SETTINGS.plan.block_span(0).stop
            await trio.sleep(1.0)
    assert caught.group_contains(Fault, match="run 0")
    assert not talk.sent._blocks
    assert not talk.bench.lit


async def test_a_block_whose_mean_photon_numbers_left_the_box_is_in_doubt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    plan = SETTINGS.plan
    async with shining() as talk:
        await talk.ready(1)
        await talk.runs.put(locked(1))
        talk.bench.pulses = plan.block_span(0).stop
        await trio.sleep(1.0)
        good = await talk.sent.take(FIRST)
        talk.bench.tap_w = 0.98 * IN_A_RUN_W
        await trio.sleep(1.0)
        talk.bench.tap_w = IN_A_RUN_W
        talk.bench.pulses = plan.block_span(1).stop
        await trio.sleep(1.0)
        bad = await talk.sent.take(BlockNo(FIRST + 1))
    assert good.doubt is None
    assert "the tap read 0.9800 to 1.0000" in str(bad.doubt)
    assert talk.status.tap_ratio == pytest.approx(1.0)
    assert talk.status.tap_levels == {
        "signal": 1.0,
        "weak": pytest.approx(0.38),
        "vacuum": pytest.approx(0.002),
    }


async def test_no_run_is_announced_while_an_intensity_is_not_what_it_should_be(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    talk.bench.levels_w[1] *= 1.02
    with pytest.raises(ExceptionGroup) as caught:
        await talk.run()
    assert caught.group_contains(Fault, match=r"weak is 0\.38760 of the signal, limit 0\.378")
    assert not talk.announced()
    assert not talk.bench.all_seeds
    assert talk.status.tap_levels is not None
    assert talk.status.tap_levels["weak"] == pytest.approx(1.02 * 0.38)


async def test_the_preamble_is_not_read_for_the_frames(
    autojump_clock: trio.testing.MockClock,
) -> None:
    plan = SETTINGS.plan
    async with shining() as talk:
        talk.bench.tap_w = TAP.power_w
        await talk.runs.put(RunReady(run=1))
        await trio.sleep(0.9 * plan.preamble_pulses / plan.pulse_rate_hz)
        assert talk.bench.lit
        assert talk.status.tap_ratio is None
        talk.bench.tap_w = IN_A_RUN_W
        await trio.sleep(1.0)
        talk.bench.pulses = plan.block_span(0).stop
        await trio.sleep(1.0)
        assert (await talk.sent.take(FIRST)).doubt is None


async def test_light_that_is_to_end_goes_on_to_the_end_of_its_block_and_no_further(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.run)
        await talk.ready(1)
        await talk.runs.put(LightLocked(run=1, clock_offset_ppm=0.0, errors=0, matched=9))
        talk.until.set()
        await trio.sleep(5.0)
        assert talk.bench.lit
        assert not talk.sent._blocks
        talk.bench.pulses = SETTINGS.plan.block_span(0).stop
    assert not talk.bench.lit
    assert list(talk.sent._blocks) == [FIRST]
    assert talk.sent.newest == FIRST
    assert all(seed.wiped for seed in talk.bench.all_seeds[1:])
    assert talk.announced() == [(1, FIRST)]
    talk.sent.wipe()


async def test_a_laser_that_answers_late_keeps_nobody_from_the_encoder(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        talk.bench.laser_takes_s = 3.0
        await talk.ready(1)
        await talk.runs.put(locked(1))
        await trio.sleep(10.0)
        gaps = [late - early for early, late in pairwise(talk.bench.asked_s)]
        assert len(gaps) > 20
        assert max(gaps) <= POLL_S


async def test_a_laser_that_reports_a_fault_ends_the_light(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  the laser fails in the middle
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await talk.ready(1)
            talk.bench.laser_fault = Fault("laser off, errors []")
            await trio.sleep(2 * LASER_EVERY_S)
    assert caught.group_contains(Fault, match="laser off")
    assert not talk.bench.lit


async def test_an_attenuator_that_answers_nonsense_ends_the_light_and_is_asked_no_oftener(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  it garbles in the middle
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await talk.ready(1)
            await talk.runs.put(locked(1))
            await trio.sleep(10 * ATTENUATOR_EVERY_S)
            assert talk.bench.lit
            asked_s = talk.bench.attenuator_asked_s
            assert len(asked_s) == 10
            assert {late - early for early, late in pairwise(asked_s)} == {ATTENUATOR_EVERY_S}
            talk.bench.attenuator_fault = BadReply("':INP:ATT?' answered 'q8#', no number")
            await trio.sleep(1.1 * ATTENUATOR_EVERY_S)
    assert caught.group_contains(BadReply, match="no number")
    assert not talk.bench.lit


async def test_a_good_run_whose_encoder_stops_is_followed_by_another_without_opening_anything(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with shining() as talk:
        await talk.ready(1)
        await talk.runs.put(locked(1))
        await trio.sleep(1.0)
        talk.bench.encoder_fault = EncoderStopped("stopped")
        await trio.sleep(1.1 * POLL_S)
        assert not talk.bench.lit
        assert talk.status.reason == "stopped"
        await trio.sleep(REST_S)
        assert [m.run for m in talk.said if isinstance(m, RunStopped)] == [1]
        assert [run for run, _ in talk.announced()] == [1, 2]
        assert all(seed.wiped for seed in talk.bench.all_seeds)
        await talk.ready(2)
        assert talk.bench.lit


async def test_an_encoder_that_stops_before_the_light_is_found_ends_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  the encoder stops in the middle
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await talk.ready(1)
            talk.bench.encoder_fault = EncoderStopped("stopped")
            await trio.sleep(2 * POLL_S)
    assert caught.group_contains(EncoderStopped)
    assert not talk.bench.lit
