"""One link's light, from the transmitter's laser to the receiver's clicks.

The model walks clicks, not pulses: candidates are drawn at the rate of the brightest intensity,
then the state of each candidate's pulse is looked up in the encoder's own expansion of its seed.
Laser power, attenuator and shutter act because they change what the model draws; a change
counts from the end of the step before.
"""

import math

import numpy as np

from drivers.kernels.walk import Line, Walker
from drivers.sim.config import Attack, Fibre, Receiver, Source
from drivers.sim.optics.clicks import ALL_LIVE, Detectors, Events
from drivers.sim.optics.eve import (
    Light,
    Scene,
    bright_pulses,
    darks_left,
    level_errors,
    power_factor,
    scene_with,
    splitter_share,
)
from drivers.sim.optics.fibre import (
    drifted_ps,
    fastest_drift_ps_per_s,
    flight_ps,
    mean_photons,
    transmittance,
)
from drivers.sim.optics.polarization import STAYS, FibreTurn, port_chances, rotation
from drivers.sim.optics.pulses import Emission, EncoderLight, PulsePlan
from drivers.sim.optics.tagger_clock import TaggerClock

__all__ = ["EncoderLight", "Events", "OpticalLink", "link_seed"]

MAX_CANDIDATE_HZ = 20e6
"""Brighter light than this shows as just so many photons: past any use, and a bound on CPU."""

MAX_CHUNK = 1 << 17  # candidates in memory at a time: what 0.1 s of a bright link has fits

PS_PER_S = 10**12
LONGEST_STEP_S = 10.0
POLARIZATION = 1  # the fibre's own dice, so that its drift is the same whatever the light does


def link_seed(seed: int, name: str) -> int:
    """The seed of one link's dice, from the lab's seed and the link's name."""
    words = np.random.SeedSequence([seed, *name.encode()]).generate_state(2, np.uint64)
    return int(words[0]) << 64 | int(words[1])


