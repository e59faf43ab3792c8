"""The simulated nanowires of a Single Quantum system: bias, latching, cryostat.

A cold wire detects from a share of its switching current up to that current; above it, it latches:
it becomes a resistor, counts nothing, and stays so until its bias is taken away. Bright light that
blinds it makes it a resistor, too (Lydersen et al., New J. Phys. 13, 113042 (2011)): what the box
tells is the mean over the share of the time. Efficiency and dark counts in between are those of
the link's model and do not depend on the bias. Numbers without a source are chosen.
"""

import math

N_WIRES = 4
PLATEAU_SHARE = 0.7  # of the switching current, from which on a wire detects
LEFT_AT_SHARE = 0.9  # where a system stands that somebody has set up
LEFT_TRIGGER_MV = 25.0
PULSE_MV_PER_UA = 10.0  # height of a pulse at the counters' comparators; they have no noise
COLD_OHM, LATCHED_OHM = 50.0, 10_000.0

COLD_K, WARM_K, LAST_COLD_K = 2.5, 300.0, 4.0  # of the wires' stage; they detect up to the last
SHIELD_COLD_K = 40.0
CRYOSTAT_TAU_S = 600.0


class Nanowires:
    """Four wires in one cryostat; a hand, or bad luck, changes what has no underscore."""

    def __init__(self, *, switching_ua: float, biased: bool) -> None:
        self.cryostat_on = True
        self.switching_ua = switching_ua
        self.enabled = biased
        self.bias_ua = [LEFT_AT_SHARE * switching_ua if biased else 0.0] * N_WIRES
        self.trigger_mv = [LEFT_TRIGGER_MV] * N_WIRES
        self.stage_k, self.shield_k = COLD_K, SHIELD_COLD_K
        self._held_ua: float | None = None
        self.latched = [False] * N_WIRES
        self.deaf = [False] * N_WIRES
        """Wires whose pulses the box's own comparator does not see; the time tagger does."""
        self.blinded_share = 0.0
        """Of the time in which bright light keeps the wires resistive."""

    def hold(self, bias_ua: float | None) -> None:
        """Bias all wires with this, whatever was set; ``None`` returns to what was set."""
        self._held_ua = bias_ua
        self.latched = [False] * N_WIRES
        self.settle()

    def settle(self) -> None:
        """Let wires latch, or recover, after a change of what is set."""
        for wire in range(N_WIRES):
            bias_ua = abs(self._flowing_ua(wire))
            if not bias_ua and not (self.enabled or self._held_ua is not None):
                self.latched[wire] = False
            elif bias_ua and (bias_ua > self.switching_ua or self.stage_k > LAST_COLD_K):
                self.latched[wire] = True

    def advance(self, dt_s: float) -> None:
        """Let the cryostat cool, or warm up."""
        aim_k, shield_aim_k = (COLD_K, SHIELD_COLD_K) if self.cryostat_on else (WARM_K, WARM_K)
        share = -math.expm1(-dt_s / CRYOSTAT_TAU_S)
        self.stage_k += (aim_k - self.stage_k) * share
        self.shield_k += (shield_aim_k - self.shield_k) * share
        self.settle()

    @property
    def live(self) -> tuple[bool, ...]:
        """Which wires turn photons, and the dark, into pulses."""
        lowest_ua = PLATEAU_SHARE * self.switching_ua
        return tuple(
            abs(self._flowing_ua(wire)) >= lowest_ua
            and not self.latched[wire]
            and self.stage_k <= LAST_COLD_K
            for wire in range(N_WIRES)
        )

    @property
    def counted(self) -> tuple[bool, ...]:
        """Whose pulses reach the counter's trigger level; the time tagger has its own."""
        return tuple(
            not self.deaf[wire]
            and self.trigger_mv[wire] < PULSE_MV_PER_UA * abs(self._flowing_ua(wire))
            for wire in range(N_WIRES)
        )

    @property
    def voltages_mv(self) -> list[float]:
        return [
            round(self._flowing_ua(wire) * self._ohm(wire) * 1e-3, 4) for wire in range(N_WIRES)
        ]

    def _ohm(self, wire: int) -> float:
        share = 1.0 if self.latched[wire] else self.blinded_share
        return COLD_OHM + share * (LATCHED_OHM - COLD_OHM)

    def _flowing_ua(self, wire: int) -> float:
        if self._held_ua is not None:
            return self._held_ua
        return self.bias_ua[wire] if self.enabled else 0.0
