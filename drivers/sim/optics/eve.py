"""The eavesdropper: what each attack changes in the light, in the detectors, or before the fibre.

An attack changes what the model draws, and nothing else: no instrument and no host is told. Where
its physics is not in the model (a detector's blinding, a gate), its *effect* on the clicks is.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from drivers.kernels.clicks import RUNG_SCALE
from drivers.kernels.eve import ATTACK_SCALE, Eve
from drivers.sim.config import Attack, Source
from drivers.sim.optics.pulses import Levels

Chances = npt.NDArray[np.float64]

SHIFT_PERIODS = 0.02  # of a time-shift attack: 200 ps of 10 ns
AFTER_GATE_PERIODS = 0.25
UNLIKE = 2.0  # ratio of two detectors' efficiencies where a time-shift attack puts the light
BRIGHT_HZ = 100_000.0  # bright pulses of a dead-time attack at strength 1


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The light of a plan as it would be without her."""

    mus: tuple[float, float, float]
    """Mean photons at the fibre's input, by intensity."""

    per_signal: float
    """Mean detections of a signal pulse."""

    best: float
    """Chance to detect a photon that she brings to the receiver without loss."""

    ports: Chances
    """(4, 4) shares of a photon's light; see port_chances."""

    key_basis_share: float
    period_ps: float

    @property
    def levels(self) -> tuple[float, ...]:
        """Light by intensity, of the signal's."""
        return tuple(mu / self.mus[0] if self.mus[0] else 0.0 for mu in self.mus)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the click kernels draw."""

    per_pulse: float
    """Candidates, on average."""

    rungs: npt.NDArray[np.uint64]
    eve: Eve | None


def scene_with(light: Light, attack: Attack | None) -> Scene:
    """The light as it arrives, with her in the fibre or not."""
    honest = rates(light.levels, light.ports)
    hers, resends, one_each, shift_ps = honest, False, False, 0.0
    match None if attack is None else attack.kind:
        case "intercept-resend":
            resends = True
        case "photon-number-splitting":
            sent = [more_than_one(mu) for mu in light.mus]
            hers, one_each = rates(relative(light, sent), light.ports), True
        case "blinding-naive":
            sent = [-math.expm1(-mu) for mu in light.mus]
            hers, one_each = rates(relative(light, sent), light.ports), True
        case "blinding-careful":
            one_each = True
        case "time-shift":
            hers = honest * np.array([1.0, 1.0 / UNLIKE, 1.0, 1.0 / UNLIKE])
            shift_ps = SHIFT_PERIODS * light.period_ps
        case "after-gate":
            hers, resends, one_each = rates(light.levels, matched(light)), True, True
            shift_ps = AFTER_GATE_PERIODS * light.period_ps
        case _:  # nothing, or not in the fibre
            return drawn(light.per_signal, honest, honest, None)
    eve = Eve(
        attacked_below=round(attack.fraction * ATTACK_SCALE) if attack else 0,
        rungs=rungs(hers),
        resends=resends,
        one_each=one_each,
        shift_ps=shift_ps,
    )
    return drawn(light.per_signal, honest, hers, eve)


def drawn(per_signal: float, honest: Chances, hers: Chances, eve: Eve | None) -> Scene:
    """As many candidates as the brightest state needs, and the rungs that thin them."""
    brightest = max(1.0, float(honest.sum(1).max()), float(hers.sum(1).max()))
    if eve is not None:
        eve = replace(eve, rungs=rungs(hers / brightest))
    return Scene(per_signal * brightest, rungs(honest / brightest), eve)


def rates(levels: tuple[float, ...], ports: Chances) -> Chances:
    """(16, 4) detections by state and detector, in those of a signal pulse.

    States are ``bit | basis << 1 | intensity << 2``; intensity 3 does not occur.
    """
    return np.concatenate([level * ports for level in levels] + [np.zeros((4, 4))])


def rungs(chances: Chances) -> npt.NDArray[np.uint64]:
    """Rising ends of the throw's ranges that mean detector 0..3, rounded to 2**-32."""
    return np.rint(np.cumsum(chances, axis=1) * RUNG_SCALE).astype(np.uint64)


