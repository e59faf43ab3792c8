"""What every instrument of a kind must do, checked on an opened one, simulated or real.

Each ``check_*`` returns when the instrument conforms and raises NotConforming otherwise. It leaves
the instrument dark: laser off, shutter closed, encoder and tagger stopped.
"""

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import trio

from drivers.attenuator import Attenuator
from drivers.encoder import Encoder, EncoderPlan, EncoderState
from drivers.errors import Refused
from drivers.identity import Identity
from drivers.laser import Laser
from drivers.tags import TagBlock
from drivers.timetagger import TimeTagger

T = TypeVar("T")

CALL_TIMEOUT_S = 15.0
CUT_AFTER_S = 0.001
READ_TIMEOUT_S = 3.0
ABSURD_MA = 1e6
ABSURD_DB = 1e3

SMALL_PLAN = EncoderPlan(
    pulse_rate_hz=1_000_000,
    preamble_pulses=100_000,
    frame_pulses=1_000_000,
    calibration_pulses=10_000,
    key_threshold=27_525,
    signal_threshold=42_598,
    weak_threshold=19_005,
    weak_ratio=0.38,
    vacuum_ratio=0.002,
    ramp_frames=(20,),
)


class NotConforming(AssertionError):
    """What an instrument of this kind must do, and this one does not."""


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise NotConforming(what)


async def _refuses(action: Awaitable[object], error: type[Exception], what: str) -> None:
    try:
        await action
    except error:
        return
    raise NotConforming(f"{what} did not raise {error.__name__}")


async def _check_identity(identity: Callable[[], Awaitable[Identity]]) -> None:
    first = await identity()
    _demand(bool(first.model), f"no model in {first}")
    _demand(await identity() == first, f"another identity at the second time than {first}")


async def _check_survives_a_cut(ask: Callable[[], Awaitable[T]]) -> None:
    """A query that is cancelled must not spoil the next one."""
    before = await ask()
    with trio.move_on_after(CUT_AFTER_S):
        await ask()
    after = await ask()
    _demand(after == before, f"after a cancelled query: {after!r} instead of {before!r}")


async def check_laser(laser: Laser, *, current_ma: float) -> None:
    """Check a laser; it shines at ``current_ma`` for a moment."""
    try:
        with trio.fail_after(CALL_TIMEOUT_S):
            await _check_identity(laser.identity)
            await laser.set_output(on=False)
            await laser.set_current_ma(current_ma)
            status = await laser.status()
            _demand(not status.on, "setting a current switched it on")
            _demand(abs(status.current_ma - current_ma) <= 0.01, f"{status} at {current_ma} mA")
            _demand(math.isfinite(status.thermistor_ohm), f"no temperature: {status}")
            await _refuses(laser.set_current_ma(-1.0), ValueError, "a negative current")
            await _refuses(laser.set_current_ma(math.nan), ValueError, "a current of nan")
            await _refuses(laser.set_current_ma(ABSURD_MA), Refused, f"{ABSURD_MA} mA")
            kept_ma = (await laser.status()).current_ma
            _demand(abs(kept_ma - current_ma) <= 0.01, f"a refused current left {kept_ma} mA")
            await laser.set_output(on=True)
            status = await laser.status()
            _demand(status.on, "switched on, but off")
            _demand(not status.errors, f"errors while on: {status.errors}")
            await _check_survives_a_cut(laser.identity)
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await laser.set_output(on=False)
            _demand(not (await laser.status()).on, "switched off, but on")


async def check_attenuator(attenuator: Attenuator) -> None:
    """Check an attenuator, over 0 to 40 dB, mostly with its shutter closed."""
    try:
        with trio.fail_after(4 * CALL_TIMEOUT_S):
            await _check_identity(attenuator.identity)
            await attenuator.set_shutter(open=False)
            for loss_db in (20.0, 0.0, 40.0, 12.345):
                await attenuator.set_loss_db(loss_db)
                reached_db = await attenuator.loss_db()
                _demand(abs(reached_db - loss_db) < 0.01, f"{reached_db} dB instead of {loss_db}")
                _demand(not await attenuator.shutter_open(), "setting a loss opened the shutter")
            await _refuses(attenuator.set_loss_db(ABSURD_DB), Refused, f"{ABSURD_DB} dB")
            await _refuses(attenuator.set_loss_db(math.nan), ValueError, "a loss of nan")
            kept_db = await attenuator.loss_db()
            _demand(abs(kept_db - 12.345) < 0.01, f"a refused loss left {kept_db} dB")
            await attenuator.set_shutter(open=True)
            _demand(await attenuator.shutter_open(), "opened, but closed")
            await _check_survives_a_cut(attenuator.loss_db)
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await attenuator.set_shutter(open=False)
            _demand(not await attenuator.shutter_open(), "closed, but open")


