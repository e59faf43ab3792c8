"""What every state encoder must do."""

import trio

from drivers.conformance.demands import CALL_TIMEOUT_S, CUT_AFTER_S, check_identity, demand, refuses
from drivers.encoder import Encoder, EncoderPlan, EncoderState, EncoderStatus
from drivers.errors import Refused

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


VACUUM = 2
"""The last of the levels that an encoder can show."""


async def check_encoder(encoder: Encoder, plan: EncoderPlan = SMALL_PLAN) -> None:
    """Check a state encoder; it emits for about half a second."""
    try:
        with trio.fail_after(CALL_TIMEOUT_S):
            await check_identity(encoder.identity)
            await encoder.stop()
            await encoder.configure(plan)
            status = await encoder.status()
            demand(status.state is EncoderState.IDLE, f"configured, but {status}")
            demand(status.n_seeds == 0, f"seeds outlived a configuration: {status}")
            await _check_showing(encoder, plan)
            await refuses(encoder.start(1), Refused, "a start without seeds")
            await encoder.load_seed(None, bytes(range(32)))
            await refuses(encoder.start(1), Refused, "a start without the seed of block 0")
            await encoder.load_seed(0, bytes(range(32, 64)))
            await refuses(encoder.load_seed(0, bytes(32)), Refused, "another seed for block 0")
            await refuses(encoder.load_seed(1, bytes(31)), ValueError, "a seed of 31 bytes")
            await encoder.show(VACUUM)  # and start without a stop: the seeds are still there
            await encoder.start(7)
            await _check_emission(encoder, plan)
            await encoder.stop()
            status = await encoder.status()
            demand(status.state is EncoderState.IDLE, f"stopped, but {status}")
            demand(status.n_seeds == 0, f"seeds outlived a stop: {status}")
            await refuses(encoder.start(8), Refused, "a start after the seeds were wiped")
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await encoder.stop()


async def _check_showing(encoder: Encoder, plan: EncoderPlan) -> None:
    """Each level in turn; it ends idle."""
    for level in range(VACUUM + 1):
        await encoder.show(level)
        status = await encoder.status()
        demand(status.state is EncoderState.SHOWING, f"shows level {level}, but {status}")
        demand(status.block is None, f"a level belongs to no block, but {status}")
    await refuses(encoder.show(VACUUM + 1), ValueError, f"level {VACUUM + 1}")
    await refuses(encoder.configure(plan), Refused, "a configuration while it shows a level")
    await refuses(encoder.start(1), Refused, "a start without seeds while it shows a level")
    status = await encoder.status()
    demand(status.state is EncoderState.SHOWING, f"what is refused changes nothing, but {status}")
    await encoder.stop()
    status = await encoder.status()
    demand(status.state is EncoderState.IDLE, f"stopped showing, but {status}")


async def _check_emission(encoder: Encoder, plan: EncoderPlan) -> None:
    start_s = trio.current_time()
    first = await encoder.status()
    demand(first.state is EncoderState.RUNNING, f"started, but {first}")
    demand(first.run == 7, f"run 7 started, but {first}")
    await refuses(encoder.show(VACUUM), Refused, "a level while running")
    with trio.move_on_after(CUT_AFTER_S):
        await encoder.status()
    await refuses(encoder.configure(plan), Refused, "a configuration while running")
    later = first
    while later.pulses < plan.preamble_pulses + plan.frame_pulses // 4:
        await trio.sleep(0.1)
        previous, later = later, await encoder.status()
        demand(later.state is EncoderState.RUNNING, f"stopped by itself: {later}")
        demand(later.pulses > previous.pulses, f"no pulses between {previous} and {later}")
    await _check_status_before(encoder, later)
    most = (trio.current_time() - start_s + 0.5) * plan.pulse_rate_hz
    demand(later.pulses <= most, f"{later.pulses} pulses, but at most {most:.0f} had time")
    demand(later.block == 0, f"after the preamble comes block 0, not {later}")


async def _check_status_before(encoder: Encoder, seen: EncoderStatus) -> None:
    before = await encoder.status_before()
    demand(before is None, f"nothing was asked before, but {before}")
    await trio.sleep(0.1)
    middle = await encoder.status()
    before = await encoder.status_before()
    demand(before is None, f"the status was asked for in between, but {before}")
    await trio.sleep(0.1)
    before = await encoder.status_before()
    demand(before is not None, "no answer to the question before")
    assert before is not None
    demand(before.run == seen.run, f"run {seen.run}, but {before}")
    demand(before.pulses >= middle.pulses, f"{before} was asked for after {middle}")
    after = await encoder.status()
    demand(after.pulses > before.pulses, f"{before} was asked for before {after}")
