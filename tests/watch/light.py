"""Honest and attacked light at a passive receiver, pulse by pulse: the monitors' own laboratory.

Written for these tests from the textbook, sharing nothing with the click model or the monitors:
Photons, one by one, on four threshold detectors behind a splitter, no dead time, no clock.
"""

from dataclasses import dataclass

import numpy as np

from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensities
from qkdd.watch.sight import Sight, Tally

KEY_SHARE = 0.84
ERROR = 0.01
MIX = Intensities()
PULSE_S = 1e-8
BRIGHT_DETECTIONS = 3.0


@dataclass
class Light:
    """What happens to the light on its way; nothing, unless changed."""

    per_photon: float = 0.06
    """Chance that a photon of a pulse is detected."""
    efficiency: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    blinded: float = 0.0
    """Share of the pulses that are replaced by faked states: one detector, in Eve's basis."""
    split: float = 0.0
    """Share of the single-photon pulses that are blocked."""
    bright: float = 0.0
    """Share of the pulses in which so much more arrives that three detections are due."""
    errors: tuple[float, float] = (ERROR, ERROR)
    """By basis: a turned polarisation."""
    dark_hz: float = 400.0
    """Of all detectors, outside of the gate too."""


def look(light: Light, n_pulses: int, rng: np.random.Generator) -> Sight:
    """Sift one block of ``n_pulses``."""
    intensity = rng.choice(3, n_pulses, p=MIX.probabilities)
    basis = (rng.random(n_pulses) >= MIX.key_basis_share).astype(np.int64)
    bit = rng.integers(0, 2, n_pulses)
    photons = rng.poisson(np.array(MIX.mus)[intensity])
    photons[(photons == 1) & (rng.random(n_pulses) < light.split)] = 0
    photons += round(BRIGHT_DETECTIONS / light.per_photon) * (rng.random(n_pulses) < light.bright)
    fired = np.zeros((n_pulses, 4), bool)
    lit = np.flatnonzero(photons)
    chances = np.zeros((lit.size, 5))
    for detector in range(4):
        seen, out = divmod(detector, 2)
        error = light.errors[seen]
        right = np.where(bit[lit] == out, 1 - error, error)
        port = np.where(basis[lit] == seen, right, 0.5)
        share = (KEY_SHARE, 1 - KEY_SHARE)[seen]
        chances[:, detector] = light.per_photon * share * port * light.efficiency[detector]
    chances[:, 4] = 1 - chances[:, :4].sum(axis=1)
    fired[lit] = rng.multinomial(photons[lit], chances)[:, :4] > 0  # each photon goes one way
    faked = np.flatnonzero(rng.random(n_pulses) < light.blinded)
    _fake(fired, faked, intensity, light, rng)
    return _sift(fired, intensity, basis, bit, n_pulses, light, rng)


def _fake(fired, faked, intensity, light, rng) -> None:
    """A faked state clicks in one detector, in the basis that Eve used, as often as light would."""
    fired[faked] = False
    mean = np.array(MIX.mus)[intensity[faked]] * light.per_photon
    hit = faked[rng.random(faked.size) < -np.expm1(-mean)]
    eve_basis = (rng.random(hit.size) >= KEY_SHARE).astype(np.int64)
    fired[hit, 2 * eve_basis + rng.integers(0, 2, hit.size)] = True


def _sift(fired, intensity, basis, bit, n_pulses, light, rng) -> Sight:
    n_fired = fired.sum(axis=1)
    cross = fired[:, :2].any(axis=1) & fired[:, 2:].any(axis=1)
    double = (n_fired > 1) & ~cross
    clicked = np.flatnonzero(n_fired)
    chosen = np.argmax(fired[clicked] * rng.random((clicked.size, 4)), axis=1)
    seen, out = chosen // 2, chosen % 2
    same = seen == basis[clicked]
    wrong = same & (out != bit[clicked])
    by = [
        [np.bincount(intensity[clicked][same & (seen == b)], minlength=3) for b in (0, 1)],
        [np.bincount(intensity[clicked][wrong & (seen == b)], minlength=3) for b in (0, 1)],
    ]
    counts = DecoyCounts(
        key=tuple(by[0][0].tolist()),
        test=tuple(by[0][1].tolist()),
        test_errors=tuple(by[1][1].tolist()),
        key_errors=tuple(by[1][0].tolist()),
    )
    tally = Tally()
    seconds = n_pulses * PULSE_S
    tally.add(
        chosen.astype(np.uint8),
        n_double=int(double.sum()),
        n_cross=int(cross.sum()),
        n_out_of_gate=int(rng.poisson(light.dark_hz * seconds * 0.6 * (1 - light.blinded))),
        n_dead=0,
    )
    return tally.sight(counts, n_pulses=n_pulses, seconds=seconds, gate_share=0.4, dead_time_s=0.0)
