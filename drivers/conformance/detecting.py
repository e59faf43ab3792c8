"""What every controller of single-photon detectors must do."""

import math
from collections.abc import Sequence

import trio

from drivers.conformance.demands import (
    CALL_TIMEOUT_S,
    check_identity,
    check_survives_a_cut,
    demand,
    refuses,
)
from drivers.detector import Detector, DetectorCounts
from drivers.errors import Refused

ABSURD_UA = 1e6
PERIOD_MS = 50
COLDEST_K, WARMEST_K = 0.01, 400.0


async def check_detector(
    detector: Detector, *, bias_ua: Sequence[float], enable: bool = True
) -> DetectorCounts | None:
    """Check detectors, lit or dark, at ``bias_ua``; returns their last counts while enabled.

    With ``enable`` false they never get a bias. They end without one, at `PERIOD_MS`.
    """
    counts = None
    try:
        with trio.fail_after(4 * CALL_TIMEOUT_S):
            await check_identity(detector.identity)
            await detector.set_enabled(on=False)
            demand(not (await detector.status()).enabled, "disabled, but enabled")
            await _check_bias(detector, bias_ua)
            await detector.set_period_ms(PERIOD_MS)
            await refuses(detector.set_period_ms(0), ValueError, "a period of 0 ms")
            kelvin = await detector.temperature_k()
            demand(COLDEST_K < kelvin < WARMEST_K, f"a temperature of {kelvin} K")
            if enable:
                await detector.set_enabled(on=True)
                counts = await _check_counts(detector, len(bias_ua))
                demand((await detector.status()).enabled, "enabled, but disabled")
            await check_survives_a_cut(detector.identity)
            with trio.move_on_after(0.001):
                await detector.status()
            demand((await detector.status()).enabled is enable, "a cancelled query spoilt the next")
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True):
            await detector.set_enabled(on=False)
            demand(not (await detector.status()).enabled, "disabled, but enabled")
            await detector.set_bias_ua(bias_ua)  # whatever became of the absurd one
    return counts


async def _check_bias(detector: Detector, bias_ua: Sequence[float]) -> None:
    found = await detector.status()
    n_detectors = len(found.bias_ua)
    demand(n_detectors == len(bias_ua), f"{n_detectors} detectors, not {len(bias_ua)}")
    demand(len(found.bias_voltage) == len(found.trigger_mv) == n_detectors, f"uneven: {found}")
    await detector.set_trigger_mv(found.trigger_mv)
    await detector.set_bias_ua(bias_ua)
    await refuses(detector.set_bias_ua(bias_ua[1:]), ValueError, "a bias too few")
    for wrong in (math.nan, math.inf):
        some_ua = [wrong, *bias_ua[1:]]
        await refuses(detector.set_bias_ua(some_ua), ValueError, f"a bias of {wrong}")
    some_ua = [ABSURD_UA, *bias_ua[1:]]
    await refuses(detector.set_bias_ua(some_ua), Refused, f"a bias of {ABSURD_UA} uA")
    kept = await detector.status()
    near = [abs(one - other) <= 0.2 for one, other in zip(kept.bias_ua, bias_ua, strict=True)]
    demand(all(near), f"a refused bias left {kept.bias_ua}, not {bias_ua}")
    demand(not kept.enabled, "setting a bias enabled the detectors")


async def _check_counts(detector: Detector, n_detectors: int) -> DetectorCounts:
    first = await detector.counts()
    with trio.move_on_after(0.001):
        await detector.counts()
    last = await detector.counts()
    demand(last.time_s > first.time_s, f"time stands still between {first} and {last}")
    for counts in (first, last):
        demand(counts.period_ms == PERIOD_MS, f"{counts}, not of {PERIOD_MS} ms")
        demand(len(counts.counts) == n_detectors, f"{counts}, not of {n_detectors} detectors")
    return last
