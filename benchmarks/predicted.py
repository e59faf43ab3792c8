"""What a link of the simulated laboratory should count, by closed formulas, with an attack or not.

No dice, and no code of the click model but the photon's energy and dB: Poisson light through losses
and a passive splitter on to four threshold detectors, dark counts, common dead time, the random
choice for double clicks, and intercept-resend on a share of the pulses. `benchmarks.attack` and
tests/whole_river hold a whole daemon, or the whole river of its machines, to these numbers.

Left out, all below 1e-5 of a count: three clicks that meet in six pulses, and dark counts that
begin a click outside the gate.
"""

import math
from dataclasses import dataclass, field
from itertools import product

import msgspec
import numpy as np

from drivers.sim.config import Attack, Fibre, Receiver, Source
from drivers.sim.optics.fibre import mean_photons, transmittance
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.light import BASIS_SCALE, Intensities, LightPlan
from qkdd.cli.demo import files
from qkdd.frames.settings import FrameSettings

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
TRIPLE = tuple[float, float, float]


@dataclass(frozen=True)
class Setup:
    """One installation, both what the light meets and what the daemons are told.

    The laser and the attenuator stand as the demonstration sets them.
    """

    plan: LightPlan = field(default_factory=LightPlan)
    intensities: Intensities = field(default_factory=Intensities)
    frames: FrameSettings = field(default_factory=FrameSettings)
    fibre: Fibre = field(default_factory=Fibre)
    source: Source = field(default_factory=Source)
    receiver: Receiver = field(default_factory=Receiver)
    fraction: float = 0.0
    """Share of the pulses that an eavesdropper intercepts and resends; or her strength in another
    attack, which nothing is predicted for."""
    kind: str = "intercept-resend"
    laser_ma: float = files.LASER_MA
    attenuation_db: float = field(default_factory=lambda: round(files.attenuation_db(), 3))

    @property
    def attack(self) -> Attack | None:
        table = {"kind": self.kind, "fraction": self.fraction}
        return msgspec.convert(table, Attack) if self.fraction else None

    @property
    def photons(self) -> float:
        """Mean detection events of a signal pulse, over all four detectors."""
        mu = mean_photons(
            self.source.power_mw(self.laser_ma),
            loss_db=self.attenuation_db + self.source.fixed_loss_db,
            pulse_rate_hz=self.plan.pulse_rate_hz,
            wavelength_nm=self.source.wavelength_nm,
        )
        loss_db = self.fibre.loss_db + self.receiver.loss_db
        return mu * transmittance(loss_db) * self.receiver.efficiency


def demo_setup(km: float = 50.0, *, fraction: float = 0.0, misalignment: float = 0.01) -> Setup:
    """Return the installation of ``qkdd demo --km``."""
    loss_db = files.LOSS_DB_PER_KM * km + files.PATCHING_DB
    return Setup(
        fibre=Fibre(length_km=km, loss_db=loss_db, misalignment=misalignment), fraction=fraction
    )


def light_at(setup: Setup, intensity: int, basis: int, bit: int) -> tuple[float, ...]:
    """Mean events at detectors ``basis * 2 + bit`` of a pulse in this state."""
    levels = [mu / setup.intensities.signal_mu for mu in setup.intensities.mus]
    total, error = setup.photons * levels[intensity], setup.fibre.misalignment
    key_share = setup.receiver.key_basis_share
    means = []
    for seen, out in product((0, 1), (0, 1)):
        port = 0.5 if seen != basis else (1.0 - error if out == bit else error)
        means.append(total * (1.0 - key_share if seen else key_share) * port)
    return tuple(means)


def outcome_chances(means: tuple[float, ...], dark: float) -> tuple[float, float, float, float]:
    """Chance that a live pulse ends as detector 0..3, after dice for double and cross clicks."""
    fires = [-math.expm1(-mean - dark) for mean in means]
    ends = [0.0] * 4
    for pattern in product((False, True), repeat=4):
        chance = math.prod(p if hit else 1.0 - p for p, hit in zip(fires, pattern, strict=True))
        bases = [basis for basis in (0, 1) if pattern[2 * basis] or pattern[2 * basis + 1]]
        for basis in bases:
            bits = [bit for bit in (0, 1) if pattern[2 * basis + bit]]
            for bit in bits:
                ends[2 * basis + bit] += chance / len(bases) / len(bits)
    return ends[0], ends[1], ends[2], ends[3]


def live_share(setup: Setup) -> float:
    """Share of the pulses before which the tagger told no event for the common dead time.

    Times are cut to ticks, so a click that was a dead time and a hair ago blinds with the chance
    that jitter pulled the two together over the edge of a tick. Photons at a detector that has not
    recovered are not told and blind nothing.
    """
    period_ps, dead_ps = setup.plan.period_ps, setup.frames.dead_time_ps
    levels = [mu / setup.intensities.signal_mu for mu in setup.intensities.mus]
    probabilities = setup.intensities.probabilities

    def empty(part: float) -> float:
        """Chance that a pulse has no photon at detectors which get ``part`` of the light."""
        chances = (math.exp(-setup.photons * part * level) for level in levels)
        return math.fsum(p * chance for p, chance in zip(probabilities, chances, strict=True))

    spread_ps = math.sqrt(2.0) * setup.receiver.jitter_ps / FWHM_PER_SIGMA
    blinds = [
        blind_chance(back * period_ps - dead_ps, spread_ps, setup.frames.tick_ps)
        for back in range(1, math.ceil(dead_ps / period_ps) + 2)
    ]
    share = math.exp(-4.0 * setup.receiver.dark_hz * dead_ps * 1e-12)
    share *= math.prod(1.0 - blind * (1.0 - empty(1.0)) for blind in blinds)
    key_share = setup.receiver.key_basis_share
    for part in (key_share / 2, key_share / 2, (1.0 - key_share) / 2, (1.0 - key_share) / 2):
        # Of one detector, told events are a recovery apart: two in one dead time are impossible.
        hit = 1.0 - empty(part)
        told = hit / (1.0 + hit * recovering_pulses(setup, spread_ps))
        share *= 1.0 - sum(blinds) * told
        share /= math.prod(1.0 - blind * hit for blind in blinds)
    return share


