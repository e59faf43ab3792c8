"""One link's light, from the transmitter's laser to the receiver's clicks.

The model walks clicks, not pulses: candidates are drawn at the rate of the brightest intensity,
then the state of each candidate's pulse is looked up in the encoder's own expansion of its seed.
Laser power, attenuator and shutter act because they change what the model draws; a change
counts from the end of the step before.
"""

import numpy as np
import numpy.typing as npt

from drivers.kernels.walk import Line, Walker
from drivers.sim.config import Attack, Fibre, Receiver, Source
from drivers.sim.optics.clicks import ALL_LIVE, Detectors, Events, detector_rungs
from drivers.sim.optics.eve import attacked_below
from drivers.sim.optics.fibre import flight_ps, mean_photons, transmittance
from drivers.sim.optics.pulses import Emission, EncoderLight, PulsePlan

__all__ = ["EncoderLight", "Events", "OpticalLink", "link_seed"]

MAX_CANDIDATE_HZ = 20e6
"""Brighter light than this shows as just so many photons: past any use, and a bound on CPU."""

MAX_CHUNK = 1 << 16  # candidates in memory at a time

PS_PER_S = 10**12


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
        self._fibre, self._source, self._receiver = fibre, source, receiver
        self.attack = attack
        self._rng = np.random.Generator(np.random.SFC64(seed))
        self._walker = Walker(self._rng)
        self._detectors = Detectors(receiver, self._rng)
        self._delay_ps = flight_ps(fibre.length_km) + round(receiver.delay_ns * 1e3)
        self._rungs_of: tuple[PulsePlan, npt.NDArray[np.uint64]] | None = None
        self._now_ns = 0

    def signal_mu(self, pulse_rate_hz: float) -> float:
        """Mean photon number of a signal pulse at the fibre's input, as the instruments stand."""
        if not self.shutter_open:
            return 0.0
        return mean_photons(
            self.laser_power_mw,
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
        return self._detectors.advance(
            step_ps, light_after_ps=step_ps + self._delay_ps, live=self.live_detectors
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
        per_pulse = self._detections_per_signal(plan.pulse_rate_hz)
        if per_pulse <= 0.0:
            return
        chunk = max(1, int(MAX_CHUNK / per_pulse))
        for first in range(emission.first, emission.stop, chunk):
            n_pulses = min(chunk, emission.stop - first)
            self._emit_chunk(emission, first, n_pulses, per_pulse)

    def _emit_chunk(self, emission: Emission, first: int, n_pulses: int, per_pulse: float) -> None:
        plan = emission.plan
        whole_ps, rest = divmod(first * PS_PER_S, plan.pulse_rate_hz)
        start_ps = (emission.start_ns - self._now_ns) * 1000 + self._delay_ps
        line = Line(
            n_pulses=n_pulses,
            per_pulse=per_pulse,
            rungs=self._rungs(plan),
            attacked_below=attacked_below(self.attack),
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

    def _rungs(self, plan: PulsePlan) -> npt.NDArray[np.uint64]:
        if self._rungs_of is None or self._rungs_of[0] is not plan:
            rungs = detector_rungs(
                key_basis_share=self._receiver.key_basis_share,
                misalignment=self._fibre.misalignment,
                intensities=(1.0, plan.weak_ratio, plan.vacuum_ratio),
            )
            self._rungs_of = (plan, rungs)
        return self._rungs_of[1]
