"""The simulated laboratory without its servers: light in, the time tagger's bytes out."""

from dataclasses import asdict

import numpy as np

from benchmarks.predicted import Setup
from benchmarks.stopwatch import Stopwatch
from drivers.sim.optics.link import OpticalLink
from drivers.sim.optics.pulses import PulsePlan
from drivers.sim.optics.tagger_clock import TaggerClock
from drivers.sim.s15_tdc1 import TDC1
from qkdd.base.entropy import Entropy
from qkdd.station.transmitter import encoder_plan

SIMULATOR = "simulator"
STEP_NS = 10_000_000
"""The laboratory's tick, and the time in which the tagger's driver gathers bytes."""
DARK_NS = 50_000_000


class Laboratory:
    """Simulated light and tagger: bytes as the TDC1 sends them, a step at a time."""

    def __init__(self, setup: Setup, watch: Stopwatch, *, seed: int, entropy: Entropy) -> None:
        self._watch = watch
        self._plan = PulsePlan(**asdict(encoder_plan(setup.plan, setup.intensities)))
        self._optics = OpticalLink(
            setup.fibre, setup.source, setup.receiver, setup.attack, seed=seed
        )
        self._optics.laser_power_mw = setup.source.power_mw(setup.laser_ma)
        self._optics.attenuation_db = setup.attenuation_db
        self._optics.shutter_open = True
        self._clock = TaggerClock(
            offset_ppm=setup.receiver.clock_offset_ppm,
            drift_ppb_per_s=setup.receiver.clock_drift_ppb_per_s,
        )
        self._tagger = TDC1()
        self._tagger.receive(b"timestamp;time 0;counts?\r\n")
        self._entropy = entropy
        self._now_ns = 0
        self.calibration_seed = entropy(32)
        self.block_seeds: dict[int, bytes] = {}

    def step(self) -> bytes:
        """Return the words of the next ``STEP_NS``; the run begins after ``DARK_NS``."""
        encoder = self._optics.encoder
        if self._now_ns == DARK_NS:
            encoder.seeds.calibration = bytearray(self.calibration_seed)
            encoder.begin(self._plan, self._now_ns)
        while len(encoder.seeds.blocks) < 2:
            block = len(self.block_seeds)
            self.block_seeds[block] = self._entropy(32)
            encoder.seeds.blocks[block] = bytearray(self.block_seeds[block])
        self._now_ns += STEP_NS
        events = self._watch(SIMULATOR, "clicks", self._optics.advance, self._now_ns)
        return self._watch(SIMULATOR, "words", self._read, events.times_ps, events.channels)

    def _read(self, times_ps: np.ndarray, channels: np.ndarray) -> bytes:
        self._tagger.advance(self._clock.reading_ps(self._now_ns * 1000), times_ps, channels)
        data = bytearray()
        while pending := self._tagger.pending():
            data += pending
            self._tagger.sent(len(pending))
        return bytes(data)
