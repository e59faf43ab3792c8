"""Reconciliation, both ends whole: efficiency, lost frames, rounds and speed per core.

``python -m benchmarks.reconcile [--point tight] [--frames N] [--qber 0.01 ...] [--margin M]``

f counts every disclosed bit (checks, verdicts, hash and counts too). The limit is the normal
approximation of a fixed-rate one-way code at frame error rate 1e-2: f_min = 1 + Q^-1(1e-2) *
sqrt(v / n) / h(q), v = q (1 - q) log2((1-q)/q)^2 (Polyanskiy, Poor, Verdu 2010, theorem 52,
doi:10.1109/TIT.2010.2043769; Tomamichel et al. 2017, doi:10.1007/s11128-017-1709-5). Speeds are
sifted key bits per second of thread CPU time.
"""

import argparse
from collections.abc import Iterable
from math import log2, sqrt

import numpy as np

from benchmarks.stopwatch import CpuTime
from qkdd.kernels import ldpc
from qkdd.reconcile import tight
from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.ledger import entropy
from qkdd.reconcile.settings import ReconcileSettings

QUANTILE = 2.326347874  # of the normal distribution at 1e-2


def limit(qber: float, frame_bits: int = FRAME_BITS) -> float:
    """Return the smallest f of a one-way fixed-rate code on one frame."""
    spread = sqrt(qber * (1 - qber) / frame_bits) * log2((1 - qber) / qber)
    return 1 + QUANTILE * spread / entropy(qber)


def measure(qber: float, n_frames: int, options: ReconcileSettings, seed: int) -> str:
    """Reconcile one block of ``n_frames`` and return its line of the table."""
    rng = np.random.default_rng(seed)
    frame_bits = tight.FRAME_BITS if options.ldpc_point == "tight" else FRAME_BITS
    bits = rng.integers(0, 2, n_frames * frame_bits, np.uint8)
    wrong = bits ^ (rng.random(bits.size) < qber).astype(np.uint8)
    intensities = np.zeros(bits.size, np.uint8)
    alice = AliceReconciler(1, bits, intensities, qber, options, rng.bytes)
    bob = BobReconciler(1, wrong, intensities, options)
    alice_time, bob_time = CpuTime(), CpuTime()
    messages = alice.start()
    while (syndromes := alice_time(lambda: next(messages, None))) is not None:
        to_bob: Iterable = [syndromes]
        while to_bob:
            answers = [a for m in to_bob for a in bob_time(lambda m=m: bob.receive(m))]
            to_bob = [r for a in answers for r in alice_time(lambda a=a: alice.receive(a))]
    assert alice.result is not None
    assert alice.result.ok
    assert np.array_equal(bits, wrong)
    assert alice.ledger == bob.ledger
    ledger = alice.ledger
    f, share = ledger.f_both_ways(qber), ledger.f_both_ways(qber) / limit(qber, frame_bits)
    return (
        f"{qber:7.3%}  {ledger.f_one_way(qber):7.4f}  {f:7.4f}  {share:6.3f}  "
        f"{ledger.lost // frame_bits:4d}/{n_frames}  {(ledger.verdict - 1) / n_frames:6.3f}  "
        f"{bits.size / bob_time.seconds / 1e6:8.1f}  {bits.size / alice_time.seconds / 1e6:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", choices=("fast", "tight"), default="fast")
    parser.add_argument("--frames", type=int, help="default: 10 million bits")
    parser.add_argument("--qber", type=float, nargs="+", default=[0.01, 0.02, 0.03, 0.05])
    parser.add_argument("--margin", type=float, default=ReconcileSettings().margin)
    parser.add_argument("--spread", type=float, default=ReconcileSettings().spread)
    parser.add_argument("--iterations", type=int, default=ReconcileSettings().max_iterations)
    parser.add_argument("--backend", choices=ldpc.backends())
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ldpc.force(options.backend)
    settings = ReconcileSettings(
        ldpc_point=options.point,
        margin=options.margin,
        spread=options.spread,
        max_iterations=options.iterations,
    )
    n_frames = options.frames or (160 if options.point == "fast" else 10)
    print(
        f"backend {ldpc.backend()}, margin {settings.margin}, spread {settings.spread}, "
        f"{n_frames} frames ({options.point})"
    )
    print("   QBER  f 1-way  f 2-way  /limit      lost  tries/f  Bob Mb/s  Alice Mb/s")
    for qber in options.qber:
        print(measure(qber, n_frames, settings, options.seed), flush=True)


if __name__ == "__main__":
    main()
