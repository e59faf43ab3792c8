"""Polarisation as points on the Poincare sphere, and what turns them: fibre and squeezers.

A photon is a Stokes vector (S1, S2, S3): key bit 0 and 1 are +S1 and -S1, test bit 0 and 1 are +S2
and -S2, and the receiver measures along S1 and S2. What has no loss turns the sphere, and so acts
on all four states at once.
"""

import math

import numpy as np
import numpy.typing as npt

Turn = npt.NDArray[np.float64]
"""(3, 3), a rotation of the sphere."""

STAYS: Turn = np.eye(3)


def rotation(axis_rad: npt.NDArray[np.float64]) -> Turn:
    """The turn about an axis by its length (Rodrigues' formula)."""
    angle = math.sqrt(float(axis_rad @ axis_rad))
    if angle == 0.0:
        return STAYS
    x, y, z = axis_rad / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turn: Turn = STAYS + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)
    return turn


def any_turn(rng: np.random.Generator) -> Turn:
    """A turn from the even distribution: a quaternion from four normal numbers."""
    four = rng.standard_normal(4)
    w, x, y, z = four / math.sqrt(float(four @ four))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


class FibreTurn:
    """Brownian motion on the sphere's rotations.

    In a time t, ``rate`` sqrt(t) is the standard deviation of the turn about each axis, and the
    mean turn is exp(-rate^2 t) of the one before.
    """

    def __init__(
        self, rng: np.random.Generator, *, rate_rad_per_sqrt_s: float, is_unknown: bool
    ) -> None:
        self._rng = rng
        self._rate = rate_rad_per_sqrt_s
        self.turn = any_turn(rng) if is_unknown else STAYS

    def advance(self, dt_s: float) -> None:
        """Let the fibre change for ``dt_s``."""
        if self._rate > 0.0 and dt_s > 0.0:
            step = rotation(self._rng.standard_normal(3) * (self._rate * math.sqrt(dt_s)))
            self.kick(step)

    def kick(self, step: Turn) -> None:
        """Change at once."""
        left, _, right = np.linalg.svd(step @ self.turn)  # rounding must not make it shrink
        self.turn = left @ right


def squeezers(angles_rad: tuple[float, ...]) -> Turn:
    """Fibre squeezers one after the other, at 0, 45, 0 and 45 degrees: about S1, S2, S1, S2."""
    turn = STAYS
    for number, angle in enumerate(angles_rad):
        turn = rotation(np.eye(3)[number % 2] * angle) @ turn
    return turn


def port_chances(
    *, key_basis_share: float, misalignment: float, turn: Turn
) -> npt.NDArray[np.float64]:
    """Share of a photon's light at each detector, by its state.

    Parameters
    ----------
    key_basis_share : float
        Share of the receiver's splitter that goes to the key basis.
    misalignment : float
        Chance of the wrong port of what is polarised right.
    turn : Turn
        Of all that is between the transmitter and the receiver.

    Returns
    -------
    chances : (4, 4)
        For state ``bit | basis << 1``, detectors ``basis << 1 | bit``; each row sums to 1.
    """
    # basis 0 lies along S1, basis 1 along S2
    seen_along = (1.0 - 2.0 * misalignment) * turn
    shares = (key_basis_share, 1.0 - key_basis_share)
    chances = np.empty((4, 4))
    for state in range(4):
        for detector in range(4):
            sign = -1.0 if (state ^ detector) & 1 else 1.0
            along = float(seen_along[detector >> 1, state >> 1])
            chances[state, detector] = shares[detector >> 1] * (1.0 + sign * along) / 2.0
    return np.clip(chances, 0.0, 1.0)
