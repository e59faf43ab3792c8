"""What the nodes of a lane say to each other, under the authentication of each link they cross.

*Down* is from the first end to the last, *up* the other way. Bitmaps are packed, bit 0 first, one
bit for each number ``first <= e < first + count``. Nothing here is secret.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from qkdd.relay.runs import MAX_RUN, Run, numbers_in
from qkdd.relay.settings import UNIT_BYTES, Name

Number: TypeAlias = Annotated[int, Meta(ge=0, lt=2**48)]
Generation: TypeAlias = Annotated[int, Meta(ge=0, lt=2**32)]
RunCount: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_RUN)]
Bitmap: TypeAlias = Annotated[bytes, Meta(max_length=MAX_RUN // 8)]
Tag: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
PairNo: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
BlockNumber: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
MAX_OPEN = 65_536
"""Numbers of one lane that are announced and not yet settled."""


class LaneMessage(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    lane: Name
    generation: Generation


class LaneRun(LaneMessage, frozen=True, kw_only=True):
    """A message about a range of numbers."""

    first: Number
    count: RunCount

    @property
    def run(self) -> Run:
        return Run(self.first, self.count)


class LaneOpen(LaneMessage, frozen=True, kw_only=True):
    """Both ways, first of all on a new connection: every number the sender holds open."""

    incarnation: Annotated[int, Meta(ge=0, le=2**62)]
    """Another one than last time: the sender has lost its units."""
    next_number: Number
    """The sender knows of no announcement at or above this."""
    runs: Annotated[
        tuple[tuple[Number, Annotated[int, Meta(ge=1, le=MAX_OPEN)]], ...],
        Meta(max_length=MAX_OPEN),
    ]


class LaneAnnounce(LaneRun, frozen=True, kw_only=True):
    """Down: these numbers will be keys; every link may bind units to them."""


class LaneBind(LaneRun, frozen=True, kw_only=True):
    """Down, for one link: its units ``unit``, ``unit + 1``, ... of a block are these numbers."""

    block_no: BlockNumber
    unit: Annotated[int, Meta(ge=0, lt=2**32)]


class LaneWave(LaneRun, frozen=True, kw_only=True):
    """Down: ``C_i = C_{i-1} xor X_i`` of each number, 32 bytes each."""

    ciphers: Annotated[bytes, Meta(min_length=UNIT_BYTES, max_length=UNIT_BYTES * MAX_RUN)]


class LaneVoid(LaneRun, frozen=True, kw_only=True):
    """Both ways: a unit of these numbers is lost; they will never be keys."""


class LaneConfirm(LaneRun, frozen=True, kw_only=True):
    """Up, end to end: the last end holds these keys durably."""

    pair: PairNo
    """Which pair of one-time pads; each serves one confirmation and its verdict."""
    end_pair: PairNo
    """The number behind the last pair that the last end has."""
    epoch: Number
    """Of the first of these keys; the others follow without a gap, whatever numbers are void."""
    held: Bitmap
    tag: Tag
    """Covers lane, generation, direction, pairs, range, epoch, bitmap and the keys themselves."""

    @property
    def numbers(self) -> list[int]:
        return numbers_in(self.run, self.held, "confirmation")

    @property
    def epochs(self) -> range:
        """What the keys are meant for, one for each of ``numbers``."""
        return range(self.epoch, self.epoch + len(self.numbers))


class LaneVerdict(LaneRun, frozen=True, kw_only=True):
    """Down, end to end: the first end's answer to the confirmation under the same pair."""

    pair: PairNo
    ready: Bitmap
    """All that were held, or none."""
    void: Bitmap
    renew: bool
    """The last of these keys becomes the association's next pair of pads, and has no epoch."""
    tag: Tag

    @property
    def ready_numbers(self) -> list[int]:
        return numbers_in(self.run, self.ready, "verdict")

    @property
    def void_numbers(self) -> list[int]:
        return numbers_in(self.run, self.void, "verdict")


DownMessage: TypeAlias = LaneOpen | LaneAnnounce | LaneBind | LaneWave | LaneVoid | LaneVerdict
UpMessage: TypeAlias = LaneOpen | LaneVoid | LaneConfirm
