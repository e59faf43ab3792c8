"""What an honest link should count, and the key that the daemon's own proof makes of it.

Poissonian light through loss on to a passive splitter and four detectors with a common dead time,
background in every gate, no afterpulses; expected counts, rounded. A model on paper: a daemon only
ever sees real counts.
"""

import math
from dataclasses import dataclass, field

from qkdd.amplify.length import SecretLength, secret_length
from qkdd.amplify.sampling import binary_entropy
from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.light import Intensities
from qkdd.network.laid_out import LaidLink


@dataclass(frozen=True)
class HonestLink:
    """A link without an eavesdropper; the defaults are the daemon's default link."""

    pulse_rate_hz: float = 100e6
    loss_db: float = 15.0
    """Fibre and receiver optics together."""
    efficiency: float = 0.80
    dark_rate_hz: float = 100.0
    """Per detector."""
    gate_s: float = 4e-9
    dead_time_s: float = 30e-9
    extending: bool = True
    """Whether every click extends the dead time, as the daemon's common one is extended."""
    misalignment: float = 0.01
    key_splitter: float = 0.84
    ec_efficiency: float = 1.16
    """Disclosed bits, both ways, over the Shannon limit."""
    intensities: Intensities = field(default_factory=Intensities)

    @property
    def clicks_hz(self) -> float:
        """Clicks before the dead time, in the gate or not."""
        light = self.intensities
        mean_mu = math.fsum(p * mu for p, mu in zip(light.probabilities, light.mus, strict=True))
        return self.pulse_rate_hz * mean_mu * self._eta + 4 * self.dark_rate_hz

    @property
    def live_share(self) -> float:
        """Chance that a click is not lost to the dead time."""
        dead = self.clicks_hz * self.dead_time_s
        return math.exp(-dead) if self.extending else 1 / (1 + dead)

    @property
    def _eta(self) -> float:
        return self.efficiency * 10 ** (-self.loss_db / 10)

    def counts(self, n_pulses: float) -> DecoyCounts:
        """Expected sifted counts of a block, each rounded to a whole number."""
        light = self.intensities
        background = 2 * self.dark_rate_hz * self.gate_s

        def basis(sent: float, arm: float) -> tuple[ByIntensity, ByIntensity]:
            n, m = [], []
            for p, mu in zip(light.probabilities, light.mus, strict=True):
                signal = 1 - math.exp(-self._eta * arm * mu)
                weight = n_pulses * p * sent * self.live_share
                n.append(round(weight * (signal + background)))
                m.append(round(weight * (self.misalignment * signal + background / 2)))
            return (n[0], n[1], n[2]), (m[0], m[1], m[2])

        sent_key = light.key_threshold / 2**15
        key, key_errors = basis(sent_key, self.key_splitter)
        test, test_errors = basis(1 - sent_key, 1 - self.key_splitter)
        return DecoyCounts(key=key, test=test, test_errors=test_errors, key_errors=key_errors)

    def disclosed_bits(self, counts: DecoyCounts) -> int:
        """What reconciliation at ``ec_efficiency`` says about the key-basis bits."""
        if not counts.n_key or counts.key_errors is None:
            return 0
        qber = sum(counts.key_errors) / counts.n_key
        return math.ceil(self.ec_efficiency * counts.n_key * binary_entropy(min(0.5, qber)))

    def length_of(self, n_pulses: int, settings: ProofSettings) -> SecretLength:
        """Put the expected counts of ``n_pulses`` payload pulses through the proof."""
        counts = self.counts(n_pulses)
        disclosed = self.disclosed_bits(counts)
        return secret_length(counts, self.intensities, disclosed, settings, n_pulses=n_pulses)


def honest(link: LaidLink, ec_efficiency: float) -> HonestLink:
    """Model a link of a network."""
    receiver = link.receiver
    return HonestLink(
        pulse_rate_hz=link.plan.pulse_rate_hz,
        loss_db=link.loss_db + receiver.loss_db,
        efficiency=receiver.efficiency,
        dark_rate_hz=receiver.dark_hz,
        gate_s=link.frames.gate_ps * 1e-12,
        dead_time_s=link.frames.dead_time_ps * 1e-12,
        misalignment=receiver.misalignment,
        key_splitter=receiver.key_basis_share,
        ec_efficiency=ec_efficiency,
        intensities=link.light.intensities,
    )
