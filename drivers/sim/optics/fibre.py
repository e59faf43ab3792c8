"""From the laser's power to photons at the detectors, and how long they are on the way."""

import math

from drivers.sim.config import Fibre

PLANCK_J_S = 6.626_070_15e-34  # exact, SI 2019
LIGHT_M_PER_S = 299_792_458.0  # exact, SI
PS_PER_KM_K = 37.0  # of standard fibre with its coating: 34 to 40
DAY_S = 86_400.0
FLIGHT_PS_PER_KM = 4_900_000  # 4.9 us/km: group index 1.468 of standard single-mode fibre


def photon_energy_j(wavelength_nm: float) -> float:
    """Energy of one photon, h c / lambda."""
    return PLANCK_J_S * LIGHT_M_PER_S / (wavelength_nm * 1e-9)


def transmittance(loss_db: float) -> float:
    """Share of the light that passes a loss."""
    return float(10.0 ** (-loss_db / 10.0))


def mean_photons(
    power_mw: float, *, loss_db: float, pulse_rate_hz: float, wavelength_nm: float
) -> float:
    """Mean photon number of a pulse behind ``loss_db``, all the light being in the pulses."""
    energy_j = power_mw * 1e-3 * transmittance(loss_db) / pulse_rate_hz
    return energy_j / photon_energy_j(wavelength_nm)


def flight_ps(length_km: float) -> int:
    """Time of flight through ``length_km`` of fibre."""
    return round(length_km * FLIGHT_PS_PER_KM)


def drifted_ps(fibre: Fibre, now_ns: int) -> int:
    """How much later light arrives than at the lab's start: a drift, and the day's warmth."""
    now_s = now_ns * 1e-9
    day = math.sin(2.0 * math.pi * now_s / DAY_S) * fibre.day_swing_k
    return round(fibre.delay_drift_ps_per_s * now_s + day * PS_PER_KM_K * fibre.length_km)


def fastest_drift_ps_per_s(fibre: Fibre) -> float:
    """A bound on how fast the delay changes."""
    day = 2.0 * math.pi / DAY_S * fibre.day_swing_k * PS_PER_KM_K * fibre.length_km
    return abs(fibre.delay_drift_ps_per_s) + day
