"""What each attack of the laboratory shows to the receiver's monitors, and from which strength on.

    python -m benchmarks.monitors [--km 50] [--seconds 4] [--honest 10] [--seed 1] [--json]

Light, time tagger, frames and sifting of both ends run in one process (no reconciliation: both
ends' bits are compared). For each attack the strength falls step by step from 1; at each step a
block of ``--seconds`` is measured and judged by `qkdd.watch`, with the default tolerances and
without any. "seen from" is the smallest strength at which a monitor speaks within that one block,
which is also the time to detection; "tap" the smallest that the transmitter's power meter sees.
"key then" is the secret length at that strength (at 1 if it is not seen) over the honest one, from
the block's own counts and 1.21 h(QBER) disclosed: where it falls, the length pays; where it does
not, only a monitor stands between Eve and the key. The last line says how many of ``--honest``
blocks without an attack spoke, and what the thresholds promise.

Simulated optics test our code's reaction, not physics.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import get_args, get_type_hints

import numpy as np

from benchmarks.predicted import Setup, demo_setup, with_ramp
from benchmarks.river import River
from drivers.sim.config import Attack
from qkdd.amplify.length import secret_length
from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.ids import BlockNo
from qkdd.frames.events import BlockEnded, DetectedFrame, Event, FrameStartFound, Lost
from qkdd.sift.block import SiftedBlock
from qkdd.sift.bob import BobSifter
from qkdd.watch.monitors import MONITORS, alarms, threshold
from qkdd.watch.settings import WatchSettings
from qkdd.watch.sight import Sight, Tally

ATTACKS: tuple[str, ...] = get_args(get_type_hints(Attack)["kind"])
STRENGTHS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
DEFAULT = WatchSettings(lowest_dark_hz=200.0)
"""The demonstration's detectors have 400 dark counts a second; an operator gives half."""
STRICT = WatchSettings(
    balance_tolerance=0.0, coincidence_tolerance=0.0, weak_tolerance=0.0, lowest_dark_hz=200.0
)
TAP_LIMIT = 0.005
"""A tap that is calibrated to 0.5 % under mu_uncertainty 0.01: see qkdd.station.tap."""
SEEN_BY_THE_TAP = ("laser-seeding", "intensity-drift")
F_BOTH_WAYS = 1.21


@dataclass(frozen=True)
class Look:
    """One block under one attack."""

    sight: Sight
    length: float


@dataclass(frozen=True)
class Verdict:
    """What an attack shows."""

    attack: str
    seen: float | None
    """Smallest strength of the ladder at which a monitor spoke, with the default tolerances."""
    seen_strict: float | None
    """The same without any tolerance."""
    by: tuple[str, ...]
    """Which monitors, at full strength."""
    key_then: float | None
    """Secret length over the honest one at strength ``seen`` (at 1, if it is not seen)."""
    tap: float | None
    """Smallest strength that the transmitter's tap sees."""


class Watched(River):
    """The river as far as sifting, with the monitors' counts gathered on the way."""

    def __init__(self, setup: Setup, *, seed: int) -> None:
        super().__init__(setup, seed=seed, entropy=np.random.default_rng(seed).bytes)
        self._setup = setup
        self._tally = Tally()

    def looks(self) -> Iterator[Look]:
        """Let the light run; sift each block and say what was seen of it."""
        while True:
            tags = self._decoder.feed(self._laboratory.step())
            for event in self._receiver.feed(tags):
                look = self._see(event)
                if look is not None:
                    yield look

    def _see(self, event: Event) -> Look | None:
        match event:
            case FrameStartFound():
                self._locked = True
            case DetectedFrame():
                self._sifter.add(event.slots, event.detectors, event.start)
                self._tally.add(
                    event.detectors,
                    n_double=event.n_double,
                    n_cross=event.n_cross,
                    n_out_of_gate=event.n_out_of_gate,
                    n_dead=event.n_dead,
                )
            case BlockEnded():
                ended, self._sifter = self._sifter, BobSifter(BlockNo(event.block_index + 1))
                tally, self._tally = self._tally, Tally()
                alice, bob = self._sift(event.block_index, ended)
                counts = replace(alice.counts, key_errors=_wrong(alice, bob))
                return self._look(tally, counts, event.block_index)
            case Lost():
                raise RuntimeError(f"the light was lost: {event.reason}")
        return None

    def _look(self, tally: Tally, counts: DecoyCounts, index: int) -> Look:
        plan, frames = self._setup.plan, self._setup.frames
        n_pulses = plan.payload_pulses(index)
        sight = tally.sight(
            counts,
            n_pulses=n_pulses,
            seconds=n_pulses / plan.pulse_rate_hz,
            gate_share=min(1.0, frames.gate_ps / plan.period_ps),
            dead_time_s=frames.dead_time_ps * 1e-12,
        )
        disclosed = math.ceil(F_BOTH_WAYS * counts.n_key * entropy_of(counts.qber_test))
        length = secret_length(
            counts, self._setup.intensities, disclosed, ProofSettings(), n_pulses=n_pulses
        )
        return Look(sight, length.bits)


