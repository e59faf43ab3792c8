"""CPU time per tag from time tags to detected frames, and the kernel against its NumPy twin.

The peer is 1 Mtag/s in TagBlocks of 10 and 50 ms; the limit of one core is 1000 ns per tag there.
"""

import time

import numpy as np

from drivers.tags import TagBlock
from qkdd.base.light import LightPlan
from qkdd.frames.clock import PulseClock
from qkdd.frames.receiver import LightReceiver
from qkdd.frames.settings import FrameSettings
from qkdd.kernels import assign as kernel

PLAN = LightPlan()
SECONDS = 4
TAG_HZ = 1_000_000
CHANNELS = {1: 0, 2: 1, 3: 2, 4: 3}


def states(pulses: np.ndarray) -> np.ndarray:
    """State codes by a cheap mix of the pulse number; the AES of the real ones is not timed."""
    x = pulses.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(29)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    return ((x >> np.uint64(40)) & np.uint64(3)).astype(np.uint8)


def light() -> tuple[np.ndarray, np.ndarray]:
    """Tags of a run on 2 ns ticks, 7 ppm off; every click in the basis of its pulse."""
    rng = np.random.default_rng(1)
    pulses = np.unique(rng.integers(0, SECONDS * PLAN.pulse_rate_hz, SECONDS * TAG_HZ))
    arrival = 55_123_456_789 + pulses * 10_000.07 + rng.normal(0, 150, pulses.size)
    return arrival.astype(np.int64) // 2_000 * 2_000, states(pulses) + np.uint8(1)


def receiver_ns(times: np.ndarray, channels: np.ndarray, block_ms: int) -> float:
    receiver = LightReceiver(PLAN, FrameSettings(), CHANNELS, np.random.default_rng(2).bytes)
    receiver.hunt(states)
    edges = np.arange(0, times[-1], block_ms * 10**9)
    cuts = np.searchsorted(times, edges)
    blocks = [
        TagBlock(times[a:b], channels[a:b], int(until))
        for a, b, until in zip(cuts[:-1], cuts[1:], edges[1:], strict=True)
    ]
    begin = time.process_time_ns()
    n_events = sum(len(receiver.feed(block)) for block in blocks)
    spent = time.process_time_ns() - begin
    assert n_events >= 2 * 10 * (SECONDS - 1), "the receiver did not lock"
    return spent / cuts[-1]


def kernel_ns(times: np.ndarray, detectors: np.ndarray, name: kernel.Backend) -> float:
    kernel.force(name)
    clock = PulseClock(0, int(times[0]), 0.0, 10_000.07)
    best = float("inf")
    for _ in range(5):
        begin = time.process_time_ns()
        n_tags, last_ps = 0, kernel.NEVER_PS
        for window in range(100):
            start = clock.at(window * 1_000_000)
            found = kernel.assign(
                times[n_tags:], detectors[n_tags:], anchor_ps=start.anchor_ps,
                fraction_ps=start.fraction_ps, period_ps=start.period_ps, n_slots=1_000_000,
                dead_time_ps=40_000, gate_ps=4_000, last_ps=last_ps,
            )  # fmt: skip
            n_tags, last_ps = n_tags + found.n_tags, found.last_ps
        best = min(best, (time.process_time_ns() - begin) / n_tags)
    kernel.force(None)
    return best


def main() -> None:
    times, channels = light()
    twin = kernel_ns(times, channels - np.uint8(1), "numpy")
    print(f"kernel, NumPy twin     {twin:7.1f} ns per tag")
    if kernel.lib is not None:
        native = kernel_ns(times, channels - np.uint8(1), "native")
        print(f"kernel, C              {native:7.1f} ns per tag, {twin / native:.1f} times as fast")
    for block_ms in (10, 50):
        spent = min(receiver_ns(times, channels, block_ms) for _ in range(3))
        share = spent * TAG_HZ * 1e-9
        print(
            f"receiver, {block_ms} ms blocks {spent:7.1f} ns per tag "
            f"({kernel.backend()} kernel; {share:.1%} of a core at 1 Mtag/s)"
        )
        kernel.force("numpy")
        other = receiver_ns(times, channels, block_ms)
        kernel.force(None)
        print(f"receiver, NumPy twin   {other:7.1f} ns per tag, ratio {other / spent:.1f}")


if __name__ == "__main__":
    main()