def recovering_pulses(setup: Setup, spread_ps: float) -> float:
    """Mean number of pulses for which a detector is blind after its click."""
    period_ps, recovery_ps = setup.plan.period_ps, setup.receiver.recovery_ns * 1e3
    total = 0.0
    for back in range(1, math.ceil(recovery_ps / period_ps) + 2):
        over_ps = back * period_ps - recovery_ps
        if spread_ps:
            total += 0.5 * math.erfc(over_ps / spread_ps / math.sqrt(2.0))
        else:
            total += over_ps < 0.0
    return total


def blind_chance(over_ps: float, spread_ps: float, tick_ps: int) -> float:
    """Chance that two cut times are less than the dead time apart, ``over_ps`` beyond it in truth.

    The dead time is whole ticks, the phase of the ticks is even, the jitter of the difference is
    normal: E[clip(-(over + jitter) / tick, 0, 1)].
    """
    if spread_ps == 0.0:
        return min(1.0, max(0.0, -over_ps / tick_ps))

    def ramp(x_ps: float) -> float:
        """E[max(0, jitter - x)]."""
        z = x_ps / spread_ps
        tail = 0.5 * math.erfc(z / math.sqrt(2.0))
        return spread_ps * math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi) - x_ps * tail

    return (ramp(over_ps) - ramp(over_ps + tick_ps)) / tick_ps


@dataclass(frozen=True)
class Prediction:
    """Expected counts of one block, by intensity."""

    key: TRIPLE
    test: TRIPLE
    key_errors: TRIPLE
    test_errors: TRIPLE
    clicks: float
    """All of them, whatever the transmitter's basis was."""

    @property
    def qber_key(self) -> float:
        return sum(self.key_errors) / sum(self.key)

    @property
    def qber_test(self) -> float:
        return sum(self.test_errors) / sum(self.test)

    def rounded(self) -> DecoyCounts:
        return DecoyCounts(
            key=_whole(self.key),
            test=_whole(self.test),
            test_errors=_whole(self.test_errors),
            key_errors=_whole(self.key_errors),
        )

    def drawn(self, rng: np.random.Generator) -> DecoyCounts:
        """Counts as another block would have them: Poisson detections, binomial errors.

        The dead time makes detections a little more even than Poisson (6 % of the variance at the
        default link), so that deviations in units of these are slightly too small, by 3 %.
        """
        key = rng.poisson(self.key)
        test = rng.poisson(self.test)
        key_errors = rng.binomial(key, np.divide(self.key_errors, self.key))
        test_errors = rng.binomial(test, np.divide(self.test_errors, self.test))
        return DecoyCounts(
            key=_whole(key),
            test=_whole(test),
            test_errors=_whole(test_errors),
            key_errors=_whole(key_errors),
        )


def _whole(values: TRIPLE | np.ndarray) -> ByIntensity:
    signal, weak, vacuum = (round(float(value)) for value in values)
    return signal, weak, vacuum


def predict(setup: Setup, n_pulses: int) -> Prediction:
    """Expected counts of ``n_pulses`` payload pulses.

    Half of the attacked pulses were measured in the transmitter's other basis: they go on with
    that basis, an even bit and the same intensity. The other half goes on as it was.
    """
    sent_key = setup.intensities.key_threshold / BASIS_SCALE
    dark = setup.receiver.dark_hz * setup.frames.gate_ps * 1e-12
    live = n_pulses * live_share(setup)
    counts = np.zeros((2, 3))
    errors = np.zeros((2, 3))
    clicks = 0.0
    for basis, intensity, bit in product((0, 1), (0, 1, 2), (0, 1)):
        weight = live * setup.intensities.probabilities[intensity] / 2
        weight *= 1.0 - sent_key if basis else sent_key
        ends = np.zeros(4)
        states = [(1.0 - setup.fraction / 2, basis, bit)]
        states += [(setup.fraction / 4, 1 - basis, other) for other in (0, 1)]
        for share, seen, value in states:
            means = light_at(setup, intensity, seen, value)
            ends += share * np.array(outcome_chances(means, dark))
        counts[basis, intensity] += weight * (ends[2 * basis] + ends[2 * basis + 1])
        errors[basis, intensity] += weight * ends[2 * basis + 1 - bit]
        clicks += weight * float(ends.sum())
    return Prediction(
        key=_triple(counts[0]),
        test=_triple(counts[1]),
        key_errors=_triple(errors[0]),
        test_errors=_triple(errors[1]),
        clicks=clicks,
    )


def _triple(values: np.ndarray) -> TRIPLE:
    signal, weak, vacuum = (float(value) for value in values)
    return signal, weak, vacuum


def with_ramp(setup: Setup, *ramp_frames: int) -> Setup:
    """Return the same installation with blocks of other lengths."""
    values = {name: getattr(setup, name) for name in setup.__dataclass_fields__}
    plan = msgspec.structs.replace(setup.plan, ramp_frames=ramp_frames)
    return Setup(**(values | {"plan": plan}))
