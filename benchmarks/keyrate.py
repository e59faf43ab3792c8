"""Secret key rate of honest links: expected counts, put through the package's proofs.

Run as `python -m benchmarks.keyrate`. The model is that of `qkdd/network/expect.py`.
"""

from dataclasses import dataclass

from qkdd.amplify.length import SecretLength
from qkdd.amplify.settings import ProofSettings
from qkdd.network.expect import HonestLink


@dataclass(frozen=True)
class Link(HonestLink):
    """An honest link, reckoned as published link designs are: their dead time does not extend."""

    extending: bool = False

    def length(self, block_s: float, settings: ProofSettings) -> SecretLength:
        """Return what a block of ``block_s`` seconds holds."""
        return self.length_of(round(self.pulse_rate_hz * block_s), settings)


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
