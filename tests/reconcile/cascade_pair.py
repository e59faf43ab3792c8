"""A pair of Cascade machines, and a wire that counts round trips and may do harm."""

from collections.abc import Callable

import msgspec
import numpy as np

from qkdd.reconcile.cascade_alice import CascadeAlice
from qkdd.reconcile.cascade_bob import CascadeBob
from qkdd.reconcile.cascade_plan import stages
from qkdd.reconcile.cascade_walk import place
from qkdd.reconcile.settings import ReconcileSettings

FEW = ReconcileSettings(method="cascade")
SHORT = ReconcileSettings(method="cascade", cascade_point="short")

Harm = Callable[[msgspec.Struct], list[msgspec.Struct]]


def hiding_pair(depth: int, qber_ppm: int, options: ReconcileSettings) -> tuple[int, int]:
    """Two bits of a frame that lie in one block in every pass: as errors they stay unseen."""
    seen: dict[tuple[int, ...], int] = {}
    sizes = [size for stage in stages(qber_ppm, depth, options) for size in stage]
    blocks = [place(pass_no, depth) >> size for pass_no, size in enumerate(sizes)]
    for bit, key in enumerate(zip(*(column.tolist() for column in blocks), strict=True)):
        if key in seen:
            return seen[key], bit
        seen[key] = bit
    raise AssertionError("no two bits hide")


class Pair:
    """Alice and Bob on one block of which Bob has each bit wrong with probability ``qber``.

    Those of ``wrong_at`` he has wrong in any case.
    """

    def __init__(
        self,
        n_bits: int,
        qber: float,
        *,
        estimate: float | None = None,
        seed=1,
        options=FEW,
        wrong_at: tuple[int, ...] = (),
    ) -> None:
        rng = np.random.default_rng(seed)
        self.bits = rng.integers(0, 2, n_bits, np.uint8)
        noise = rng.random(n_bits) < qber
        noise[list(wrong_at)] = True
        self.wrong = self.bits ^ noise.astype(np.uint8)
        intensities = rng.choice(3, n_bits, p=[0.8, 0.18, 0.02]).astype(np.uint8)
        counted = np.bincount(intensities[self.bits != self.wrong], minlength=3)
        self.true_errors = tuple(int(n) for n in counted)
        guess = qber if estimate is None else estimate
        self.alice = CascadeAlice(7, self.bits, intensities, guess, options, rng.bytes)
        self.bob = CascadeBob(7, self.wrong, intensities, options)
        self.round_trips = 0
        self.said: list[msgspec.Struct] = []

    def run(self, to_bob: list | None = None, harm: Harm = lambda message: [message]) -> None:
        """Carry messages until nobody says anything; ``harm`` is what the wire makes of each."""
        to_bob = list(self.alice.start()) if to_bob is None else to_bob
        while to_bob:
            arrived = [one for message in to_bob for one in harm(message)]
            self.said += arrived
            answers = [answer for message in arrived for answer in self.bob.receive(message)]
            self.round_trips += 1
            arrived = [one for answer in answers for one in harm(answer)]
            self.said += arrived
            to_bob = [reply for answer in arrived for reply in self.alice.receive(answer)]
