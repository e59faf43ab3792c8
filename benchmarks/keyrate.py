"""Secret key rate of honest links: a forward model of counts, put through the package's proofs.

Run as `python -m benchmarks.keyrate`. The model is Poissonian light through loss on to a passive
splitter and four detectors with a common dead time, background in every gate, no afterpulses;
expected counts, rounded. It is no part of the daemon, which only ever sees real counts.
"""

import math
from dataclasses import dataclass, field

from qkdd.amplify.length import SecretLength, secret_length
from qkdd.amplify.sampling import binary_entropy
from qkdd.amplify.settings import ProofSettings
from qkdd.base.counts import ByIntensity, DecoyCounts
from qkdd.base.light import Intensities


@dataclass(frozen=True)
class Link:
    """An honest link; the defaults are the daemon's default link."""

    pulse_rate_hz: float = 100e6
    loss_db: float = 15.0
    """Fibre and receiver optics together."""
    efficiency: float = 0.80
    dark_rate_hz: float = 100.0
    """Per detector."""
    gate_s: float = 4e-9
    dead_time_s: float = 30e-9
    misalignment: float = 0.01
    key_splitter: float = 0.84
    ec_efficiency: float = 1.16
    intensities: Intensities = field(default_factory=Intensities)

    def counts(self, n_pulses: float) -> DecoyCounts:
        """Expected sifted counts of a block, each rounded to a whole number."""
        light = self.intensities
        eta = self.efficiency * 10 ** (-self.loss_db / 10)
        mean_mu = sum(p * mu for p, mu in zip(light.probabilities, light.mus, strict=True))
        clicks_hz = self.pulse_rate_hz * mean_mu * eta + 4 * self.dark_rate_hz
        live = 1 / (1 + clicks_hz * self.dead_time_s)
        background = 2 * self.dark_rate_hz * self.gate_s

        def basis(sent: float, arm: float) -> tuple[ByIntensity, ByIntensity]:
            n, m = [], []
            for p, mu in zip(light.probabilities, light.mus, strict=True):
                signal = 1 - math.exp(-eta * arm * mu)
                weight = n_pulses * p * sent * live
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

    def length(self, block_s: float, settings: ProofSettings) -> SecretLength:
        n_pulses = round(self.pulse_rate_hz * block_s)
        counts = self.counts(n_pulses)
        return secret_length(
            counts, self.intensities, self.disclosed_bits(counts), settings, n_pulses=n_pulses
        )


PROOFS = {
    "variable": ProofSettings(),
    "mu 0.5 %": ProofSettings(mu_uncertainty=0.005),
    "lim-2014": ProofSettings(proof="lim-2014", announced_bits_per_pulse=1e-9),
    "rusca": ProofSettings(proof="rusca-2018", announced_bits_per_pulse=1e-9),
} | {
    f"cert {spread:.1%}": ProofSettings(
        proof="certified", efficiency_spread=spread, dark_spread=spread
    )
    for spread in (0.0, 0.001, 0.005, 0.01)
}
"""By column: "cert" is proof "certified" with this spread of efficiencies and dark counts."""


def row(name: str, link: Link, block_s: float) -> str:
    """Lengths before rounding of one block by each proof, in kbit/s; - where there is none."""
    rates = [link.length(block_s, proof).raw / block_s / 1e3 for proof in PROOFS.values()]
    return f"{name:28}" + "".join(f"{r:10.1f}" if r > 0 else f"{'-':>10}" for r in rates)


def main() -> None:
    print(f"{'kbit/s':28}" + "".join(f"{name:>10}" for name in PROOFS))
    for block_s in (2.0, 4.0, 8.0, 16.0):
        print(row(f"default link, block {block_s:4.0f} s", Link(), block_s))
    for km in (50, 67, 80, 100, 120):
        link = Link(pulse_rate_hz=1.25e9, loss_db=0.22 * km + 4.0, gate_s=0.32e-9)
        print(row(f"1.25 GHz, {km:4d} km, block 16 s", link, 16.0))
    for sifted in (1e6, 4e6, 1e7, 1e8):
        link = Link(pulse_rate_hz=1.25e9, loss_db=0.22 * 67 + 4.0, gate_s=0.32e-9)
        block_s = sifted / link.counts(1.25e9).n_key
        print(row(f"1.25 GHz, 67 km, {sifted:.0e} sifted", link, block_s))


if __name__ == "__main__":
    main()
