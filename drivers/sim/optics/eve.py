"""The eavesdropper in the fibre: intercept and resend a share of the pulses."""

from drivers.kernels.clicks import ATTACK_SCALE
from drivers.sim.config import Attack


def attacked_below(attack: Attack | None) -> int:
    """Share of the pulses that Eve attacks, in 1 / ATTACK_SCALE, as the clicks kernel wants it.

    She measures an attacked pulse in a basis drawn evenly and sends on what she saw, at the
    intensity of the original. Basis and outcome are drawn once per pulse.
    """
    return 0 if attack is None else round(attack.fraction * ATTACK_SCALE)


def disturbed_qber(qber: float, fraction: float) -> float:
    """Error fraction, the same in both bases, that her attack makes of ``qber``.

    Half of the attacked pulses were measured in the other basis and then give an even bit:
    q (1 - f/2) + f/4 (docs of the attack: f/4 on top of a small q).
    """
    return qber * (1.0 - fraction / 2.0) + fraction / 4.0