async def check_encoder(encoder: Encoder, plan: EncoderPlan = SMALL_PLAN) -> None:
    """Check a state encoder; it emits for about half a second."""
    try:
        with trio.fail_after(CALL_TIMEOUT_S):
            await _check_identity(encoder.identity)
            await encoder.stop()
            await encoder.configure(plan)
            status = await encoder.status()
            _demand(status.state is EncoderState.IDLE, f"configured, but {status}")
            _demand(status.n_seeds == 0, f"seeds outlived a configuration: {status}")
            await _refuses(encoder.start(1), Refused, "a start without seeds")
            await encoder.load_seed(None, bytes(range(32)))
            await _refuses(encoder.start(1), Refused, "a start without the seed of block 0")
            await encoder.load_seed(0, bytes(range(32, 64)))
            await _refuses(encoder.load_seed(0, bytes(32)), Refused, "another seed for block 0")
            await _refuses(encoder.load_seed(1, bytes(31)), ValueError, "a seed of 31 bytes")
            await encoder.start(7)
            await _check_emission(encoder, plan)
            await encoder.stop()
            status = await encoder.status()
            _demand(status.state is EncoderState.IDLE, f"stopped, but {status}")
            _demand(status.n_seeds == 0, f"seeds outlived a stop: {status}")
            await _refuses(encoder.start(8), Refused, "a start after the seeds were wiped")
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await encoder.stop()


async def _check_emission(encoder: Encoder, plan: EncoderPlan) -> None:
    start_s = trio.current_time()
    first = await encoder.status()
    _demand(first.state is EncoderState.RUNNING, f"started, but {first}")
    _demand(first.run == 7, f"run 7 started, but {first}")
    with trio.move_on_after(CUT_AFTER_S):
        await encoder.status()
    await _refuses(encoder.configure(plan), Refused, "a configuration while running")
    later = first
    while later.pulses < plan.preamble_pulses + plan.frame_pulses // 4:
        await trio.sleep(0.1)
        previous, later = later, await encoder.status()
        _demand(later.state is EncoderState.RUNNING, f"stopped by itself: {later}")
        _demand(later.pulses > previous.pulses, f"no pulses between {previous} and {later}")
    most = (trio.current_time() - start_s + 0.5) * plan.pulse_rate_hz
    _demand(later.pulses <= most, f"{later.pulses} pulses, but at most {most:.0f} had time")
    _demand(later.block == 0, f"after the preamble comes block 0, not {later}")


async def check_time_tagger(tagger: TimeTagger, *, seconds: float = 1.0) -> TagBlock:
    """Check a time tagger, lit or dark; returns all the tags of its last acquisition."""
    await _check_identity(tagger.identity)
    with trio.fail_after(2 * (seconds + CALL_TIMEOUT_S)):
        await _acquire(tagger, seconds=0.1)
        return await _acquire(tagger, seconds=seconds)


async def _acquire(tagger: TimeTagger, *, seconds: float) -> TagBlock:
    blocks: list[TagBlock] = []
    await tagger.start()
    try:
        await _refuses(tagger.start(), RuntimeError, "a second start")
        start_s = trio.current_time()
        while trio.current_time() - start_s < seconds:
            with trio.move_on_after(CUT_AFTER_S):
                blocks.append(await tagger.read())
            with trio.fail_after(READ_TIMEOUT_S):  # dark or not, time goes on
                blocks.append(await tagger.read())
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            blocks.append(await tagger.stop())
    return _check_blocks(blocks)


def _check_blocks(blocks: list[TagBlock]) -> TagBlock:
    until_ps = -1
    for block in blocks:
        times_ps = block.times_ps
        _demand(times_ps.size == block.channels.size, "not one channel for each time")
        _demand(bool(np.all(np.diff(times_ps) >= 0)), "times fall inside a block")
        if times_ps.size:
            _demand(int(times_ps[0]) >= until_ps, "times fall from one block to the next")
            _demand(int(times_ps[-1]) <= block.until_ps, "a tag behind the block's own end")
            _demand(int(block.channels.min()) >= 1, "channels count from 1")
        _demand(block.until_ps >= until_ps, "until_ps falls")
        until_ps = block.until_ps
    return TagBlock(
        times_ps=np.concatenate([block.times_ps for block in blocks]),
        channels=np.concatenate([block.channels for block in blocks]),
        until_ps=until_ps,
        lost=any(block.lost for block in blocks),
    )
