"""A source of noise in a lab: it sees no light, only time, and belongs to no link."""

import numpy as np

from drivers.sim.cable import Cable
from drivers.sim.config_optional import OneRNGConfig
from drivers.sim.mishaps import Mishaps, Server
from drivers.sim.onerng import OneRNG

NOISE = "noise"
"""What it is to those who open it."""


class NoiseBench:
    """One source; its device is USB, so bytes wait in it and not in the server."""

    def __init__(self, config: OneRNGConfig, *, seed: int) -> None:
        self.name = config.name
        words = np.random.SeedSequence([seed, *config.name.encode()])
        rng = np.random.Generator(np.random.Philox(words))
        self.source = OneRNG(rng, firmware=config.firmware)
        self.cable = Cable(self.source, rng)
        self.mishaps = Mishaps()
        self.now_ns = 0

    def take_care_of(self, server: Server) -> None:
        """Let orders reach it where it is served."""
        self.mishaps.know(
            NOISE,
            server,
            self.cable,
            power_cycle=self.source.power_cycle,
            special=self.source.faults,
        )

    def advance(self, now_ns: int) -> None:
        """Go on to ``now_ns``."""
        self.source.advance((now_ns - self.now_ns) * 1e-9)
        self.now_ns = now_ns
        self.mishaps.advance(now_ns)