def relative(light: Light, sent: list[float]) -> tuple[float, ...]:
    """Levels that make single clicks where she sends a photon on with a chance of ``sent``.

    She brings it to the receiver over a line so good that a signal pulse clicks as often as
    without her, or over one without loss if that is not enough.
    """
    if not (light.per_signal and sent[0]):
        return (0.0, 0.0, 0.0)
    arrives = min(-math.expm1(-light.per_signal) / sent[0], light.best)
    return tuple(-math.log1p(-arrives * chance) / light.per_signal for chance in sent)


def more_than_one(mu: float) -> float:
    """Chance of two photons or more."""
    return -math.expm1(-mu) - mu * math.exp(-mu)


def matched(light: Light) -> Chances:
    """Bright light that clicks only in the basis that it was sent in.

    Her basis is even and the receiver's is not: she makes up for that by intensity.
    """
    shares = (light.key_basis_share, 1.0 - light.key_basis_share)
    ports = np.zeros((4, 4))
    for state in range(4):
        basis = state >> 1
        mine = slice(2 * basis, 2 * basis + 2)
        ports[state, mine] = light.ports[state, mine] / light.ports[state, mine].sum()
        ports[state, mine] *= 2.0 * shares[basis]
    return ports


def power_factor(attack: Attack | None) -> float:
    """What light sent into the laser makes of its power."""
    return 1.0 + attack.fraction if attack is not None and attack.kind == "laser-seeding" else 1.0


def blinded_share(attack: Attack | None) -> float:
    """Share of the time in which bright light keeps the detectors blind."""
    blinds = attack is not None and attack.kind in ("blinding-naive", "blinding-careful")
    return attack.fraction if attack is not None and blinds else 0.0


def level_errors(source: Source, attack: Attack | None) -> Levels:
    """What each intensity truly is over what the encoder was told: its modulator may drift."""
    drifts = attack is not None and attack.kind == "intensity-drift"
    weak = source.weak_error * (1.0 + attack.fraction if attack is not None and drifts else 1.0)
    return (1.0, weak, source.vacuum_error)


def splitter_share(share: float, attack: Attack | None) -> float:
    """The receiver's only dice of its own: the share of its splitter that goes to the key basis."""
    if attack is None or attack.kind != "qrng-bias":
        return share
    return share + attack.fraction * (1.0 - share)


def darks_left(attack: Attack | None) -> float:
    """Share of the dark counts that blinded detectors still have."""
    return 1.0 - attack.fraction if attack is not None and attack.kind == "blinding-naive" else 1.0


def bright_pulses(
    attack: Attack | None, step_ps: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Keys of a dead-time attack: bright pulses that three of the four detectors see at once."""
    if attack is None or attack.kind != "dead-time":
        return np.empty(0, np.int64)
    n = int(rng.poisson(attack.fraction * BRIGHT_HZ * step_ps * 1e-12))
    times_ps = np.sort(rng.integers(0, max(1, step_ps), n))
    spared = rng.integers(0, 4, n)
    seen = np.array([[d for d in range(4) if d != s] for s in range(4)])[spared]
    keys: npt.NDArray[np.int64] = (times_ps[:, None] * 4 + seen).ravel()
    return keys


def disturbed_qber(qber: float, fraction: float) -> float:
    """Error fraction, the same in both bases, that intercept-resend makes of ``qber``.

    Half of the attacked pulses were measured in the other basis and then give an even bit:
    q (1 - f/2) + f/4 (docs of the attack: f/4 on top of a small q).
    """
    return qber * (1.0 - fraction / 2.0) + fraction / 4.0