class OpticalLink:
    """Source, fibre with its eavesdropper, and receiver; acted on only through instruments."""

    def __init__(
        self,
        fibre: Fibre,
        source: Source,
        receiver: Receiver,
        attack: Attack | None,
        *,
        seed: int,
    ) -> None:
        self.laser_power_mw = 0.0
        self.attenuation_db = 0.0
        self.shutter_open = False
        self.fibre_cut = False
        self.encoder = EncoderLight()
        self.live_detectors = ALL_LIVE
        self.controller_turn = STAYS
        self._fibre, self._source, self._receiver = fibre, source, receiver
        self.attack = attack
        self._rng = np.random.Generator(np.random.SFC64(seed))
        self._walker = Walker(self._rng)
        self._detectors = Detectors(receiver, self._rng)
        self._fibre_turn = FibreTurn(
            np.random.Generator(np.random.SFC64([seed, POLARIZATION])),
            rate_rad_per_sqrt_s=fibre.polarization_drift,
            is_unknown=fibre.polarization_start == "unknown",
        )
        self._flight_ps = flight_ps(fibre.length_km) + round(receiver.delay_ns * 1e3)
        self._slack_ps = math.ceil(fastest_drift_ps_per_s(fibre) * LONGEST_STEP_S)
        self._scene_of: tuple[tuple[float, ...], tuple[object, ...], Scene] | None = None
        self._now_ns = 0

    @property
    def clock(self) -> TaggerClock:
        """The tagger's, at the time of the last step's end."""
        return self._detectors.clock

    def kick(self, turn_rad: tuple[float, float, float]) -> None:
        """Turn the polarisation in the fibre from now on."""
        self._fibre_turn.kick(rotation(np.array(turn_rad)))

    def signal_mu(self, pulse_rate_hz: float) -> float:
        """Mean photon number of a signal pulse at the fibre's input, as the instruments stand."""
        if not self.shutter_open:
            return 0.0
        return mean_photons(
            self.laser_power_mw * power_factor(self.attack),
            loss_db=self.attenuation_db + self._source.fixed_loss_db,
            pulse_rate_hz=pulse_rate_hz,
            wavelength_nm=self._source.wavelength_nm,
        )

    def advance(self, now_ns: int) -> Events:
        """Go on to ``now_ns`` after the lab's start; the clicks that the tagger got since.

        Raises
        ------
        ValueError
            If time runs backwards.
        """
        if now_ns < self._now_ns:
            raise ValueError(f"time ran back from {self._now_ns} to {now_ns} ns")
        emission = self.encoder.take(now_ns)
        if emission is not None:
            self._emit(emission)
            self.encoder.walked(emission.stop)
        step_ps = (now_ns - self._now_ns) * 1000
        self._now_ns = now_ns
        self._fibre_turn.advance(step_ps * 1e-12)
        if self.attack is not None:
            self._detectors.light(bright_pulses(self.attack, step_ps, self._rng))
        return self._detectors.advance(
            step_ps,
            light_after_ps=step_ps + max(0, self._delay_ps - self._slack_ps),
            live=self.live_detectors,
            darks_left=darks_left(self.attack),
        )

    def skip_to(self, now_ns: int) -> None:
        """Pass over the time up to ``now_ns``: the light in between is lost, and so are clicks."""
        emission = self.encoder.take(now_ns)
        if emission is not None:
            self.encoder.walked(emission.stop)
        self.advance(now_ns)

    def _emit(self, emission: Emission) -> None:
        """Walk an emission in chunks of bounded memory."""
        plan = emission.plan
        per_signal = self._detections_per_signal(plan.pulse_rate_hz)
        if per_signal <= 0.0:
            return
        scene = self._scene(plan, per_signal)
        chunk = max(1, int(MAX_CHUNK / scene.per_pulse))
        for first in range(emission.first, emission.stop, chunk):
            self._emit_chunk(emission, first, min(chunk, emission.stop - first), scene)

    def _emit_chunk(self, emission: Emission, first: int, n_pulses: int, scene: Scene) -> None:
        plan = emission.plan
        whole_ps, rest = divmod(first * PS_PER_S, plan.pulse_rate_hz)
        start_ps = (emission.start_ns - self._now_ns) * 1000 + self._delay_ps
        line = Line(
            n_pulses=n_pulses,
            per_pulse=scene.per_pulse,
            rungs=scene.rungs,
            eve=scene.eve,
            period_ps=PS_PER_S / plan.pulse_rate_hz,
            origin_ps=start_ps + whole_ps + rest / plan.pulse_rate_hz,
            sigma_ps=self._detectors.sigma_ps,
        )
        self._detectors.light(self._walker.walk(line, self.encoder.segments(first, n_pulses)))

    def _detections_per_signal(self, pulse_rate_hz: int) -> float:
        """Mean number of detection events, over all detectors, of one signal pulse."""
        if self.fibre_cut:
            return 0.0
        loss_db = self._fibre.loss_db + self._receiver.loss_db
        per_pulse = (
            self.signal_mu(pulse_rate_hz) * transmittance(loss_db) * self._receiver.efficiency
        )
        return min(per_pulse, MAX_CANDIDATE_HZ / pulse_rate_hz)

    @property
    def _delay_ps(self) -> int:
        """How long light that leaves now is on its way."""
        return max(0, self._flight_ps + drifted_ps(self._fibre, self._now_ns))

    def _scene(self, plan: PulsePlan, per_signal: float) -> Scene:
        """The light as it stands; made anew only when something of it has changed."""
        mu, turn = self.signal_mu(plan.pulse_rate_hz), self._fibre_turn.turn
        parts = (plan, turn, self.controller_turn, self.attack)
        key = (per_signal, mu, *map(id, parts))
        if self._scene_of is None or self._scene_of[0] != key:
            share = splitter_share(self._receiver.key_basis_share, self.attack)
            ports = port_chances(
                key_basis_share=share,
                misalignment=self._fibre.misalignment,
                turn=self.controller_turn @ turn,
            )
            levels = zip(plan.levels, level_errors(self._source, self.attack), strict=True)
            signal, weak, vacuum = (mu * level * error for level, error in levels)
            light = Light(
                mus=(signal, weak, vacuum),
                per_signal=per_signal,
                best=transmittance(self._receiver.loss_db) * self._receiver.efficiency,
                ports=ports,
                key_basis_share=share,
                period_ps=PS_PER_S / plan.pulse_rate_hz,
            )
            self._scene_of = (key, parts, scene_with(light, self.attack))  # parts keep their ids
        return self._scene_of[2]
