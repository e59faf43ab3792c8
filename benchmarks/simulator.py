"""Cost of the click model per detected click, against its peer: 50 ns, one compiled loop.

The anchor is a geometric-skip simulator of one link (numba, one core; counter RNG, dead time,
jitter, dark counts, afterpulses; 981,517 tags per 1e9 pulses) that was measured at 50 ns a click.
As the anchor is another machine's figure, the cost of one numpy float64 exponential is printed
beside it.
"""

import math
import os
import time

import numpy as np

from drivers.kernels import arrivals, clicks, expand, walk
from drivers.sim.config import Attack, Fibre, Receiver, Source
from drivers.sim.optics.link import OpticalLink, link_seed
from drivers.sim.optics.pulses import PulsePlan

ANCHOR_NS = 50.0
STEP_NS = 10_000_000
N_STEPS = 200
ROUNDS = 3

PLAN = PulsePlan(
    pulse_rate_hz=100_000_000,
    preamble_pulses=5_000_000,
    frame_pulses=10_000_000,
    calibration_pulses=50_000,
    key_threshold=27_525,
    signal_threshold=42_598,
    weak_threshold=19_005,
    weak_ratio=0.38,
    vacuum_ratio=0.002,
    ramp_frames=(20, 40, 80, 160),
)


def lit_link(attack: Attack | None) -> OpticalLink:
    """A default link, 0.5 photons a signal pulse, in a run."""
    link = OpticalLink(Fibre(), Source(), Receiver(), attack, seed=link_seed(7, "a-b"))
    link.laser_power_mw, link.shutter_open = 1.0, True
    link.attenuation_db = 10 * math.log10(link.signal_mu(PLAN.pulse_rate_hz) / 0.5)
    link.encoder.seeds.calibration = bytearray(os.urandom(32))
    link.encoder.seeds.blocks = {block: bytearray(os.urandom(32)) for block in range(16)}
    link.encoder.begin(PLAN, 0)
    return link


def cost_ns(attack: Attack | None = None) -> tuple[float, float]:
    """CPU ns per detected click (best of ROUNDS), and clicks per second of the lab's time."""
    costs, rate_hz = [], 0.0
    for _ in range(ROUNDS):
        link = lit_link(attack)
        link.advance(STEP_NS)
        start_s = time.process_time()
        n = sum(link.advance(step * STEP_NS).times_ps.size for step in range(2, N_STEPS + 2))
        costs.append((time.process_time() - start_s) / n * 1e9)
        rate_hz = n / (N_STEPS * STEP_NS * 1e-9)
    return min(costs), rate_hz


def exponential_ns() -> float:
    rng = np.random.Generator(np.random.Philox(1))
    best_s = math.inf
    for _ in range(50):
        start_s = time.process_time()
        rng.standard_exponential(100_000)
        best_s = min(best_s, time.process_time() - start_s)
    return best_s / 100_000 * 1e9


def main() -> None:
    print(f"one numpy exponential      {exponential_ns():7.1f} ns")
    cases = [
        ("as installed", None, None),
        ("with intercept-resend", None, Attack(kind="intercept-resend", fraction=0.1)),
        ("NumPy twins", "numpy", None),
    ]
    for name, variant, attack in cases:
        for kernel in (arrivals, clicks, expand, walk):
            kernel.force("numpy" if variant else None)
        ns, rate_hz = cost_ns(attack)
        print(
            f"{name:24s} {ns:9.1f} ns/click, {ns / ANCHOR_NS:5.2f} of the anchor's 50 ns, "
            f"{rate_hz / 1e6:.3f} Mclick/s, {ns * rate_hz * 1e-7:5.1f} % of a core "
            f"({expand.backend()}, {clicks.backend()})"
        )
    for kernel in (arrivals, clicks, expand, walk):
        kernel.force(None)


if __name__ == "__main__":
    main()
