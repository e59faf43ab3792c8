"""How requests for key were answered, and how quickly: counts by call, since the start."""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

import msgspec

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper ends of the classes in which times are counted; the goal is 99 % within 20 ms."""


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the interface since the start."""

    call: str
    """status | enc_keys | dec_keys | epoch_keys | not_understood"""
    answers: dict[str, int]
    """Number of answers by HTTP status."""
    seconds: float
    """From a request read to its answer made, all of them together."""
    within: tuple[int, ...]
    """How many took no longer than each of BOUNDS_S."""


@dataclass(slots=True)
class _Call:
    answers: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    seconds: float = 0.0
    classes: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))


class Tally:
    """Counts answers; knows no clock."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}

    def answered(self, call: str, status: int, seconds: float) -> None:
        counts = self._calls.get(call)
        if counts is None:
            counts = self._calls[call] = _Call()
        counts.answers[status] += 1
        counts.seconds += seconds
        counts.classes[bisect_left(BOUNDS_S, seconds)] += 1

    def facts(self) -> tuple[CallFacts, ...]:
        return tuple(
            CallFacts(
                call=call,
                answers={str(status): n for status, n in sorted(counts.answers.items())},
                seconds=counts.seconds,
                within=_sums(counts.classes),
            )
            for call, counts in sorted(self._calls.items())
        )


def _sums(classes: list[int]) -> tuple[int, ...]:
    return tuple(sum(classes[: number + 1]) for number in range(len(BOUNDS_S)))


def within_s(facts: CallFacts, share: float) -> float | None:
    """Return the smallest bound that ``share`` of the answers kept; None if it is above all."""
    wanted = share * sum(facts.answers.values())
    for bound_s, count in zip(BOUNDS_S, facts.within, strict=False):
        if count >= wanted:
            return bound_s
    return None