def _wrong(alice: SiftedBlock, bob: SiftedBlock) -> ByIntensity:
    """What reconciliation would have found."""
    wrong = alice.key_intensities[alice.key_bits != bob.key_bits]
    signal, weak, vacuum = np.bincount(wrong, minlength=3).tolist()
    return signal, weak, vacuum


def entropy_of(q: float) -> float:
    return 0.0 if q <= 0 else -q * math.log2(q) - (1 - q) * math.log2(1 - q)


def said(setup: Setup, look: Look, settings: WatchSettings, block_s: float) -> tuple[str, ...]:
    """Names of the monitors that speak."""
    found = alarms(look.sight, setup.intensities, settings, shortest_block_s=block_s)
    return tuple(one.partition(":")[0] for one in found)


def try_attack(setup: Setup, name: str, honest: float, *, seed: int, block_s: float) -> Verdict:
    seen = strict = None
    by: tuple[str, ...] = ()
    key = 0.0
    for strength in STRENGTHS:
        try:
            attacked = replace(setup, kind=name, fraction=strength)
            look = next(Watched(attacked, seed=seed).looks())
        except RuntimeError:
            continue  # so strong that no light is found: not an attack on a running link
        default = said(setup, look, DEFAULT, block_s)
        if default:
            seen, key, by = strength, look.length / honest, by or default
        elif strength == STRENGTHS[0]:
            key = look.length / honest
        if said(setup, look, STRICT, block_s):
            strict = strength
        elif not default:
            break
    tap = min(s for s in STRENGTHS if s > TAP_LIMIT) if name in SEEN_BY_THE_TAP else None
    return Verdict(name, seen, strict, by, key, tap)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--km", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--honest", type=int, default=10, help="blocks without any attack")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    setup = demo_setup(chosen.km)
    frame_s = setup.plan.frame_pulses / setup.plan.pulse_rate_hz
    setup = with_ramp(setup, round(chosen.seconds / frame_s))
    quiet = Watched(setup, seed=chosen.seed).looks()
    blocks = [next(quiet) for _ in range(chosen.honest)]
    honest = sum(look.length for look in blocks) / len(blocks)
    false = sum(bool(said(setup, look, DEFAULT, chosen.seconds)) for look in blocks)
    verdicts = [
        try_attack(setup, name, honest, seed=chosen.seed, block_s=chosen.seconds)
        for name in ATTACKS
    ]
    z = threshold(DEFAULT, chosen.seconds)
    if chosen.json:
        print(json.dumps({"verdicts": [asdict(one) for one in verdicts], "false": false, "z": z}))
        return
    print("| attack | seen from | without tolerance | tap | key then | by |")
    print("|---|---|---|---|---|---|")
    for one in verdicts:
        names = ", ".join(one.by) or "none"
        print(
            f"| {one.attack} | {one.seen or 'not'} | {one.seen_strict or 'not'} | "
            f"{one.tap or '-'} | {one.key_then:.2f} | {names} |"
        )
    print(
        f"\n{false} of {len(blocks)} honest blocks of {chosen.seconds:g} s spoke; {len(MONITORS)} "
        f"monitors at z = {z:.2f} promise {DEFAULT.alarms_per_year:g} false alarm a year"
    )


if __name__ == "__main__":
    main()
