"""Cascade beside the LDPC codes, both ends whole: disclosure, round trips, speed, and key left.

    python -m benchmarks.cascade [--frames N] [--qber 0.01 ...] [--rtt-ms MS] [--seed N]

For each QBER a line for the codes and one for each point of Cascade: f one way (what Alice says)
and both ways, round trips of the block, frames disclosed whole, sifted bits per second of thread
CPU time of each end, and what is left of a sifted bit after both ways are paid and after the phase
error's h(QBER + 0.5 %), single photons alone: "key". "wait" is the time that the words of a block
spend on their way at the given round trip time.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from benchmarks.stopwatch import CpuTime
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.ends import alice_end, bob_end
from qkdd.reconcile.ledger import entropy
from qkdd.reconcile.settings import ReconcileSettings

METHODS = {
    "ldpc": ReconcileSettings(),
    "few-rounds": ReconcileSettings(method="cascade"),
    "short": ReconcileSettings(method="cascade", cascade_point="short"),
}
PHASE_ABOVE = 0.005


@dataclass
class Measured:
    """One block reconciled by one method."""

    f_one_way: float
    f_both_ways: float
    round_trips: int
    lost: int
    alice_s: float
    bob_s: float
    n_bits: int

    def key_share(self, qber: float) -> float:
        left = 1 - entropy(qber + PHASE_ABOVE) - self.f_both_ways * entropy(qber)
        return max(0.0, left)


def measure(qber: float, n_frames: int, settings: ReconcileSettings, seed: int) -> Measured:
    """Reconcile one block; every message of one direction that needs no answer shares a trip."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, n_frames * FRAME_BITS, np.uint8)
    wrong = bits ^ (rng.random(bits.size) < qber).astype(np.uint8)
    actual = float(np.mean(bits != wrong))
    alike = np.zeros(bits.size, np.uint8)
    alice = alice_end(1, bits, alike, qber, settings, rng.bytes)
    bob = bob_end(1, wrong, alike, settings)
    of_alice, of_bob = CpuTime(), CpuTime()
    to_bob: Iterable[msgspec.Struct] = of_alice(lambda: list(alice.start()))
    trips = 0
    while to_bob:
        answers = [a for m in to_bob for a in of_bob(lambda m=m: bob.receive(m))]
        to_bob = [r for a in answers for r in of_alice(lambda a=a: alice.receive(a))]
        trips += 1
    assert alice.result is not None
    assert alice.result.ok
    assert np.array_equal(bits, wrong)
    assert alice.ledger == bob.ledger
    return Measured(
        f_one_way=alice.ledger.f_one_way(actual),
        f_both_ways=alice.ledger.f_both_ways(actual),
        round_trips=trips,
        lost=alice.ledger.lost // FRAME_BITS,
        alice_s=of_alice.seconds,
        bob_s=of_bob.seconds,
        n_bits=bits.size,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--qber", type=float, nargs="+", default=[0.01, 0.02, 0.03, 0.05])
    parser.add_argument("--rtt-ms", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(
        "  QBER  method      f 1-way  f 2-way  trips   wait ms  lost  Alice Mb/s  Bob Mb/s    key"
    )
    for qber in options.qber:
        for name, settings in METHODS.items():
            it = measure(qber, options.frames, settings, options.seed)
            print(
                f"{qber:6.1%}  {name:10}  {it.f_one_way:7.4f}  {it.f_both_ways:7.4f}  "
                f"{it.round_trips:5d}  {it.round_trips * options.rtt_ms:8.1f}  {it.lost:4d}  "
                f"{it.n_bits / it.alice_s / 1e6:10.1f}  {it.n_bits / it.bob_s / 1e6:8.1f}  "
                f"{it.key_share(qber):5.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
