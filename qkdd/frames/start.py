"""Pulse 0 of a run: coarsely from the edge of the rate, exactly from the preamble's states."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qkdd.frames.calibration import significantly_above

CalibrationStates: TypeAlias = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]
"""Pulse numbers of a run -> state codes (bit | basis << 1) of calibration pulses."""

RATE_RATIO = 20.0
"""The rate before the edge is at most about 1/20 of the rate behind it (5 % background)."""

EDGE_NATS = 20.0
"""The edge lies where its likelihood is within exp(-20) = 2e-9 of the best."""

FALSE_START = 1e-12
"""Probability that any of the candidates matches states it has nothing to do with."""

AHEAD_SIGMA = 4.0
MAX_CLICKS = 1_200
MAX_CANDIDATES = 2_000_000
_STATES_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class Start:
    """The candidate that fits best."""

    slot: int
    """Local slot number of pulse 0."""
    matched: int
    errors: int
    runner_up: int
    turned: bool = False
    """Found although the polarisation is turned: the errors say nothing of the place."""


class NoStart(Exception):
    """The preamble was not found; the message says why."""


def edge_range_ps(times_ps: npt.NDArray[np.int64], click_hz: float) -> tuple[int, int]:
    """Bound the time at which the light began.

    Parameters
    ----------
    times_ps : (n,) int64, n > 0
        Tags around the edge.
    click_hz : float
        Rate of tags behind the edge.

    Returns
    -------
    tuple of int
        Earliest and latest time of the first pulse, ps.

    Notes
    -----
    Poisson change point with rates r and r/20: the log likelihood of an edge just before tag k is
    ``(1 - 1/20) r t_k - k ln 20`` (Raftery and Akman 1986, Biometrika 73, 85, eq. 2.1).
    """
    slope = (1.0 - 1.0 / RATE_RATIO) * click_hz * 1e-12
    since_ps = (times_ps - times_ps[0]).astype(np.float64)
    likelihood = slope * since_ps - np.arange(times_ps.size) * math.log(RATE_RATIO)
    likely = np.flatnonzero(likelihood >= likelihood.max() - EDGE_NATS)
    earliest = int(likely[0])
    room_ps = (likelihood[earliest] - likelihood.max() + EDGE_NATS) / slope
    early_ps = int(times_ps[earliest]) - int(room_ps)
    if earliest > 0:
        early_ps = max(early_ps, int(times_ps[earliest - 1]))
    return early_ps, int(times_ps[likely[-1]])


def find_start(
    slots: npt.NDArray[np.int64],
    detectors: npt.NDArray[np.uint8],
    *,
    first: int,
    last: int,
    preamble_pulses: int,
    states: CalibrationStates,
    max_qber: float,
) -> Start:
    """Find the slot of pulse 0 among the candidates ``first <= slot <= last``.

    Parameters
    ----------
    slots, detectors : (n,) int64, (n,) uint8
        Clicks in local slot numbers, rising; detector = basis * 2 + bit.

    Raises
    ------
    NoStart
        If no candidate stands out, or its errors are too many.

    Notes
    -----
    A wrong candidate matches right and wrong bits alike, so ``matched - 2 errors = S`` has
    P(S >= s) <= exp(-s^2 / (2 matched)) (Hoeffding 1963, theorem 2).
    """
    use = (slots > last) & (slots - first < preamble_pulses)
    slots, detectors = slots[use][:MAX_CLICKS], detectors[use][:MAX_CLICKS]
    n_candidates = last - first + 1
    if slots.size == 0 or not 0 < n_candidates <= MAX_CANDIDATES:
        raise NoStart(f"{slots.size} clicks in the preamble for {n_candidates} places of its start")
    votes = _votes(int(slots[-1]) - first + 1, states)
    score = np.zeros(n_candidates, np.int16)  # entry i: pulse 0 in slot last - i
    for slot, detector in zip((slots - last).tolist(), detectors.tolist(), strict=True):
        vote = votes[detector >> 1][slot : slot + n_candidates]
        if detector & 1:
            score -= vote
        else:
            score += vote
    best = int(np.argmax(score))
    matched, errors = _errors_at(slots - last + best, detectors, votes)
    score[best] = np.iinfo(np.int16).min
    start = Start(last - best, matched, errors, int(score.max()) if n_candidates > 1 else 0)
    _check(start, n_candidates, max_qber)
    return start


def _votes(n_pulses: int, states: CalibrationStates) -> list[npt.NDArray[np.int8]]:
    """Return for each basis and pulse: +1 for bit 0, -1 for bit 1, 0 for the other basis."""
    votes = [np.zeros(n_pulses, np.int8) for _ in range(2)]
    for begin in range(0, n_pulses, _STATES_AT_ONCE):
        end = min(begin + _STATES_AT_ONCE, n_pulses)
        codes = states(np.arange(begin, end, dtype=np.int64))
        signs = 1 - 2 * (codes & 1).astype(np.int8)
        for basis in range(2):
            votes[basis][begin:end] = signs * ((codes >> 1 & 1) == basis)
    return votes


def find_turned_start(
    slots: npt.NDArray[np.int64],
    detectors: npt.NDArray[np.uint8],
    *,
    first: int,
    last: int,
    preamble_pulses: int,
    states: CalibrationStates,
) -> Start:
    """Find the slot of pulse 0 whatever the fibre has made of the polarisation.

    Parameters and errors are those of :func:`find_start`.

    Notes
    -----
    A turn M of the Poincare sphere correlates the bit of sent basis j with the bit of clicked basis
    i by M_ij, two of its rows and columns: the sum of the four squares is 1 + M_33^2, never less
    than 1. At a wrong place each sum S_ij of n_ij signs is noise, and the sum of S_ij^2 / n_ij a
    chi-square of four degrees, P(>= x) = (1 + x/2) exp(-x/2).
    """
    use = (slots > last) & (slots - first < preamble_pulses)
    n_candidates = last - first + 1
    if not np.any(use) or not 0 < n_candidates <= MAX_CANDIDATES:
        raise NoStart(
            f"{np.count_nonzero(use)} clicks in the preamble for {n_candidates} places of its start"
        )
    n_clicks = MAX_CLICKS * (4 if n_candidates <= MAX_CANDIDATES // 10 else 1)
    slots, detectors = slots[use][:n_clicks], detectors[use][:n_clicks]
    votes = _votes(int(slots[-1]) - first + 1, states)
    sums = np.zeros((2, 2, n_candidates), np.int16)  # by basis clicked and sent
    for slot, detector in zip((slots - last).tolist(), detectors.tolist(), strict=True):
        for sent in range(2):
            vote = votes[sent][slot : slot + n_candidates]
            if detector & 1:
                sums[detector >> 1, sent] -= vote
            else:
                sums[detector >> 1, sent] += vote
    evidence = np.zeros(n_candidates)
    for clicked in range(2):
        n_clicked = int(np.count_nonzero(detectors >> 1 == clicked))
        for sent in range(2):
            expected = n_clicked * float(np.count_nonzero(votes[sent])) / votes[sent].size
            evidence += sums[clicked, sent].astype(np.float64) ** 2 / max(expected, 1.0)
    best = int(np.argmax(evidence))
    matched, errors = _errors_at(slots - last + best, detectors, votes)
    most = float(evidence[best])
    evidence[best] = 0.0
    second = float(evidence.max())
    needed = -2.0 * math.log(FALSE_START / n_candidates)
    needed += 2.0 * math.log1p(needed / 2.0) + 2.0  # the factor 1 + x/2, at the x that it leads to
    told = f"best of {n_candidates} places: evidence {most:.0f}, runner-up {second:.0f}"
    if most <= needed:
        raise NoStart(f"no place of the preamble stands out ({needed:.0f} needed; {told})")
    if math.sqrt(most) - math.sqrt(second) < AHEAD_SIGMA:
        raise NoStart(f"two places of the preamble fit alike ({told})")
    return Start(last - best, matched, errors, round(second), turned=True)


def _errors_at(
    rows: npt.NDArray[np.int64], detectors: npt.NDArray[np.uint8], votes: list[npt.NDArray[np.int8]]
) -> tuple[int, int]:
    """Return basis-matched clicks and the wrong ones among them, at one place of the start."""
    right = np.where(detectors & 1, -1, 1) * np.where(
        detectors >> 1, votes[1][rows], votes[0][rows]
    )
    return int(np.count_nonzero(right)), int(np.count_nonzero(right < 0))


def _check(start: Start, n_candidates: int, max_qber: float) -> None:
    score = start.matched - 2 * start.errors
    needed = math.sqrt(2.0 * start.matched * math.log(n_candidates / FALSE_START))
    told = (
        f"best of {n_candidates} places: {start.errors} errors in {start.matched} bits, score "
        f"{score}, runner-up {start.runner_up}"
    )
    if score <= needed:
        raise NoStart(f"no place of the preamble stands out ({needed:.0f} needed; {told})")
    if score - start.runner_up < AHEAD_SIGMA * math.sqrt(2.0 * start.matched):
        raise NoStart(f"two places of the preamble fit alike ({told})")
    if significantly_above(start.errors, start.matched, max_qber):
        raise NoStart(f"QBER of the preamble over {max_qber:.3f} ({told})")
