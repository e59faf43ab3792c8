"""Four detectors as their controller tells of them: what a proof that trusts them does not allow.

A nanowire that has latched, lost its bias or warmed up counts less than its neighbours, and one
that bright light keeps resistive may click when somebody else wants it to (Lydersen et al., New J.
Phys. 13, 113042 (2011)). The proof takes all of them to be as they were measured.
"""

import math
from dataclasses import dataclass

Counts = tuple[int, int, int, int]
Values = tuple[float, float, float, float]

BIAS_STEP_UA = 0.2
TRIGGER_STEP_MV = 1.0
"""The steps of converters are not public; further than this from what is configured is another."""
FALSE_ALARM_LOG = math.log(1e-12)
"""Chance of a single look's false alarm: 12 wires and windows, twice a second, make 1e-3 a year."""
LONGEST_WINDOW = 64
"""Periods over which too few counts are looked for; shorter windows are its halves."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What four detectors are like when they are well, in the order basis * 2 + bit."""

    bias_ua: Values
    trigger_mv: Values | None
    max_voltage: float | None
    """As the controller tells it, of a wire that carries its bias."""
    lowest_hz: float
    highest_hz: float
    max_temperature_k: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How they stand now."""

    enabled: bool
    bias_ua: Values
    voltage: Values
    trigger_mv: Values


def standing_trouble(now: Standing, limits: WireLimits) -> str | None:
    """Return what is wrong with settings and voltages, or None."""
    if not now.enabled:
        return "detectors: the bias is off"
    for wire, (bias_ua, wanted_ua) in enumerate(zip(now.bias_ua, limits.bias_ua, strict=True)):
        if abs(bias_ua - wanted_ua) > BIAS_STEP_UA:
            return f"{of_wire(wire)}: its bias is {bias_ua:g} uA, configured are {wanted_ua:g} uA"
    if limits.trigger_mv is not None:
        for wire, (told, wanted) in enumerate(zip(now.trigger_mv, limits.trigger_mv, strict=True)):
            if abs(told - wanted) > TRIGGER_STEP_MV:
                return f"{of_wire(wire)}: its trigger is {told:g} mV, configured are {wanted:g} mV"
    if limits.max_voltage is not None:
        for wire, voltage in enumerate(now.voltage):
            if abs(voltage) > limits.max_voltage:
                return (
                    f"{of_wire(wire)}: latched, or blinded: a voltage of {voltage:g} is over it, "
                    f"limit {limits.max_voltage:g}"
                )
    return None


def temperature_trouble(temperature_k: float, limits: WireLimits) -> str | None:
    """Return what is wrong with the cryostat, or None."""
    if temperature_k <= limits.max_temperature_k:
        return None
    return f"detectors: too warm: {temperature_k:.2f} K, limit {limits.max_temperature_k:g} K"


class CountBand:
    """Rates of four wires, period by period; too few are seen as soon as chance is no excuse."""

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._periods: list[tuple[float, Counts]] = []

    def forget(self) -> None:
        """Begin afresh: what was counted before says nothing of now."""
        self._periods.clear()

    @property
    def memory_s(self) -> float:
        """What was judged last reaches back so far at most."""
        return sum(one_s for one_s, _ in self._periods)

    @property
    def alive(self) -> bool:
        """Every wire has shown half of the fewest counts: more than that nothing was wrong with
        them, which a short time may be too short for.
        """
        enough = self._limits.lowest_hz * self.memory_s / 2
        counted = [sum(one[wire] for _, one in self._periods) for wire in range(4)]
        return bool(self._periods) and min(counted) >= enough

    def take(self, counts: Counts, seconds: float) -> str | None:
        """Take the counts of one period; return what is wrong with them or those before."""
        self._periods.append((seconds, counts))
        del self._periods[:-LONGEST_WINDOW]
        n_periods = 1
        while n_periods <= len(self._periods):
            window = self._periods[-n_periods:]
            span_s = sum(one_s for one_s, _ in window)
            for wire in range(4):
                trouble = self._judge(wire, sum(one[wire] for _, one in window), span_s)
                if trouble is not None:
                    return trouble
            n_periods *= 2
        return None

    def _judge(self, wire: int, n: int, span_s: float) -> str | None:
        lowest, highest = self._limits.lowest_hz * span_s, self._limits.highest_hz * span_s
        if tail_log(n, lowest) < FALSE_ALARM_LOG and n < lowest:
            return (
                f"{of_wire(wire)}: latched, or in the dark: {n / span_s:.4g} counts a second, at "
                f"least {self._limits.lowest_hz:g} when it is well"
            )
        if tail_log(n, highest) < FALSE_ALARM_LOG and n > highest:
            rate_hz = n / span_s
            return f"{of_wire(wire)}: {rate_hz:.4g} counts a second, limit {highest / span_s:g}"
        return None


def tail_log(n: int, mean: float) -> float:
    """Bound the log of the chance that a Poisson variable is as far from ``mean`` as ``n``, on its
    side (Chernoff).
    """
    if mean <= 0.0:
        return 0.0 if n == 0 else -math.inf
    return n - mean - (n * math.log(n / mean) if n else 0.0)


def of_wire(wire: int) -> str:
    """Begin a reason that concerns one of them."""
    return f"detectors: {'test' if wire >= 2 else 'key'} basis, bit {wire % 2}"
