"""Turns numbers and what is to be said of them into messages, few and large."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from qkdd.base.errors import PeerError
from qkdd.relay.messages import LaneAnnounce, LaneBind, LaneMessage, LaneVoid, LaneWave
from qkdd.relay.pool import UnitRef
from qkdd.relay.runs import runs_of
from qkdd.relay.settings import UNIT_BYTES, Lane


class Speech:
    """The messages of one lane and generation."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane.id
        self._generation = lane.generation

    def is_ours(self, message: LaneMessage) -> bool:
        """Whether a message is of this generation; one of another is of no meaning here.

        Raises
        ------
        PeerError
            If it is not even of this lane: it was carried to the wrong machine.
        """
        if message.lane != self._lane:
            raise PeerError(f"lane {message.lane} at the machine of lane {self._lane}")
        return message.generation == self._generation

    def voids(self, numbers: Iterable[int]) -> list[LaneVoid]:
        return [
            LaneVoid(lane=self._lane, generation=self._generation, first=run.first, count=run.count)
            for run in runs_of(numbers)
        ]

    def announcements(self, numbers: Iterable[int]) -> list[LaneAnnounce]:
        return [
            LaneAnnounce(
                lane=self._lane, generation=self._generation, first=run.first, count=run.count
            )
            for run in runs_of(numbers)
        ]

    def waves(self, ciphers: Mapping[int, bytes]) -> list[LaneWave]:
        return [
            LaneWave(
                lane=self._lane,
                generation=self._generation,
                first=run.first,
                count=run.count,
                ciphers=b"".join(ciphers[number] for number in run),
            )
            for run in runs_of(ciphers)
        ]

    def bindings(self, refs: Mapping[int, UnitRef]) -> list[LaneBind]:
        """Say in one message what lies side by side both as numbers and as units."""
        messages = []
        for run in runs_of(refs):
            for part in _side_by_side(list(run), refs):
                start = refs[part[0]]
                messages.append(
                    LaneBind(
                        lane=self._lane,
                        generation=self._generation,
                        first=part[0],
                        count=len(part),
                        block_no=start.block_no,
                        unit=start.index,
                    )
                )
        return messages


def _side_by_side(numbers: Sequence[int], refs: Mapping[int, UnitRef]) -> Iterator[list[int]]:
    part: list[int] = []
    for number in numbers:
        if part:
            last, ref = refs[part[-1]], refs[number]
            if ref != UnitRef(last.block_no, last.index + 1):
                yield part
                part = []
        part.append(number)
    if part:
        yield part


def bound_in(message: LaneBind) -> dict[int, UnitRef]:
    """Undo :meth:`Speech.bindings` for one message."""
    return {
        number: UnitRef(message.block_no, message.unit + at)
        for at, number in enumerate(message.run)
    }


def ciphers_in(message: LaneWave) -> dict[int, bytes]:
    """Undo :meth:`Speech.waves` for one message."""
    if len(message.ciphers) != UNIT_BYTES * message.count:
        raise PeerError(
            f"lane {message.lane}: {len(message.ciphers)} bytes in a wave of {message.count}"
        )
    return {
        number: message.ciphers[UNIT_BYTES * at : UNIT_BYTES * (at + 1)]
        for at, number in enumerate(message.run)
    }
